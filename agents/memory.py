"""What an iteration needs in memory, foretold from small pieces; and how many pieces a minibatch is run in to fit.

With w bytes of trained weights, an update of pieces of at most G prompts and n responses peaks at

    resident + state + (w + state) + [w] + max(w, working(G, n))

    resident       what the process holds when the agent is made: libraries, and the weights of all models
    state          the optimiser's, two numbers per trained one for Adam
    (w + state)    the copy that a run with checkpoints keeps of the last whole iteration, in case it is stopped
    [w]            the gradients of earlier pieces, where there are several
    max(w, ...)    what autograd keeps of a piece goes while its gradients come
    working(G, n)  what autograd keeps of a piece, and what the backward pass adds but for gradients of weights

    working(G, n) = kept + added + logits
    kept          = c + (p G + r n) L / l
    added         = d + (q (G - 1) + s (n - 1)) L / l
    logits        = v min(n R, S)

Kept is what is alive when the loss is known, added what the backward pass needs beyond it at its peak. The letters come
from three pieces of ``l`` columns: one prompt with one response, one prompt with m, and two prompts with one each. L
are the columns of the longest text, R those of its response. So nothing is assumed about layers; but attention that
stores a square of scores would need more than in proportion to its length.

Logits are computed for at most S tokens at a time (:func:`prefgym.models.forward.from_logits`). What a token's need, v,
shows where the second piece is read again with the logits of half its tokens at a time; they are then taken out of all
three. It is 0 for a model that computes its own logits, which stay in c to s.

While responses are written, gradients and state are there too, and the caches grow with the responses; the larger of
the two phases counts.
"""

from __future__ import annotations

import inspect
import math
import resource
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import forward
from ..models.forward import logits_at_once
from ..models.head import head_rows
from ..models.tensor_memory import TensorMemory
from .hyperparameters import Hyperparameters
from .minibatch import Minibatch

if TYPE_CHECKING:
    from .base import PolicyGradient
    from .policy import LMPolicy

GIB = 2**30
WORK = 6 * 10**9
"""Tokens times parameters of a measured piece, at most: less than a second on two CPU cores."""
MOST_MEASURED = 8
"""Responses to one prompt in a measured piece, at most."""
LEAST = (4, 2)
"""Columns of prompt and response in a measured piece, at least."""


@dataclass(frozen=True)
class Line:
    """c + p G + r n: bytes of G prompts and n responses."""

    constant: float
    prompt: float
    response: float

    @classmethod
    def through(cls, one: float, several: float, two: float, count: int) -> Line:
        """Through (1, 1), (1, count) and (2, 2); where a prompt has one response only, the two are one thing."""
        response = max(0.0, (several - one) / (count - 1)) if count > 1 else 0.0
        prompt = max(0.0, two - one - response)
        return cls(max(0.0, one - prompt - response), prompt, response)

    def at(self, prompts: int, responses: int, times: float = 1.0) -> float:
        """Bytes where each prompt and response is ``times`` as long."""
        return self.constant + (self.prompt * prompts + self.response * responses) * times


@dataclass(frozen=True)
class MemoryModel:
    """The terms of the formula above, in bytes, and the lengths that they were measured at, in columns."""

    resident: int
    gradients: int
    state: int
    kept: Line
    added: Line
    writing: float  # per response, at the measured length
    measured: int  # l
    logits: float = 0.0  # v
    response: int = 0  # columns of the response among l
    at_once: int = 0  # S

    def piece(self, prompts: int, responses: int, columns: int) -> float:
        """working(G, n) for texts of ``columns`` tokens."""
        times = columns / self.measured
        extra = self.added
        constant = extra.constant + extra.prompt + extra.response
        added = replace(extra, constant=constant).at(prompts - 1, responses - 1, times)
        logits = self.logits * min(responses * self.response * times, self.at_once)
        return self.kept.at(prompts, responses, times) + added + logits

    def peak(self, shape: tuple[int, int], pieces: int, columns: int, written: int) -> float:
        """The peak of an iteration that writes ``written`` responses, with minibatches in so many ``pieces``.

        ``shape`` are the prompts and responses of the largest piece.
        """
        update = max(self.gradients, self.piece(*shape, columns)) + (self.gradients if pieces > 1 else 0)
        writing = self.gradients + self.writing * written * columns / self.measured
        copy = self.gradients + self.state
        return self.resident + self.state + max(copy + update, writing)


def measure(agent: PolicyGradient) -> MemoryModel:
    """Measure the terms on small pieces; the agent, its random numbers included, stays as it is."""
    policy, h = agent.policy, agent.hyperparameters
    resident = resident_bytes(policy.device)
    lengths = _lengths(agent)
    several = min(h.samples_per_prompt, MOST_MEASURED)
    rows, shapes = head_rows(policy.language_model.model) or policy.vocab_size, ((1, 1), (1, several), (2, 1))
    tokens = [prompts * samples * lengths[1] for prompts, samples in shapes]  # that are predicted
    with logits_at_once(max(tokens) * rows):
        whole = [measured_piece(agent, *shape, *lengths) for shape in shapes]
    half = -(-tokens[1] // 2)
    with logits_at_once(half * rows):
        fewer = measured_piece(agent, *shapes[1], *lengths)
    of_logits = _of_logits(whole[1], fewer, tokens[1], half)
    found = [
        [some - count * own for some, own in zip(piece, of_logits, strict=True)]
        for piece, count in zip(whole, tokens, strict=True)
    ]
    kept, added = (Line.through(one, more, two, several) for one, more, two in zip(*found, strict=True))
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    return MemoryModel(
        resident=resident,
        gradients=gradients,
        state=round(gradients * state_per_weight(agent.optimizer)),
        kept=kept,
        added=added,
        writing=_writing(policy, several, *lengths) / several,
        measured=sum(lengths),
        logits=sum(of_logits),
        response=lengths[1],
        at_once=max(1, forward.LOGITS_AT_ONCE // rows),
    )


def _of_logits(whole: tuple[float, float], fewer: tuple[float, float], tokens: int, half: int) -> tuple[float, float]:
    """Bytes of a token's logits that are kept, and added, in a piece that computes all of them at once.

    A piece that computes those of ``half`` its ``tokens`` at a time keeps none, and adds all that ``half`` need::

        whole = (k + v_k tokens, a + v_a tokens)
        fewer = (k, a + (v_k + v_a) half)
    """
    if half == tokens:
        return 0.0, 0.0
    both = max(0.0, (sum(whole) - sum(fewer)) / (tokens - half))
    kept = min(both, max(0.0, (whole[0] - fewer[0]) / tokens))
    return kept, both - kept


def fitted(agent: PolicyGradient) -> Hyperparameters:
    """The agent's hyperparameters, with the smallest number of pieces whose predicted peak is within ``memory_limit``.

    It is at least ``gradient_accumulation``. Prompts and responses are taken to be as long as the environment allows.

    Raises:
        InputError: even single episodes need more.
    """
    h = agent.hyperparameters
    if h.memory_limit is None:
        return h
    model, columns = measure(agent), sum(_longest(agent))
    rows = min(h.batch_size or h.episodes_per_iteration, h.episodes_per_iteration)
    for pieces in range(min(h.gradient_accumulation, rows), rows + 1):
        peak = model.peak(largest_piece(rows, h.samples_per_prompt, pieces), pieces, columns, h.episodes_per_iteration)
        if peak <= h.memory_limit * GIB:
            break
    else:
        raise InputError(
            f"memory_limit is {h.memory_limit:g} GiB, but even one episode at a time needs about {peak / GIB:.1f} GiB "
            f"({model.resident / GIB:.1f} are taken already); lower env.max_prompt_tokens, env.max_new_tokens or "
            "episodes_per_iteration, set gradient_checkpointing or lora_rank, or raise memory_limit."
        )
    warnings.warn(
        f"A minibatch of {rows} episodes is run in {pieces} piece{'s' if pieces > 1 else ''}, which need about "
        f"{peak / GIB:.2f} of the {h.memory_limit:g} GiB of memory_limit.",
        stacklevel=3,
    )
    return replace(h, gradient_accumulation=pieces)


def largest_piece(rows: int, samples: int, pieces: int) -> tuple[int, int]:
    """Prompts and responses of the largest of so many pieces of a minibatch, whose rows are in the order of prompts.

    >>> largest_piece(32, 8, 1), largest_piece(32, 8, 3)
    ((4, 32), (2, 11))
    """
    sizes = [len(piece) for piece in torch.arange(rows).tensor_split(min(pieces, rows))]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    prompts = [(end - 1) // samples - (end - size) // samples + 1 for end, size in zip(ends, sizes, strict=True)]
    return max(prompts), max(sizes)


def measured_piece(
    agent: PolicyGradient, prompts: int, samples: int, columns: int, num_response: int
) -> tuple[float, float]:
    """Bytes kept for the backward pass of a piece of random tokens, and bytes that it adds but for gradients."""
    piece = random_piece(agent.policy.vocab_size, prompts, samples, columns, num_response, agent.policy.device)
    apart = [parameter.shape for parameter in agent.policy.parameters()]
    with without_gradients(agent.policy), TensorMemory(apart) as memory:
        loss = loss_like(agent, piece)
        kept = memory.alive
        memory.peak = kept
        loss.backward()
    return float(kept), float(memory.peak - kept)


def loss_like(agent: PolicyGradient, piece: Minibatch) -> Tensor:
    """A loss of all that an agent's loss may use, so that the backward pass goes through the same."""
    h = agent.hyperparameters
    piece.evaluate(agent.policy, h.ent_coef != 0, h.loss_reduction, with_log_dist=agent.kl.whole)
    used = [part.sum() for part in (piece.log_probs, piece.values, piece.entropy) if part is not None]
    return torch.stack([*used, agent.kl.loss(piece, agent.policy)] if agent.kl.in_loss else used).sum()


def random_piece(
    vocab_size: int, prompts: int, samples: int, columns: int, num_response: int, device: torch.device
) -> Minibatch:
    """``samples`` responses to each of ``prompts`` prompts, of random tokens, all of the same lengths."""
    draw, rows = torch.Generator().manual_seed(0), prompts * samples
    asked = torch.randint(vocab_size, (prompts, columns), generator=draw).repeat_interleave(samples, 0)
    answered = torch.randint(vocab_size, (rows, num_response), generator=draw)
    tokens = torch.cat([asked, answered], 1).to(device)
    mask = torch.ones(rows, num_response, dtype=torch.bool, device=device)
    nothing = torch.zeros(rows, num_response, device=device)
    return Minibatch(
        tokens=tokens,
        attention_mask=torch.ones_like(tokens, dtype=torch.bool),
        mask=mask,
        prompt_of=torch.arange(prompts, device=device).repeat_interleave(samples),
        old_log_probs=nothing,
        ref_log_probs=nothing,
        old_values=nothing,
        advantages=nothing,
        returns=nothing,
        num_tokens=mask.numel(),
        num_episodes=rows,
    )


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """In backward passes made here each parameter's gradient is computed and let go at once."""

    def let_go(parameter: Tensor) -> None:
        parameter.grad = None

    handles = [p.register_post_accumulate_grad_hook(let_go) for p in module.parameters() if p.requires_grad]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def state_per_weight(optimizer: torch.optim.Optimizer) -> float:
    """Bytes of state that an optimiser keeps for a byte of weights, seen in a step of another of its kind."""
    weight = nn.Parameter(torch.zeros(64, 64))
    weight.grad = torch.zeros_like(weight)
    other = optimizer_like(optimizer, [weight])
    other.step()
    kept = [part for part in other.state[weight].values() if isinstance(part, Tensor) and part.numel() > 1]
    return sum(part.numel() * part.element_size() for part in kept) / (weight.numel() * weight.element_size())


def optimizer_like(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Another optimiser of the same kind and settings, for other weights."""
    taken = inspect.signature(type(optimizer)).parameters
    settings = {name: value for name, value in optimizer.param_groups[0].items() if name in taken and name != "params"}
    return type(optimizer)(weights, **settings)


def resident_bytes(device: torch.device) -> int:
    """What this process holds now on a device: for a CPU in memory, else in tensors."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _writing(policy: LMPolicy, samples: int, columns: int, num_response: int) -> float:
    """Bytes at the peak of writing responses to a prompt of random tokens."""
    asked = random_piece(policy.vocab_size, 1, 1, columns, 1, policy.device).tokens[:, :columns]
    with TensorMemory() as memory:
        policy.generate(asked, torch.ones_like(asked), num_response, samples, torch.Generator(policy.device))
    return float(memory.peak)


def _longest(agent: PolicyGradient) -> tuple[int, int]:
    """The most columns that a prompt and a response may have."""
    return agent.settings["max_prompt_tokens"], agent.settings["max_new_tokens"]


def _lengths(agent: PolicyGradient) -> tuple[int, int]:
    """Columns of prompt and response in the measured pieces: the longest, or less in both if that takes too long."""
    longest, several = _longest(agent), min(agent.hyperparameters.samples_per_prompt, MOST_MEASURED)
    size = sum(parameter.numel() for parameter in agent.policy.parameters())
    tokens = max(2 * sum(longest), longest[0] + several * longest[1])
    times = min(1.0, WORK / size / tokens)
    prompt, response = (
        max(math.ceil(part * times), min(part, least)) for part, least in zip(longest, LEAST, strict=True)
    )
    return prompt, response
