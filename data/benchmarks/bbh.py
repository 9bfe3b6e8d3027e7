"""BIG-Bench-Hard: tasks of BIG-bench whose answers are written and compared exactly.

Source: M. Suzgun et al., "Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them" (2022). The prompt
    is theirs for a direct answer, without the sentence on the task that precedes the demonstrations: it is in no data
    file. White space around an answer does not count; lm-evaluation-harness's strict match counts the space that many
    tokenizers write before an answer as a mistake, its "flexible" one does not.
"""

from __future__ import annotations

from pathlib import Path

from .node import Node, find_files
from .task import Example, Suite, Task, stops_for

STOPS = ("\n\n", "Q:")


def read_bbh(source: str) -> Suite:
    """Read ``NAME.json`` files, in the folder or in its ``bbh``: ``{"examples": [{"input", "target"}, ...]}``.

    Raises:
        InputError: no such folder, a file that is not JSON, a key that is missing or of the wrong type.
    """
    return Suite(tuple(_task(file) for file in find_files(source, "*.json", "bbh", ".")))


def _task(file: Path) -> Task:
    rows = Node.read(file).objects("examples")
    examples = tuple(Example(f"Q: {row.get('input', str)}\nA:", answers=row.texts("target")) for row in rows)
    return Task(f"bbh/{file.stem}", ("exact_str_match",), examples, lead=" ", stop=stops_for(examples, STOPS))
