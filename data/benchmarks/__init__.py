"""Benchmarks as their authors distribute them: MMLU, BIG-bench, BIG-Bench-Hard and Super-NaturalInstructions.

Knows texts and right answers, but no model: running one on a task is the job of the evaluation.
"""

from collections.abc import Callable, Mapping

from ...errors import InputError
from .bbh import read_bbh
from .bigbench import read_bigbench
from .mmlu import read_mmlu
from .natural_instructions import read_natural_instructions
from .task import CLOZE, Example, Suite, Task

READERS: Mapping[str, Callable[[str], Suite]] = {
    "mmlu": read_mmlu,
    "bigbench": read_bigbench,
    "bbh": read_bbh,
    "natural-instructions": read_natural_instructions,
}
"""The reader of each suite, by the suite's name."""


FORMULATIONS = ("multiple-choice", "cloze", "both")
"""How a task whose options are listed is asked: as it is, in its cloze form (see ``task.py``), or both ways."""


def read_suites(
    sources: Mapping[str, str | None], limit: int | None = None, formulation: str = "multiple-choice"
) -> Suite:
    """All tasks of several suites; one where every answer is right counts as one that cannot be scored.

    Args:
        sources: where each suite's files are, by its name in ``READERS``; ``None`` leaves the suite out.
        limit: how many questions of each task are asked, from its beginning; ``None`` for all.
        formulation: one of ``FORMULATIONS``; a task without a cloze form is asked as it is.

    Raises:
        InputError: as for the readers; or none of the tasks can be scored, or has the form asked for.
    """
    read = [READERS[name](source) for name, source in sources.items() if source]
    tasks, unscored = [], {name: reason for suite in read for name, reason in suite.unscored.items()}
    forms = [form for suite in read for task in suite.tasks for form in _forms(task, formulation)]
    if formulation != FORMULATIONS[0] and not any(task.suite.endswith(CLOZE) for task in forms):
        raise InputError(f"formulation is {formulation}, but none of these tasks lists options; leave it out.")
    for task in forms:
        if all(one.chance == 1 for one in task.examples[:limit]):
            unscored[task.name] = "every option is right, so an answer shows nothing"
        else:
            tasks.append(task)
    if not tasks:
        raise InputError(
            f"None of these tasks can be scored; {next(iter(unscored))}: {unscored[next(iter(unscored))]}."
        )
    return Suite(tuple(tasks), unscored)


def _forms(task: Task, formulation: str) -> tuple[Task, ...]:
    if task.cloze is None or formulation == "multiple-choice":
        return (task,)
    return (task.cloze,) if formulation == "cloze" else (task, task.cloze)


__all__ = ["CLOZE", "FORMULATIONS", "READERS", "Example", "Suite", "Task", "read_suites"]
