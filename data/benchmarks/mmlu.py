"""MMLU: 57 subjects, each a CSV file of questions with four options.

Source: D. Hendrycks et al., "Measuring Massive Multitask Language Understanding" (2021), with their prompt; the options
    are scored by the likelihood of their letter. Prompts are lm-evaluation-harness's, byte for byte: its ``mmlu``, and
    its ``mmlu_continuation`` for the cloze form. Both strip the white space around a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...paths import user_path
from ..files import read_records
from ..hub import HubDataset, find_hub_dataset
from .node import find_files
from .task import Example, Suite, Task

LETTERS = ("A", "B", "C", "D")


class Row(NamedTuple):
    """A question, its four options, and the index of the right one."""

    question: str
    options: tuple[str, ...]
    answer: int

    @property
    def worth(self) -> tuple[float, ...]:
        """The credit for each option."""
        return tuple(float(index == self.answer) for index in range(len(LETTERS)))


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


def _suite(test: dict[str, list[Row]], dev: dict[str, list[Row]]) -> Suite:
    tasks = [_task(subject, rows, dev.get(subject, [])) for subject, rows in test.items()]
    alone = {f"mmlu/{subject}": "it has demonstrations (dev) and no questions (test)" for subject in dev.keys() - test}
    return Suite(tuple(tasks), dict(sorted(alone.items())))


def _task(subject: str, rows: Sequence[Row], demonstrations: Sequence[Row]) -> Task:
    about = f"questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    task = Task(
        f"mmlu/{subject}",
        ("accuracy",),
        tuple(map(_listed, rows)),
        prefix=f"The following are multiple choice {about}",
        lead=" ",
        demonstrations=tuple(map(_listed, demonstrations)),
    )
    return task.in_cloze_form(
        tuple(map(_plain, rows)),
        prefix=f"The following are {about}",
        demonstrations=tuple(map(_plain, demonstrations)),
    )


def _file_rows(files: Sequence[Path]) -> dict[str, list[Row]]:
    """The questions by subject: a file's name without its ending and ``_test`` or ``_dev``."""
    return {
        file.stem.removesuffix(f"_{file.parent.name}"): [_row(file, *record) for record in read_records(file)]
        for file in files
    }


def _row(file: Path, line: int, cells: Sequence[str]) -> Row:
    if len(cells) != 6:
        raise InputError(f"Line {line} of {file} has {len(cells)} values, not 6: question, options A to D, answer.")
    question, *options, answer = cells
    for letter, option in zip(LETTERS, options, strict=True):
        if not option.strip():
            raise InputError(f"Line {line} of {file} has no option {letter}.")
    if answer.strip() not in LETTERS:
        raise InputError(f'Line {line} of {file} has the answer "{answer.strip()}", not one of A, B, C, D.')
    return Row(question, tuple(options), LETTERS.index(answer.strip()))


def _hub_rows(hub: HubDataset, split: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for index, row in enumerate(hub.read(split), 1):
        found.setdefault(str(row.get("subject", hub.config)), []).append(
            _hub_row(f"Row {index} of {hub.repository}", row)
        )
    return found


def _hub_row(where: str, row: dict[str, Any]) -> Row:
    question, options, answer = (row.get(name) for name in ("question", "choices", "answer"))
    if not isinstance(question, str) or not isinstance(options, list) or len(options) != 4:
        raise InputError(f"{where} is not an MMLU question: it needs question, choices (four) and answer (0 to 3).")
    if not isinstance(answer, int) or answer not in range(4):
        raise InputError(f"{where} has the answer {answer!r}, not one of 0, 1, 2, 3.")
    return Row(question, tuple(options), answer)


def _listed(row: Row) -> Example:
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, row.options, strict=True))
    return Example(f"{row.question.strip()}{listed}\nAnswer:", LETTERS, row.worth)


def _plain(row: Row) -> Example:
    """The cloze form."""
    return Example(f"Question: {row.question.strip()}\nAnswer:", row.options, row.worth)
