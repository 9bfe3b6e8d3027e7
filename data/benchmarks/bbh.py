"""BIG-Bench-Hard: tasks of BIG-bench whose answers are written and compared exactly.

Source: M. Suzgun et al., "Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them" (2022), with their
    prompt for a direct answer. The sentence on the task and the three solved questions are in no data file of theirs:
    they come from the definitions that lm-evaluation-harness ships, so that prompts are its, byte for byte. A task that
    it does not know has no such sentence, and shows other questions solved.
Departures: white space around an answer does not count. The harness's strict match counts the space that many
    tokenizers write before an answer as a mistake; its "flexible-extract", which searches what a model without
    demonstrations writes for the answer, is measured as ``flexible_extract``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from .node import Node, find_files
from .task import Example, Suite, Task, stops_for

STOPS = ("Q:",)
PARAGRAPH = r"(?s)\A(.*?)(?:\n\n|\Z)"
"""What is compared exactly: a written answer up to its first empty line."""

OPTIONS = re.compile(r"\s*\nOptions:\n((?:(?:\([A-Z]\)|-) [^\n]+(?:\n|\Z))+)\Z")
"""The list at the end of a question: ``(A) ...`` and so on, or ``- Yes`` and ``- No``."""


def read_bbh(source: str) -> Suite:
    """Read ``NAME.json`` files, in the folder or in its ``bbh``: ``{"examples": [{"input", "target"}, ...]}``.

    Raises:
        InputError: no such folder, a file that is not JSON, a key that is missing or of the wrong type.
    """
    return Suite(tuple(_task(file) for file in find_files(source, "*.json", "bbh", ".")))


def _task(file: Path) -> Task:
    rows = [(row.get("input", str), row.texts("target")) for row in Node.read(file).objects("examples")]
    known = harness_definition(file.stem)
    shown = known["fewshot_config"]["samples"] if known else []
    solved = [(str(one["input"]), (str(one["target"]),)) for one in shown]
    examples = tuple(_written(*row) for row in rows)
    task = Task(
        f"bbh/{file.stem}",
        ("exact_str_match", "flexible_extract") if known else ("exact_str_match",),
        examples,
        prefix=known["description"] if known else "",
        lead=" ",
        demonstrations=tuple(_written(*row) for row in solved) if known else None,
        stop=stops_for(examples, STOPS),
        output_regex=PARAGRAPH if stops_for(examples, ["\n\n"]) else None,
    )
    cloze, solved_cloze = (_all_plain(some) for some in (rows, solved))
    if cloze is None or solved_cloze is None:
        return task
    return task.in_cloze_form(cloze, demonstrations=solved_cloze if known else None, stop=(), output_regex=None)


def harness_definition(name: str) -> dict[str, Any] | None:
    """What lm-evaluation-harness ships on a task, with ``description`` and ``fewshot_config.samples``; None if nothing.

    The package is only looked into, not imported.
    """
    package = find_spec("lm_eval")
    file = Path(str(package.origin)).parent / "tasks/bbh/fewshot" / f"{name}.yaml" if package else None
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))) if file is not None and file.is_file() else None


def _written(question: str, answers: tuple[str, ...]) -> Example:
    return Example(f"Q: {question}\nA:", answers=answers)


def _all_plain(rows: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Example, ...] | None:
    """The questions in their cloze form, if every one lists its options and the right answer is among them."""
    found = tuple(one for row in rows if (one := _plain(*row)) is not None)
    return found if len(found) == len(rows) else None


def _plain(question: str, answers: tuple[str, ...]) -> Example | None:
    listed = OPTIONS.search(question)
    if listed is None:
        return None
    options = dict(_option(line) for line in listed[1].strip().splitlines())
    worth = tuple(float(mark in answers) for mark in options)
    return Example(f"Q: {question[: listed.start()]}\nA:", tuple(options.values()), worth) if any(worth) else None


def _option(line: str) -> tuple[str, str]:
    """What a line's option is answered with, and its text.

    >>> _option("(A) a cat"), _option("- Yes")
    (('(A)', 'a cat'), ('Yes', 'Yes'))
    """
    mark, _, text = line.partition(" ")
    return (text if mark == "-" else mark), text
