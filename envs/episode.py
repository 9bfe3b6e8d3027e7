"""What has happened in one row since its reset."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .prompt_source import Prompt
from .scoring import Scores


@dataclass
class Episode:
    """One episode in progress; each list has one entry per step.

    Attributes:
        prompt: x.
        kl_coef: β, fixed for the episode.
        response: y, token ids, EOS included.
        ref_log_probs: log π_ref(y_t | x, y_<t).
        rewards: as paid; with a policy attached, including its part.
        log_probs: log π(y_t | x, y_<t), only where a policy is attached.
        finish_reason: ``"eos"``, ``"stop"`` or ``"length"``; None while the episode lasts.
    """

    prompt: Prompt
    kl_coef: float
    response: list[int] = field(default_factory=list)
    ref_log_probs: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    finish_reason: str | None = None

    def append(self, token: int, ref_log_prob: float) -> None:
        """Write a token and pay the environment's part for it, β log π_ref."""
        self.response.append(token)
        self.ref_log_probs.append(ref_log_prob)
        self.rewards.append(self.kl_coef * ref_log_prob)

    def finish(self, scores: Scores, place: int) -> dict[str, Any]:
        """Pay the score, and return the entries of the last step's info; what does not apply is left out.

        ``kl`` is k1 for a policy that gives no log-probability (log π = 0); ``PolicyTerm`` corrects it.
        """
        score = float(scores.total[place])
        self.rewards[-1] += score
        kl = -math.fsum(self.ref_log_probs)
        ended = self.finish_reason == "eos"
        info = {
            "score": score,
            "score_parts": {
                name: float(values[place]) for name, values in scores.parts.items() if not math.isnan(values[place])
            },
            "kl": kl,
            "kl_k1": kl,
            "finish_reason": scores.finish_reasons[place],
            "eos_token_id": self.response[-1] if ended else None,
            "prompt": self.prompt.text,
            "response": scores.responses[place],
            "reference": self.prompt.row.get("reference"),
            "prompt_index": self.prompt.index,
        }
        return {name: value for name, value in info.items() if value is not None}
