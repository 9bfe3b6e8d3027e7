"""Writing responses: batched decoding with a key-value cache.

Knows nothing about text, rewards or learning. Notation: B prompts, S samples per prompt, N = B * S rows, P prompt
columns (left padded), R response columns (right padded), d hidden size, V usable vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from .cache import caching
from .distribution import Decoding, draw, log_distribution
from .encoder_decoder import is_encoder_decoder
from .own_cache import write_with_own_cache
from .padding import first_real_column
from .paths import limit_of, paths_of
from .reader import Reader, make_reader
from .rereading import RereadingReader
from .static_reader import StaticReader

LOOK_EVERY = 8


@dataclass
class Generation:
    """Responses, with what decoding computed.

    Attributes:
        tokens: (N, R) int64; the padding id after the end. R is the longest response.
        mask: (N, R) bool, True on real tokens, EOS included.
        log_probs: (N, R) fp32 nats under the distribution sampled from (:class:`Decoding` without ``greedy``),
            0 on padding.
        hidden: (N, R, d) the hidden state each token was predicted from, 0 on padding; None unless requested.
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    hidden: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """(N,) number of tokens of each response, EOS included."""
        return self.mask.sum(dim=-1)


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompt_tokens: Tensor,
    prompt_mask: Tensor,
    *,
    max_new_tokens: int,
    eos_token_id: int | Sequence[int],
    pad_token_id: int,
    vocab_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008
    generator: torch.Generator | None = None,
    samples_per_prompt: int = 1,
    also_greedy: bool = False,
    with_hidden: bool = False,
    look_every: int | None = None,
    static: bool = False,
    stopped: Callable[[Tensor], Tensor] | None = None,
) -> Generation:
    """Write ``samples_per_prompt`` responses to each prompt, each until EOS or ``max_new_tokens``.

    Each prompt is read once and its cache copied to its samples; rows that have ended leave the batch. Every step draws
    one uniform for each of the N rows, ended or not, so a row does not depend on when others end.

    Args:
        model: a causal language model or an encoder-decoder; train or eval mode makes no difference (dropout is off
            with p = 0).
        prompt_tokens: (B, P) int64.
        prompt_mask: (B, P), True on real tokens, padding on the left.
        max_new_tokens: the response budget, at least 1.
        eos_token_id: ends a response, or each of several does; inside a prompt they have no effect.
        pad_token_id: fills ``tokens`` after the end.
        vocab_size: V; only tokens below it are drawn.
        decoding: how tokens are drawn.
        generator: source of randomness; None is torch's global one.
        samples_per_prompt: S. Rows come prompt by prompt: p0s0, p0s1, ..., p1s0, ...
        also_greedy: write a greedy response too, after the samples of each prompt, which is read once for all of them;
            N is then B * (S + 1), and the samples are those written without it.
        with_hidden: also return the hidden states.
        look_every: steps between two checks for ended rows. It changes the time, not the result: a check lets rows
            leave, but makes a GPU synchronise. None: each step on a CPU, every ``LOOK_EVERY`` on a GPU.
        static: decode in steps of fixed shape, recorded as a CUDA graph on a GPU; the same result. A model with sliding
            windows or an encoder is decoded in the usual way.
        stopped: which of n responses of t tokens (n, t) end here though not by EOS, (n,) bool; asked after every token.

    Raises:
        InputError: the budget is below 1, or the longest prompt with it exceeds the model's context.
    """
    _check_budget(model, prompt_mask, max_new_tokens)
    start = first_real_column(prompt_mask)
    tokens, mask = prompt_tokens[:, start:], prompt_mask[:, start:].bool()
    written = samples_per_prompt + also_greedy
    writing = _Writing(
        len(tokens) * written,
        samples_per_prompt if also_greedy else None,
        max_new_tokens,
        tokens.device,
        eos_token_id,
        pad_token_id,
        vocab_size,
        decoding,
        generator,
        with_hidden,
        stopped,
    )
    paths = paths_of(model, tokens.shape[1] + max_new_tokens)
    given = (tokens, mask, written, max_new_tokens)
    with caching(model):
        if paths.rows:
            kind = StaticReader if static and paths.static else make_reader
            reader = kind(model, *given)
            _read_and_write(reader, writing, look_every or (1 if tokens.device.type == "cpu" else LOOK_EVERY))
        elif paths.own:
            write_with_own_cache(model, paths, *given, writing)
        else:
            _read_and_write(RereadingReader(model, *given), writing, look_every=1)
    return writing.result()


def _read_and_write(reader: Reader, writing: _Writing, look_every: int) -> None:
    """Write all rows in step; those that have ended leave every ``look_every`` steps."""
    rows = torch.arange(writing.num_rows, device=writing.device)  # which response each remaining row writes
    logits, states = reader.read_prompts()
    for step in range(writing.most):
        token = writing.choose(rows, logits, states, step)
        if step + 1 == writing.most:
            break
        if (step + 1) % look_every == 0:
            ended = writing.ended[rows]
            if ended.all():
                break
            if ended.any():
                order = reader.keep(~ended)
                rows, token = rows[order], token[order]
        logits, states = reader.read(token)


@dataclass
class _Writing:
    """Responses while they are written, row by row; fields as the arguments of :func:`generate`.

    Attributes:
        num_rows: N.
        samples: S, where a greedy response follows the samples of each prompt; None where none does.
        most: R, the budget.
        ended: (N,) bool.
    """

    num_rows: int
    samples: int | None
    most: int
    device: torch.device
    eos_token_id: int | Sequence[int]
    pad_token_id: int
    vocab_size: int
    decoding: Decoding
    generator: torch.Generator | None
    with_hidden: bool
    stopped: Callable[[Tensor], Tensor] | None

    def __post_init__(self) -> None:
        shape = (self.num_rows, self.most)
        self.written = torch.full(shape, self.pad_token_id, device=self.device)
        self.real = torch.zeros(shape, dtype=torch.bool, device=self.device)
        self.log_probs = torch.zeros(shape, device=self.device)
        self.ended = torch.zeros(self.num_rows, dtype=torch.bool, device=self.device)
        self.hidden: Tensor | None = None
        self._uniforms: list[Tensor] = []

    def choose(self, rows: Tensor, logits: Tensor, states: Tensor, step: int) -> Tensor:
        """Draw the next token (n,) of rows (n,) from logits (n, V_model), and note it unless the row has ended."""
        distribution = log_distribution(logits, self.vocab_size, self.decoding)  # (n, V)
        token = self._drawn(distribution, rows, step)  # (n,)
        ended = self.ended[rows]
        self.written[rows, step] = token.masked_fill(ended, self.pad_token_id)
        self.real[rows, step] = ~ended
        log_prob = distribution.gather(-1, token.unsqueeze(-1)).squeeze(-1)
        self.log_probs[rows, step] = log_prob.masked_fill(ended, 0.0)
        if self.with_hidden:
            if self.hidden is None:
                self.hidden = states.new_zeros(self.num_rows, self.most, states.shape[-1])
            self.hidden[rows, step] = states.masked_fill(ended.unsqueeze(-1), 0.0)
        ended = ended | is_one_of(token, self.eos_token_id)
        if self.stopped is not None:
            ended = ended | self.stopped(self.written[rows, : step + 1])
        self.ended[rows] = ended
        return token

    def _drawn(self, distribution: Tensor, rows: Tensor, step: int) -> Tensor:
        """The token (n,) of each row."""
        if self.samples is None:
            return draw(distribution, self._uniform(step)[rows], self.decoding)
        prompts, sample = rows // (self.samples + 1), rows % (self.samples + 1)
        token, greedy = distribution.argmax(dim=-1), sample == self.samples
        place = (prompts * self.samples + sample)[~greedy]  # among the rows that there are without greedy ones
        token[~greedy] = draw(distribution[~greedy], self._uniform(step)[place], self.decoding)
        return token

    def _uniform(self, step: int) -> Tensor:
        """One number for each row that is drawn, ended or not; batches written one after the other share the step's."""
        while len(self._uniforms) <= step:
            own = self.generator.device if self.generator else self.device
            drawn = self.num_rows if self.samples is None else self.num_rows // (self.samples + 1) * self.samples
            self._uniforms.append(torch.rand(drawn, generator=self.generator, device=own).to(self.device))
        return self._uniforms[step]

    def result(self) -> Generation:
        """What was written, as wide as the longest response."""
        used = int(self.real.any(dim=0).sum())
        parts = (self.written, self.real, self.log_probs, self.hidden)
        return Generation(*(None if part is None else part[:, :used] for part in parts))  # type: ignore[arg-type]


def is_one_of(tokens: Tensor, ids: int | Sequence[int]) -> Tensor:
    """Whether each token is that one, or one of those; bool, of the same shape."""
    if isinstance(ids, int):
        return tokens == ids
    found = tokens == ids[0]
    for other in ids[1:]:
        found = found | (tokens == other)
    return found


def _check_budget(model: PreTrainedModel, prompt_mask: Tensor, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be at least 1, not {max_new_tokens}.")
    longest = int(prompt_mask.sum(dim=-1).max())
    limit = limit_of(model)
    if limit is None:
        return
    if is_encoder_decoder(model):
        if max(longest, max_new_tokens) > limit:
            raise InputError(
                f"A prompt of {longest} tokens or a budget of {max_new_tokens} new tokens exceeds the {limit} that "
                "encoder and decoder can each read; lower max_prompt_tokens or max_new_tokens."
            )
    elif longest + max_new_tokens > limit:
        raise InputError(
            f"A prompt of {longest} tokens and a budget of {max_new_tokens} new tokens exceed the model's context of "
            f"{limit}; lower max_new_tokens or max_prompt_tokens."
        )
