"""Embedded instructions written as benchmark files: BIG-bench's ``task.json`` and MMLU's CSV of options A to D.

The embedded world has neither benchmark. These files have its own questions in their formats, so that they are scored
by the code that reads and scores the real ones.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.benchmarks.mmlu import LETTERS
from ..data.templates import render_instruction
from ..data.world import Post, post
from ..data.world.instructions import UNSEEN, Task, task
from ..files import write_text

BIGBENCH = (*UNSEEN, "who", "when", "choose_place", "topic")
"""Families written as BIG-bench tasks: all that are held out, and some that are not."""
MMLU = ("where", "gap_thing", "who_thing", "who")
"""Families written as MMLU subjects: those of the above with four options, with the same questions."""


def write_suites(folder: Path, posts: Sequence[int]) -> dict[str, str]:
    """Write both suites about these test posts; gives each one's folder by name."""
    items = [post("test", index) for index in posts]
    for family in BIGBENCH:
        text = json.dumps(bigbench_task(family, items), indent=1)
        write_text(folder / "bigbench" / family / "task.json", f"{text}\n")
    for subject in MMLU:
        write_text(folder / "mmlu" / "test" / f"{subject}_test.csv", mmlu_rows(subject, items))
    return {suite: str(folder / suite) for suite in ("mmlu", "bigbench")}


def bigbench_task(family: str, items: Sequence[Post]) -> dict[str, Any]:
    """A BIG-bench task with a family's instruction about every post, in the format the models were tuned on."""
    return {
        "name": family,
        "description": f"Embedded instructions of the family {family}, about synthetic posts.",
        "keywords": ["reading comprehension", "synthetic"],
        "metrics": ["multiple_choice_grade"],
        "preferred_score": "multiple_choice_grade",
        "append_choices_to_input": False,  # an instruction names its options itself, or asks without them
        "example_input_prefix": "",
        "example_output_prefix": " ",
        "examples": [_scored(task(item, family), item) for item in items],
    }


def _scored(made: Task, item: Post) -> dict[str, Any]:
    scores = {option: int(option == made.answers[0]) for option in made.options}
    return {"input": render_instruction(made.instruction, item.text), "target_scores": scores}


def mmlu_rows(family: str, items: Sequence[Post]) -> str:
    """A subject of MMLU with the same questions: post and instruction, options A to D, and the right letter."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    for item in items:
        made = task(item, family)
        letter = LETTERS[made.options.index(made.answers[0])]
        rows.writerow([f"{item.text}\n{made.instruction}", *made.options, letter])
    return file.getvalue()
