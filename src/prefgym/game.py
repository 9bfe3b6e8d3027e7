"""One episode of the real environment played by a person: what could be written, what was, and its reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from .models.language_model import LanguageModel


@dataclass(frozen=True)
class Written:
    """A finished response and what the environment paid for it, log π counted as 0.

    info: of the last step.
    reward: Σ_t r_t.
    gold: the gold score, where the post has known facts.
    """

    info: Mapping[str, Any]
    reward: float
    gold: float | None


class Step(NamedTuple):
    """A token that was written: its log π_ref, and the mean log π_ref of a sample from the start policy instead."""

    token: int
    ref_log_prob: float
    expected: float


class Reader:
    """The next token's distribution under a model, for observations that grow token by token."""

    def __init__(self, language_model: LanguageModel, env: Any) -> None:
        from .models.stepper import make_stepper

        self._env, self._stepper = env, make_stepper(language_model.model, env.max_prompt_tokens)
        self._device = language_model.device

    def log_probs(self, observation: Mapping[str, Any]) -> Tensor:
        """log π of every token, (V,), shaped as in training."""
        import torch

        from .models.distribution import log_distribution

        rows = (torch.from_numpy(observation[name])[None].to(self._device) for name in ("tokens", "attention_mask"))
        return log_distribution(self._stepper.next_logits(*rows), self._env.vocab_size, self._env.decoding)[0].cpu()


class Game:
    """One post, played in picks of one or more tokens that can be undone.

    Args:
        env: an environment of this package, wrapped or not; every token is a ``step`` of it.
        index: of the post in the environment's prompts.
        num_choices: how many of the start policy's likeliest tokens are offered.
    """

    def __init__(self, env: Any, index: int, num_choices: int = 8) -> None:
        self.env, self.index = env, index
        self.core: Any = env.unwrapped
        self._start = Reader(self.core.language_model, self.core)
        self._reference = Reader(self.core.reference, self.core)
        self.num_choices = min(num_choices, self.core.vocab_size)
        self.picks: list[list[int]] = []
        self._begin()

    @property
    def tokens(self) -> list[int]:
        """The response so far."""
        return [token for pick in self.picks for token in pick]

    @property
    def text(self) -> str:
        """The response so far."""
        return str(self.core.response_text(self.tokens))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text that goes on where the response is now."""
        model = self.core.language_model
        before = "" if model.texts.encoder_decoder else self.core.encode_prompts([self.index]).texts[0]
        return list(model.texts.continuation(before + self.text, text))

    def name(self, token: int) -> str:
        """A token as it is shown."""
        return "(end)" if token in self.core.eos_token_ids else repr(self.core.language_model.tokenizer.decode([token]))

    def choices(self) -> list[tuple[int, float]]:
        """The likeliest next tokens under the start policy with their probabilities, the likeliest first."""
        log_probs, tokens = self._start.log_probs(self.observation).topk(self.num_choices)
        return [
            (token, math.exp(log_prob)) for token, log_prob in zip(tokens.tolist(), log_probs.tolist(), strict=True)
        ]

    def take(self, tokens: Sequence[int]) -> list[Step]:
        """Write tokens as one pick, up to the end of the text."""
        self.picks.append([])
        steps = []
        for token in tokens:
            steps.append(self._step(token))
            self.picks[-1].append(token)
            if self.ended:
                break
        return steps

    def undo(self) -> None:
        """Undo the last pick: restart the episode and replay all the others."""
        kept = self.picks[:-1]
        self._begin()
        for pick in kept:
            self.take(pick)

    def _begin(self) -> None:
        self.observation, _ = self.env.reset(options={"index": self.index})
        self.picks, self.kl, self.reward, self.info, self.ended = [], 0.0, 0.0, dict[str, Any](), False

    def _step(self, token: int) -> Step:
        reference = self._reference.log_probs(self.observation)
        expected = float((self._start.log_probs(self.observation).exp() * reference).sum())
        self.observation, reward, self.ended, _, self.info = self.env.step(token)
        self.kl -= self.info["ref_log_prob"]
        self.reward += reward
        return Step(token, float(self.info["ref_log_prob"]), expected)


def write_out(env: Any, index: int, tokens: Sequence[int]) -> Written:
    """The reward for these tokens, computed as for a player."""
    env.reset(options={"index": index})
    total, info = 0.0, {}
    for token in tokens:
        _, reward, terminated, _, info = env.step(token)
        total += reward
        if terminated:
            break
    return Written(info, total, gold_of(env.unwrapped.prompts[index], info["response"]))


def gold_of(row: Mapping[str, Any], text: str) -> float | None:
    """The gold score of a summary of a post with known facts."""
    from .rewards.gold import gold_score

    return gold_score(row["facts"], row["distractors"], text).total if "facts" in row else None
