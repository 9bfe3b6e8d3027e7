"""Benchmarks as their authors distribute them: MMLU, BIG-bench, BIG-Bench-Hard and Super-NaturalInstructions.

Knows texts and right answers, but no model: running one on a task is the job of the evaluation.
"""

from collections.abc import Callable, Mapping

from ...errors import InputError
from .bbh import read_bbh
from .bigbench import read_bigbench
from .mmlu import read_mmlu
from .natural_instructions import read_natural_instructions
from .task import Example, Suite, Task

READERS: Mapping[str, Callable[[str], Suite]] = {
    "mmlu": read_mmlu,
    "bigbench": read_bigbench,
    "bbh": read_bbh,
    "natural-instructions": read_natural_instructions,
}
"""The reader of each suite, by the suite's name."""


def read_suites(sources: Mapping[str, str | None], limit: int | None = None) -> Suite:
    """All tasks of several suites; one where every answer is right counts as one that cannot be scored.

    Args:
        sources: where each suite's files are, by its name in ``READERS``; ``None`` leaves the suite out.
        limit: how many questions of each task are asked, from its beginning; ``None`` for all.

    Raises:
        InputError: as for the readers; or none of the tasks can be scored.
    """
    read = [READERS[name](source) for name, source in sources.items() if source]
    tasks, unscored = [], {name: reason for suite in read for name, reason in suite.unscored.items()}
    for task in (task for suite in read for task in suite.tasks):
        if all(one.chance == 1 for one in task.examples[:limit]):
            unscored[task.name] = "every option is right, so an answer shows nothing"
        else:
            tasks.append(task)
    if not tasks:
        raise InputError(
            f"None of these tasks can be scored; {next(iter(unscored))}: {unscored[next(iter(unscored))]}."
        )
    return Suite(tuple(tasks), unscored)


__all__ = ["READERS", "Example", "Suite", "Task", "read_suites"]
