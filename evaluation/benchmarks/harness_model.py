"""A language model in lm-evaluation-harness's interface: the likelihood of a text after another, greedy answers.

The harness could load models itself; ours are loaded by ``LanguageModel``, which refuses pickles and foreign code, and
run by the same functions as everywhere else. A prompt reaches the tokenizer byte for byte.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lm_eval.api.model import LM
from torch import Tensor

from ...data.chat_template import ChatTemplate
from ...models.distribution import Decoding, log_distribution
from ...models.encoder_decoder import is_encoder_decoder
from ...models.forward import chosen_tokens, from_logits, pick_tokens, read_responses
from ...models.generation import generate
from ...models.language_model import LanguageModel
from ..policies.decode import left_pad

DEFAULT_BUDGET = 256
"""Tokens of an answer if a harness task does not specify it."""

FIRST_PIECE = 16
"""Tokens written before an answer is first checked for its end."""

Pair = tuple[list[int], list[int]]
"""Tokens of a prompt, and of the text after it."""


class HarnessModel(LM):
    """A language model for the harness.

    A prompt longer than the model's context loses its beginning; ``cut`` lists the questions affected.

    Args:
        lm: the model.
        batch_size: texts per batch; those after the same prompt share it.
        advance: called with the number of requests that are done.
    """

    def __init__(self, lm: LanguageModel, batch_size: int = 16, advance: Callable[[int], Any] = lambda done: None):
        super().__init__()
        self.lm, self.batch_size, self.advance = lm, batch_size, advance
        self.cut: dict[str, set[int]] = defaultdict(set)
        self._encoder = is_encoder_decoder(lm.model)

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the text this model reads; the harness's name for it.

        Raises:
            InputError: the tokenizer has no chat template, or it cannot render these messages.
        """
        return ChatTemplate(self.lm.tokenizer, name=self.lm.name).render_messages(
            chat_history, finished=not add_generation_prompt
        )

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """For every request (context, text): log P(text | context) in nats, and whether greedy decoding produces it."""
        pairs = [self._fit(self._pair(*request.args), request) for request in requests]
        found: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
        for batch in self._batches([prompt for prompt, _ in pairs]):
            for index, value in zip(batch, self._score([pairs[index] for index in batch]), strict=True):
                found[index] = value
            self.advance(len(batch))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """For every request (text,): log P(text) in nats; a long text loses its beginning."""
        pairs = [self._fit(self._pair("", *request.args), request) for request in requests]
        return [self._score([pair])[0][0] for pair in pairs]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """For every request (context, options): the greedy answer, up to the first of ``options["until"]``."""
        texts = [""] * len(requests)
        for budget in sorted({_budget(request) for request in requests}):
            chosen = [index for index, request in enumerate(requests) if _budget(request) == budget]
            prompts = [self._prompt(requests[index], budget) for index in chosen]
            for batch in self._batches(prompts):
                marks = [_marks(requests[chosen[index]]) for index in batch]
                written = self._write([prompts[index] for index in batch], marks, budget)
                for index, text in zip(batch, written, strict=True):
                    texts[chosen[index]] = text
                self.advance(len(batch))
        return texts

    def _batches(self, prompts: Sequence[list[int]]) -> Iterator[list[int]]:
        """Indices in batches of similar length, the longest first; equal prompts are adjacent."""
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), prompts[index]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _pair(self, context: str, text: str) -> Pair:
        """The tokens of both, split as the harness splits them: white space at the end of a context begins the text.

        A decoder's tokens are those of the joined text, so the split is where the context's own tokens end; if one
        token spans both, the split is before it.
        """
        stripped = context.rstrip()
        text = context[len(stripped) :] + text
        if self._encoder:
            return self._some(self.lm.encode_prompt(stripped)), self.lm.encode(text)
        prompt, tokens = self.lm.texts.split(stripped, text)
        return self._some(prompt), tokens

    def _some(self, prompt: list[int]) -> list[int]:
        """A prompt that is never empty."""
        begin = self.lm.tokenizer.bos_token_id
        return prompt or [self.lm.eos_token_id if begin is None else int(begin)]

    def _fit(self, pair: Pair, request: Any) -> Pair:
        """A pair that fits the model: its last token is only predicted and need not be read."""
        prompt, text = pair
        limit = self.lm.context_length
        text = text[-limit:]
        return self._shorten(prompt, limit if self._encoder else limit + 1 - len(text), request), text

    def _prompt(self, request: Any, budget: int) -> list[int]:
        limit = self.lm.context_length
        prompt = self._some(self.lm.encode_prompt(request.args[0]))
        return self._shorten(prompt, limit if self._encoder else limit - budget, request)

    def _shorten(self, prompt: list[int], limit: int, request: Any) -> list[int]:
        if len(prompt) <= limit:
            return prompt
        self.cut[request.task_name].add(request.doc_id)
        kept = self.lm.texts.before[: limit - 1]
        return kept + prompt[len(kept) - limit :]

    @torch.no_grad()
    def _score(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        places: dict[tuple[int, ...], int] = {}
        prompt_of = torch.tensor([places.setdefault(tuple(prompt), len(places)) for prompt, _ in pairs])
        prompts, prompt_mask = left_pad([prompt for prompt, _ in pairs], self.lm.pad_token_id)
        texts, mask = _right_pad([text for _, text in pairs], self.lm.pad_token_id)
        tokens, attention = torch.cat([prompts, texts], 1), torch.cat([prompt_mask, mask], 1)
        device = self.lm.device
        given = (tokens.to(device), attention.to(device), texts.shape[1], prompt_of.to(device))
        reading = read_responses(self.lm.model, *given)

        def judge(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
            log_dist = log_distribution(logits, self.lm.vocab_size)  # (t, V)
            return pick_tokens(log_dist, tokens), log_dist.amax(-1)

        judged = from_logits(judge, [reading], chosen_tokens(given[0][:, -texts.shape[1] :], reading.slots))
        chosen, likeliest = map(reading.slots.spread, judged)  # (B, R), 0 on padding
        greedy = ((chosen >= likeliest) | ~mask.to(device)).all(1)
        return list(zip(chosen.double().sum(1).tolist(), greedy.tolist(), strict=True))

    def _write(self, prompts: Sequence[list[int]], marks: Sequence[Sequence[str]], budget: int) -> list[str]:
        """Greedy answers, each up to the first of its stop marks.

        Few models end an answer with EOS, so a decoder writes in pieces, each twice as long as the one before, and rows
        with a mark are done. A row is re-read with what it has written, which costs less than writing on.
        """
        rows: list[list[int]] = [[] for _ in prompts]
        left, piece = list(range(len(rows))), FIRST_PIECE if any(marks) and not self._encoder else budget
        while left and budget:
            piece = min(piece, budget)
            for index, tokens in zip(left, self._go_on([prompts[i] + rows[i] for i in left], piece), strict=True):
                rows[index] += tokens
            left = [i for i in left if not self._is_done(rows[i], marks[i])]
            budget, piece = budget - piece, 2 * piece
        return [cut_at(self.lm.decode(row), ends) for row, ends in zip(rows, marks, strict=True)]

    def _is_done(self, row: list[int], marks: Sequence[str]) -> bool:
        text = self.lm.decode(row)
        return row[-1] in self.lm.eos_token_ids or any(mark in text for mark in marks if mark)

    def _go_on(self, prompts: Sequence[list[int]], budget: int) -> list[list[int]]:
        tokens, mask = left_pad(prompts, self.lm.pad_token_id)
        written = generate(
            self.lm.model,
            tokens.to(self.lm.device),
            mask.to(self.lm.device),
            max_new_tokens=budget,
            eos_token_id=self.lm.eos_token_ids,
            pad_token_id=self.lm.pad_token_id,
            vocab_size=self.lm.vocab_size,
            decoding=Decoding(greedy=True),
        )
        return [row[real].tolist() for row, real in zip(written.tokens, written.mask, strict=True)]


def keeps_white_space(lm: LanguageModel) -> bool:
    """Whether the model sees a prompt's white space: T5's tokenizer, for one, merges several spaces into one."""
    text = "a  b\n\n    c\td \n e"
    return lm.decode(lm.encode(text)) == text


def cut_at(text: str, marks: Sequence[str]) -> str:
    """The text before the first of the marks.

    >>> cut_at(" 5\\n\\nQ: next", ["\\n\\n", "Q:"])
    ' 5'
    """
    for mark in filter(None, marks):
        text = text.partition(mark)[0]
    return text


def _budget(request: Any) -> int:
    return int(request.args[1].get("max_gen_toks", DEFAULT_BUDGET))


def _marks(request: Any) -> list[str]:
    until = request.args[1].get("until") or []
    return [until] if isinstance(until, str) else list(until)


def _right_pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """(B, R) tokens and mask."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[*row, *[pad_token_id] * (width - len(row))] for row in rows], dtype=torch.int64)
    mask = torch.arange(width) < torch.tensor([[len(row)] for row in rows])
    return tokens, mask
