"""Super-NaturalInstructions: a task is a definition, examples and instances with one or several right outputs.

Source: Y. Wang et al., "Super-NaturalInstructions: Generalization via Declarative Instructions" (2022), scored by
    ROUGE-L as there, with exact match next to it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...paths import user_path
from ..task_files import Instance, read_task_file
from .node import find_files
from .task import Example, Suite, Task, stops_for

STOPS = ("\n\n", "\nInput:")


def read_natural_instructions(source: str) -> Suite:
    """Read every JSON file of a folder and of the folders in it.

    A task is named by its file, and by its folder too where another file has that name.

    Raises:
        InputError: no such folder, or a file that is not a task (see ``read_task_file``).
    """
    files = find_files(source, "**/*.json", ".")
    stems = Counter(file.stem for file in files)
    root = user_path(source)
    names = [
        file.stem if stems[file.stem] == 1 else file.relative_to(root).with_suffix("").as_posix() for file in files
    ]
    return Suite(tuple(_task(file, name) for file, name in zip(files, names, strict=True)))


def _task(file: Path, name: str) -> Task:
    told = read_task_file(file)
    examples = tuple(map(_example, told.instances))
    return Task(
        f"natural-instructions/{name}",
        ("rouge_l", "exact_match"),
        examples,
        prefix=f"Definition: {told.definition}\n\n",
        lead=" ",
        demonstrations=tuple(map(_example, told.examples)),
        stop=stops_for(examples, STOPS),
    )


def _example(instance: Instance) -> Example:
    return Example(f"Input: {instance.input}\nOutput:", answers=instance.outputs)
