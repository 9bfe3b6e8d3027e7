"""The minimum of an iteration: every forward and backward pass of the models once, and nothing else.

Decoding with a cache (no sampling), one pass of reference and reward, and the optimiser's epochs, all with a prompt
read once for its samples, on responses with the workload's lengths. No environment, text, loss or logging.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from memory import Peak
from settings import LEARNING_RATE, answer, arguments, prompts
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from prefgym.models.forward import response_logits
from prefgym.models.reader import make_reader
from prefgym.rewards.scorer import Scorer


class Floor:
    """The models of one workload and the shapes of its episodes."""

    def __init__(self, options: Any) -> None:
        folder, self.options = options.workload, options
        load = {"dtype": torch.float32}
        self.policy, self.reference = (
            AutoModelForCausalLM.from_pretrained(folder / "model", **load).to(options.device) for _ in range(2)
        )
        classifier = AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1, **load)
        self.reward = Scorer(classifier.to(options.device))
        self.reference.requires_grad_(False)
        self.reward.requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=LEARNING_RATE)
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        count = options.episodes // options.samples
        texts = prompts(folder)[:count]
        self.prompts = torch.tensor([tokenizer(text)["input_ids"] for text in texts], device=options.device)  # (G, P)
        self.prompt_of = torch.arange(count, device=options.device).repeat_interleave(options.samples)  # (N,)
        self.end_rate = self._end_rate()

    @torch.no_grad()
    def _end_rate(self) -> float:
        """How likely a response is to end at each token."""
        return float(self.policy(self.prompts[:1]).logits[0, -1].softmax(-1)[0])

    def lengths(self, generator: torch.Generator) -> Tensor:
        """(N,) response lengths, distributed as for the workload's models."""
        limit = self.options.new_tokens
        if self.end_rate < 1e-6:
            return torch.full((self.options.episodes,), limit)
        draws = torch.rand(self.options.episodes, generator=generator)
        return (draws.log() / torch.tensor(1 - self.end_rate).log()).ceil().clamp(1, limit).long()

    @torch.no_grad()
    def decode(self, lengths: Tensor) -> None:
        """The forward passes of decoding, with rows leaving as they end."""
        samples, limit = self.options.samples, int(lengths.max())
        rows = torch.arange(len(self.prompts) * samples)
        reader = make_reader(self.policy, self.prompts, torch.ones_like(self.prompts), samples, limit)
        reader.read_prompts()
        for step in range(1, limit):
            running = lengths[rows] > step
            rows = rows if running.all() else rows[reader.keep(running)]
            reader.read(self.prompts.new_full((len(rows),), 2))

    def batch(self, rows: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, int, Tensor]:
        """Tokens (n, L), mask (n, L), R and prompt_of (n,) of these episodes."""
        longest = int(lengths[rows].max())
        own = self.prompt_of[rows]
        tokens = torch.cat([self.prompts[own], self.prompts.new_full((len(rows), longest), 2)], 1)
        real = torch.arange(longest)[None] < lengths[rows, None]
        mask = torch.cat([torch.ones_like(self.prompts[own], dtype=torch.bool), real.to(tokens.device)], 1)
        return tokens, mask, longest, torch.unique(own, return_inverse=True)[1]

    @torch.no_grad()
    def read(self, order: Tensor, lengths: Tensor, name: str) -> None:
        """One pass of reference or reward over all episodes, by length."""
        for rows in order.split(32 if name == "reference" else 64):
            tokens, mask, longest, own = self.batch(rows, lengths)
            if name == "reference":
                response_logits(self.reference, tokens, mask, longest, prompt_of=own)
            else:
                widths = torch.full((len(rows),), self.prompts.shape[1])
                self.reward(tokens, mask.long(), prompt_of=own, prompt_lengths=widths)

    def update(self, lengths: Tensor, clock: Callable[[str, Callable[[], Any]], Any]) -> None:
        """The optimiser's passes over the episodes; prompts are shuffled, their samples stay together."""
        ppo, samples = self.options.method == "ppo", self.options.samples
        for _ in range(self.options.epochs if ppo else 1):
            order = torch.randperm(len(self.prompts))
            rows = (order[:, None] * samples + torch.arange(samples)).flatten()
            self.optimizer.zero_grad()
            for piece in rows.split(self.options.minibatch):
                given = self.batch(piece, lengths)
                logits = clock(
                    "forward", lambda given=given: response_logits(self.policy, *given[:3], prompt_of=given[3])
                )
                clock("backward", lambda logits=logits: logits.backward(logits.detach()))
                if ppo:
                    clock("optimizer", self.optimizer.step)
                    self.optimizer.zero_grad()
            if not ppo:
                clock("optimizer", self.optimizer.step)


def main() -> None:
    """Run the passes, and report the time of each iteration."""
    options = arguments(__doc__ or "")
    floor, generator = Floor(options), torch.Generator().manual_seed(0)
    parts: dict[str, float] = defaultdict(float)

    def clock(name: str, function: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = function()
        parts[name] += time.perf_counter() - began
        return result

    peak, seconds = Peak(), []
    for iteration in range(options.iterations + 1):
        lengths = floor.lengths(generator)
        order = (floor.prompt_of.cpu() * 1000 + lengths).argsort()
        began = time.perf_counter()
        clock("generate", lambda lengths=lengths: floor.decode(lengths))
        for name in ("reference", "reward"):
            clock(name, lambda name=name, order=order, lengths=lengths: floor.read(order, lengths, name))
        floor.update(lengths, clock)
        if iteration:  # the first one warms up
            seconds.append(time.perf_counter() - began)
        else:
            parts.clear()
    answer(
        options.result,
        {
            "seconds": seconds,
            "parts": {name: value / options.iterations for name, value in parts.items()},
            "peak_bytes": peak.above(),
        },
    )


if __name__ == "__main__":
    main()
