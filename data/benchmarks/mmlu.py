"""MMLU: 57 subjects, each a CSV file of questions with four options.

Source: D. Hendrycks et al., "Measuring Massive Multitask Language Understanding" (2021), with their prompt; the options
    are scored by the likelihood of their letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...paths import user_path
from ..files import read_records
from ..hub import HubDataset, find_hub_dataset
from .node import find_files
from .task import Example, Suite, Task

LETTERS = ("A", "B", "C", "D")


def read_mmlu(source: str) -> Suite:
    """Read a folder with ``test/SUBJECT_test.csv`` and ``dev/SUBJECT_dev.csv``, or a hub id with such splits.

    The rows of ``dev`` are the demonstrations. A subject that has only those is listed as unscored.

    Raises:
        InputError: no such folder, a row without six values, an empty option, an answer other than A to D.
    """
    hub = None if user_path(source).is_dir() else find_hub_dataset(source)
    if hub is not None:
        return _suite(_hub_rows(hub, "test"), _hub_rows(hub, "dev"))
    tests = find_files(source, "*.csv", "test", "data/test")
    home = tests[0].parent.parent
    return _suite(_file_rows(tests), _file_rows(sorted((home / "dev").glob("*.csv"))))


def _suite(test: dict[str, list[Example]], dev: dict[str, list[Example]]) -> Suite:
    tasks = [_task(subject, rows, dev.get(subject, [])) for subject, rows in test.items()]
    alone = {f"mmlu/{subject}": "it has demonstrations (dev) and no questions (test)" for subject in dev.keys() - test}
    return Suite(tuple(tasks), dict(sorted(alone.items())))


def _task(subject: str, rows: Sequence[Example], demonstrations: Sequence[Example]) -> Task:
    about = subject.replace("_", " ")
    return Task(
        f"mmlu/{subject}",
        ("accuracy",),
        tuple(rows),
        prefix=f"The following are multiple choice questions (with answers) about {about}.\n\n",
        lead=" ",
        demonstrations=tuple(demonstrations),
    )


def _file_rows(files: Sequence[Path]) -> dict[str, list[Example]]:
    """The questions by subject: a file's name without its ending and ``_test`` or ``_dev``."""
    return {
        file.stem.removesuffix(f"_{file.parent.name}"): [_row(file, *record) for record in read_records(file)]
        for file in files
    }


def _row(file: Path, line: int, cells: Sequence[str]) -> Example:
    if len(cells) != 6:
        raise InputError(f"Line {line} of {file} has {len(cells)} values, not 6: question, options A to D, answer.")
    question, *options, answer = cells
    for letter, option in zip(LETTERS, options, strict=True):
        if not option.strip():
            raise InputError(f"Line {line} of {file} has no option {letter}.")
    if answer.strip() not in LETTERS:
        raise InputError(f'Line {line} of {file} has the answer "{answer.strip()}", not one of A, B, C, D.')
    return _example(question, options, LETTERS.index(answer.strip()))


def _hub_rows(hub: HubDataset, split: str) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for index, row in enumerate(hub.read(split), 1):
        found.setdefault(str(row.get("subject", hub.config)), []).append(
            _hub_row(f"Row {index} of {hub.repository}", row)
        )
    return found


def _hub_row(where: str, row: dict[str, Any]) -> Example:
    question, options, answer = (row.get(name) for name in ("question", "choices", "answer"))
    if not isinstance(question, str) or not isinstance(options, list) or len(options) != 4:
        raise InputError(f"{where} is not an MMLU question: it needs question, choices (four) and answer (0 to 3).")
    if not isinstance(answer, int) or answer not in range(4):
        raise InputError(f"{where} has the answer {answer!r}, not one of 0, 1, 2, 3.")
    return _example(question, options, answer)


def _example(question: str, options: Sequence[str], answer: int) -> Example:
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))
    worth = tuple(float(index == answer) for index in range(4))
    return Example(f"{question}{listed}\nAnswer:", LETTERS, worth)
