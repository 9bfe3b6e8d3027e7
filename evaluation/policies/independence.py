"""Whether a judge is independent: of the reward that policies were trained for, and of the prompts that are judged.

A judge that learned from the same judgements as the reward shares its mistakes, and so prefers what exploits them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from ...errors import InputError
from ...rewards.ensemble import PreferenceEnsemble
from ...rewards.preference_model import PreferenceModel
from ...rewards.reward import RewardFunction
from ...rewards.training_rows import TrainingRows, prompt_hash
from .judge import Judge, PairwiseJudge, ScoreJudge

ACCEPT = "evaluation.accept_shared_rows"


@dataclass(frozen=True)
class Independence:
    """What a judge has in common with a reward and with n prompts.

    Attributes:
        is_reward: the judge is the reward, or one of its parts.
        rows: what the judge was trained on; ``None`` if it is no preference model.
        reward_rows: what the reward was trained on: nothing, if it is all functions.
        judged: hashes of the prompts that are judged.
    """

    is_reward: bool
    rows: TrainingRows | None
    reward_rows: TrainingRows
    judged: frozenset[str]

    @property
    def shares(self) -> dict[str, int | None] | None:
        """How much of what the judge was trained on also trained the reward, and is judged; ``None`` if not known."""
        if self.rows is None or not self.rows.known:
            return None
        told = self.reward_rows.known
        return {
            "comparisons": len(self.rows.comparisons & self.reward_rows.comparisons) if told else None,
            "prompts": len(self.rows.prompts & self.reward_rows.prompts) if told else None,
            "judged_prompts": len(self.rows.prompts & self.judged),
        }

    def told(self) -> dict[str, Any]:
        """What ``metrics.json`` contains: ``judge_is_reward``, ``judge_shares``, and how far all of that is known.

        ``judge_record`` says whether what the ``"judge"`` and the ``"reward"`` were trained on is known as
        ``"complete"``, ``"partial"`` or ``"none"``; ``None`` for a judge that is no preference model.
        """
        sides = {} if self.rows is None else {"judge": self.rows, "reward": self.reward_rows}
        states = {
            name: "complete" if rows.complete else "partial" if rows.known else "none" for name, rows in sides.items()
        }
        record = states or None
        return {"judge_is_reward": self.is_reward, "judge_shares": self.shares, "judge_record": record}

    def check(self, judge: str) -> None:
        """Refuse a judge that shares anything.

        Raises:
            InputError: it does; the message counts what.
        """
        if self.rows is None or self.shares is None or not any(self.shares.values()):
            return
        found, parts = self.shares, []
        if found["prompts"] or found["comparisons"]:
            parts.append(
                f"{found['prompts']} of the {len(self.rows.prompts)} prompts and {found['comparisons']} of the "
                f"{len(self.rows.comparisons)} comparisons that it was trained on also trained the reward"
            )
        if found["judged_prompts"]:
            parts.append(f"it was trained on {found['judged_prompts']} of the {len(self.judged)} prompts to be judged")
        raise InputError(
            f'The judge "{judge}" is not independent: {", and ".join(parts)}; name a judge trained on other rows, or '
            f"add --{ACCEPT}."
        )


def independence(
    judges: Iterable[RewardFunction], rewards: Iterable[RewardFunction], prompts: Sequence[str]
) -> Independence:
    """What a judge, given as the functions that it asks, shares with rewards and with the prompts that are judged."""
    judges, rewards = list(judges), list(rewards)
    learned = [rows for rows in map(_rows_of, judges) if rows is not None]
    paid = [rows for rows in map(_rows_of, rewards) if rows is not None]
    same = [any(_is_same(judge, reward) for reward in rewards) for judge in judges]
    return Independence(
        bool(same) and all(same),
        reduce(or_, learned) if learned else None,
        reduce(or_, paid, TrainingRows()),
        frozenset(map(prompt_hash, prompts)),
    )


def functions_of(judge: Judge) -> list[RewardFunction]:
    """The functions that a judge asks; a judge of another kind counts as one."""
    if isinstance(judge, ScoreJudge):
        return [function for function, _ in judge.reward.parts.values()]
    return [judge.function if isinstance(judge, PairwiseJudge) else judge]  # type: ignore[list-item]


def _rows_of(function: Any) -> TrainingRows | None:
    return function.rows if isinstance(function, PreferenceModel | PreferenceEnsemble) else None


def _is_same(one: Any, other: Any) -> bool:
    """Whether two functions are the same, or models with the same weights."""
    if isinstance(one, PreferenceEnsemble) and isinstance(other, PreferenceEnsemble):
        return one.combine == other.combine and all(map(_is_same, one.models, other.models))
    if isinstance(one, PreferenceModel) and isinstance(other, PreferenceModel):
        return one is other or one.checksum() == other.checksum()
    codes = [getattr(function, "__code__", None) for function in (one, other)]  # a file may have been imported twice
    bound = [getattr(function, "__closure__", None) for function in (one, other)]
    return one is other or (codes[0] is not None and codes[0] == codes[1] and bound == [None, None])
