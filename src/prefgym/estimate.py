"""What a training run would take, from small pieces of one iteration: for ``prefgym train --dry-run``.

Each part is timed on a few prompts of the data, and on more of them as long as its share of ``SECONDS`` allows, up to
all of an iteration's; what was not reached is scaled. Nothing is learned and nothing is written, but the agent's
optimiser and random numbers are not to be used afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .agents.collecting import read_reference
from .agents.memory import (
    MemoryModel,
    largest_piece,
    loss_like,
    measure,
    optimizer_like,
    peak_bytes,
    random_piece,
    without_gradients,
)
from .agents.minibatch import Minibatch
from .models.paths import paths_of
from .trial import Budget, Timing, seconds_of, timed

if TYPE_CHECKING:
    from .agents.base import PolicyGradient
    from .envs.prompt_source import PromptBatch
    from .evaluation.policies.workload import Workload

SECONDS = 17.0
"""For everything; a first, small piece of each part is timed whatever it takes."""
SHARES = {"generate": 0.35, "reference": 0.15, "reward": 0.05, "update": 0.45}
STEPS = 4
"""Tokens that are written to time one."""
SAMPLE = 64
"""Prompts whose lengths are looked at."""
SLICE = 2**22
"""Weights that an optimiser's step is timed on, at most."""
DECODED_AT_ONCE = 64
"""Responses that an evaluation writes in a batch."""


@dataclass
class Estimate:
    """What was measured, and seconds and bytes that follow.

    Attributes:
        prompt: mean tokens of a prompt.
        longest: of the longest prompt that was looked at.
        response: mean tokens of a response.
        ended: whether responses were written to their end, so that their length was seen.
        reached: part -> how much of an iteration's work was timed, 0-1.
        seconds: part -> seconds of an iteration.
        peak: bytes of memory that the run needs at most.
    """

    prompt: float
    longest: int
    response: float
    ended: bool
    reached: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak: float = 0.0

    @property
    def iteration(self) -> float:
        """Seconds of one iteration."""
        return sum(self.seconds.values())


class Trial:
    """Times the parts of an agent's iteration.

    Args:
        agent: in an environment in this process; its policy is run, not changed.
        seconds: for everything that :meth:`run` does.
    """

    def __init__(self, agent: PolicyGradient, seconds: float = SECONDS) -> None:
        self.agent, self.env, self.policy = agent, agent.env.unwrapped, agent.policy
        self.h, self.seconds = agent.hyperparameters, seconds
        self.samples = self.h.samples_per_prompt
        self.prompts = self.h.episodes_per_iteration // self.samples
        total = len(self.env.prompts)
        self.indices = [index * total // SAMPLE % total for index in range(max(SAMPLE, self.prompts))]
        lengths = self.env.encode_prompts(self.indices[:SAMPLE]).mask.sum(1)
        self.budget: int = self.env.max_new_tokens
        self.estimate = Estimate(float(lengths.float().mean()), int(lengths.max()), self.budget, False)
        self.reading, self.step, self.reference, self.reward = Timing(), Timing(), Timing(), Timing()

    def run(self) -> Estimate:
        """Measure everything."""
        self.allowed = Budget(self.seconds, SHARES)
        model = measure(self.agent)
        self._try_paths()
        self._generate()
        self._reference()
        self._reward()
        self._update()
        self.estimate.peak = self._peak(model)
        return self.estimate

    def evaluation(self, work: Workload) -> float:
        """Seconds of an evaluation."""
        e, rows = self.estimate, min(DECODED_AT_ONCE, max(1, work.asked))
        read = self.reading.at(rows) / rows * work.asked
        written = self.step.at(rows, least=0.0) / rows * (e.response - 1) * work.written
        tokens = e.prompt + e.response
        judged = self.reference.at(rows * tokens) / rows * work.read
        return read + written + judged + self.reward.at(rows) / rows * work.scored

    def _batch(self, count: int) -> PromptBatch:
        return self.env.encode_prompts(self.indices[:count])  # type: ignore[no-any-return]

    def _write(self, batch: PromptBatch, tokens: int, samples: int | None = None) -> Tensor:
        """The mask (B, R) of responses of at most so many tokens to each sample of some prompts."""
        device = self.policy.device
        given = (batch.tokens.to(device), batch.mask.to(device), tokens, samples or self.samples)
        return self.policy.generate(*given, self.agent.generator)[0].mask

    def _try_paths(self) -> None:
        """Find out how the models read texts of the lengths below; it is done once, and no part of an iteration."""
        e = self.estimate
        longest = round(e.prompt + self.samples * e.response)  # the row of a prompt's responses
        for model in (self.policy.language_model.model, self.env.reference.model):
            for tokens in (*self._sizes(1), round(e.prompt + e.response), longest):
                paths_of(model, tokens)

    def _generate(self) -> None:
        e, most, left = self.estimate, self.budget, self.allowed.of("generate")
        steps, rows = min(STEPS, most - 1), self.prompts * self.samples

        def few(prompts: int) -> None:
            """Few prompts, but as many responses as in an iteration: a step for more of them takes little longer."""
            nonlocal left
            batch, each = self._batch(prompts), rows // prompts
            read = seconds_of(lambda: self._write(batch, 1, each))
            both = seconds_of(lambda: self._write(batch, 1 + steps, each)) if steps else read
            left -= read + both
            self.reading.points.append((prompts, read))
            self.step = Timing([(each * prompts, max((both - read) / max(steps, 1), 1e-9))])

        done = timed(ladder(self.prompts), few, left).size
        one = self.step.at(rows, least=0.0)
        whole = self.reading.at(self.prompts) + (most - 1) * one
        largest = self._affordable(done, left)
        if largest:
            masks: list[Tensor] = []
            batch = self._batch(largest)
            took = seconds_of(lambda: masks.append(self._write(batch, most)))
            e.response, e.ended = float(masks[0].sum(1).float().mean()), True
            expected = self.reading.at(largest) + (most - 1) * self.step.at(largest * self.samples, least=0.0)
            whole *= took / expected
            done = largest
        e.reached["generate"] = done / self.prompts if e.ended else (1 + steps) / most * done / self.prompts
        e.seconds["generate"] = whole

    def _affordable(self, most: int, seconds: float) -> int:
        """To how many prompts responses can be written to their end; 0 for none."""

        def expected(prompts: int) -> float:
            steps = self.step.at(prompts * self.samples, least=0.0) * (self.budget - 1)
            return self.reading.at(prompts) + steps

        return max((count for count in ladder(self.prompts) if count <= most and expected(count) <= seconds), default=0)

    @property
    def _tokens(self) -> int:
        """Tokens of the texts of one prompt, which is read once."""
        return round(self.estimate.prompt + self.samples * self.estimate.response)

    def _reference(self) -> None:
        own, e = self._tokens, self.estimate

        def read(tokens: int) -> None:
            piece = self._piece(tokens)
            with torch.no_grad(), self.policy.autocast():
                given = (piece.tokens, piece.attention_mask, piece.mask, piece.old_log_probs, piece.prompt_of)
                read_reference(self.env, self.policy, *given)
                if self.policy.value_model is not None:
                    self.policy.read_values(piece.tokens, piece.attention_mask, piece.mask.shape[1], piece.prompt_of)

        self.reference = timed(self._sizes(self.prompts), read, self.allowed.of("reference"))
        e.reached["reference"] = self.reference.size / (own * self.prompts)
        e.seconds["reference"] = self.reference.at(own * self.prompts)

    def _reward(self) -> None:
        rows, e, width = self.prompts * self.samples, self.estimate, max(1, round(self.estimate.response))
        draw = torch.Generator().manual_seed(0)
        tokens = torch.randint(self.policy.vocab_size, (rows, width), generator=draw).to(self.policy.device)

        def score(prompts: int) -> None:
            count = prompts * self.samples
            here = tokens[:count]
            self.env.score(self._batch(prompts).repeat(self.samples), here, torch.ones_like(here, dtype=torch.bool))

        timing = timed(ladder(self.prompts), score, self.allowed.of("reward"))
        self.reward = Timing([(prompts * self.samples, seconds) for prompts, seconds in timing.points])
        e.reached["reward"], e.seconds["reward"] = self.reward.size / rows, self.reward.at(rows)

    def _update(self) -> None:
        h, e, own = self.h, self.estimate, self._tokens
        batch = min(h.batch_size or h.episodes_per_iteration, h.episodes_per_iteration)
        prompts, _ = largest_piece(batch, self.samples, h.gradient_accumulation)

        def learn(tokens: int) -> None:
            with without_gradients(self.policy):
                loss_like(self.agent, self._piece(tokens)).backward()

        timing = timed(self._sizes(prompts), learn, self.allowed.of("update"))
        batches = -(-h.episodes_per_iteration // batch)
        pieces = min(h.gradient_accumulation, batch)
        split = own * batch / self.samples / pieces
        e.reached["update"] = min(1.0, timing.size / split)
        e.seconds["update"] = h.n_epochs * batches * pieces * timing.at(split)
        trained = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        step, copy = optimiser_seconds(self.agent.optimizer, trained)
        e.seconds["optimizer"] = h.n_epochs * batches * step + copy

    def _sizes(self, prompts: int) -> list[int]:
        """Tokens of the pieces to time: parts of one text, one text, and all texts of 1, 2, 4, ... prompts."""
        one = round(self.estimate.prompt + self.estimate.response)
        return sorted({max(2, one // 8), max(3, one // 3), one, *(self._tokens * count for count in ladder(prompts))})

    def _piece(self, tokens: int) -> Minibatch:
        """A piece of about so many random tokens, as :meth:`_sizes` has them."""
        prompt, response = round(self.estimate.prompt), max(1, round(self.estimate.response))
        make = partial(random_piece, self.policy.vocab_size, device=self.policy.device)
        if tokens >= self._tokens:
            return make(round(tokens / self._tokens), self.samples, prompt, response)
        part = min(1.0, tokens / (prompt + response))
        return make(1, 1, max(1, round(prompt * part)), max(1, round(response * part)))

    def _peak(self, model: MemoryModel) -> float:
        h = self.h
        batch = min(h.batch_size or h.episodes_per_iteration, h.episodes_per_iteration)
        shape = largest_piece(batch, self.samples, h.gradient_accumulation)
        columns = self.estimate.longest + self.budget
        peak = model.peak(shape, h.gradient_accumulation, columns, h.episodes_per_iteration)
        return max(peak, peak_bytes())


def optimiser_seconds(like: torch.optim.Optimizer, trained: list[nn.Parameter]) -> tuple[float, float]:
    """Seconds of a step, clipping included, and of a copy of weights and state, from a slice of the weights."""
    size, some = 0, list[nn.Parameter]()
    for parameter in sorted(trained, key=Tensor.numel):
        if some and size + parameter.numel() > SLICE:
            break
        some.append(nn.Parameter(parameter.detach().clone()))
        size += parameter.numel()
    optimizer = optimizer_like(like, some)
    for weight in some:
        weight.grad = torch.ones_like(weight)

    def step() -> None:
        nn.utils.clip_grad_norm_(some, 1.0)
        optimizer.step()

    step()
    kept = [part for weight in some for part in (weight, *optimizer.state[weight].values())]
    times = sum(map(Tensor.numel, trained)) / size
    copied = seconds_of(lambda: [part.clone() for part in kept if isinstance(part, Tensor)])
    return times * seconds_of(step), times * copied


def ladder(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``.

    >>> ladder(6)
    [1, 2, 4, 6]
    """
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power < most)})


def told(estimate: Estimate) -> str:
    """The line that says what was timed, and how it was scaled."""
    e = estimate
    seen = "as long as those written" if e.ended else "the budget, as none was written to its end"
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in e.reached.items())
    return (
        f"Timed on a part of one iteration and scaled to all of it: {shares}. Texts are taken to have "
        f"{e.prompt:.0f} + {e.response:.0f} tokens (responses: {seen})."
    )
