"""The answer to a BIG-Bench-Hard question, searched in what a model writes: lm-evaluation-harness's "flexible-extract".

A model without demonstrations seldom writes the bare answer. The harness has a filter for every task, a pattern or a
search for the options, and compares what it finds with case and some punctuation ignored. Its own code is run here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.api.registry import get_filter
from lm_eval.tasks._yaml_loader import load_yaml

FLEXIBLE = "flexible_extract"
"""The metric's name."""


def flexible_extract(task: str, prompt: str, text: str, answers: Sequence[str]) -> float:
    """Whether the answer that the harness's filter finds is right, 0 or 1; 0 too where the filter fails.

    Args:
        task: its name, ``"bbh/navigate"``; one that the harness ships.
        prompt: the question as ``bbh.py`` writes it.
        text: what the model wrote, up to "Q:".
        answers: the right ones; any of them counts.
    """
    steps, compared = _definition(task.partition("/")[2])
    found: Any = [[text]]
    asked = {"input": prompt.removeprefix("Q: ").removesuffix("\nA:")}
    try:
        for step in steps:
            found = list(step.apply(found, [asked]))
    except (ValueError, IndexError, re.error):  # "and million" is no number to its parser, and a question may be other
        return 0.0
    return max(float(exact_match_hf_evaluate(found, [answer], **compared)["exact_match"]) for answer in answers)


@lru_cache
def _definition(name: str) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The filter's steps, and how its answer is compared."""
    definition = load_yaml(str(files("lm_eval") / "tasks/bbh/zeroshot" / f"{name}.yaml"), resolve_func=True)
    (chosen,) = (one["filter"] for one in definition["filter_list"] if one["name"] == "flexible-extract")
    steps = [get_filter(step["function"])(**_without(step, "function")) for step in chosen]
    return steps, _without(definition["metric_list"][0], "metric", "aggregation", "higher_is_better")


def _without(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in names}
