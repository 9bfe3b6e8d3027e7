"""Who judged, and whether the judge is independent of the reward, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def judged_by(metrics: Mapping[str, Any]) -> str:
    """Sentences for a report: the judge's name, and what it has in common with the training reward.

    >>> judged_by({"judge": "rouge_l", "judge_is_reward": False, "judge_shares": None, "judge_record": None})
    'Judge: rouge_l.'
    """
    name, is_reward = metrics["judge"], metrics.get("judge_is_reward")
    if is_reward:
        found = (
            f"Judge: {name}, which is the training reward: win rates tell how well a policy pleases what it was "
            "trained to please, not how good it is."
        )
        return found + _judged(metrics)
    record = metrics.get("judge_record")
    if record is None:
        return f"Judge: {name}."
    if record["judge"] == "none":
        return f"Judge: {name}. It is not known what it was trained on: its folder has no record of that."
    return f"Judge: {name}. {_common(metrics)}{_judged(metrics)}{_gaps(record)}"


def _common(metrics: Mapping[str, Any]) -> str:
    shares = metrics["judge_shares"]
    if shares["prompts"] is None:
        return "It is not known whether the training reward learned from the same rows: that has no record."
    if not (shares["prompts"] or shares["comparisons"]):
        return "It shares no prompt and no comparison with what the training reward learned from."
    return (
        f"It is not independent: {shares['prompts']} prompts and {shares['comparisons']} comparisons that it was "
        "trained on also trained the reward."
    )


def _judged(metrics: Mapping[str, Any]) -> str:
    shares = metrics["judge_shares"]
    if shares is None:
        return ""
    count = shares["judged_prompts"]
    return f" It was trained on {count or 'none'} of the {metrics['prompts']} prompts that are judged."


def _gaps(record: Mapping[str, str]) -> str:
    parts = [who for who, name in (("the judge", "judge"), ("the reward", "reward")) if record[name] == "partial"]
    return f" The record of {' and '.join(parts)} is incomplete." if parts else ""
