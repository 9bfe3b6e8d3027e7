"""Places of a module that the operators of cosmic-ray can change, and a sample of the changes.

A place is a stretch of source that at least one operator changes: a number, an operator, a condition, a decorator. Each
place counts once, however many operators fit it: an addition has eleven changes, a condition one.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "rewards", "envs", "models")
Position = tuple[int, int]  # line from 1, column from 0
Place = tuple[Position, Position]
Changes = list[tuple[str, int]]  # operator, and which of its occurrences in the module
KINDS = ("operator", "keyword", "number", "comparison", "test", "factor", "not_test", "except_clause", "decorator")
"""Nodes that operators change, beside statements of their own; asking each operator about every node takes a minute."""
PUNCTUATION = frozenset("()[]{},.:;=")


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: path of the file below the root.
        before: the changed line, without its indentation; several lines are joined.
        source: the whole module, changed.
    """

    module: str
    line: int
    column: int
    operator: str
    occurrence: int
    before: str
    after: str
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        """What it is called in results and judgements."""
        return f"{self.module}:{self.line} {self.operator} {self.occurrence}"

    def row(self) -> dict[str, Any]:
        """What results keep of it."""
        return {"name": self.name, **{key: value for key, value in asdict(self).items() if key != "source"}}


def module_files(rooms: Sequence[str] = ROOMS) -> list[str]:
    """Every module of the rooms, as a path below the root."""
    return sorted(file.relative_to(ROOT).as_posix() for room in rooms for file in (ROOT / room).rglob("*.py"))


def sample(modules: Sequence[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """Draw ``count`` places of all modules together without replacement, and of each one of its changes.

    What is no Python, or the same program, is passed over.

    Returns:
        The mutants in the order drawn, and how many places there are.
    """
    every = [(module, place, changes) for module in modules for place, changes in places(source_of(module)).items()]
    rng = random.Random(seed)
    rng.shuffle(every)
    drawn: list[Mutant] = []
    for module, place, changes in every:
        if len(drawn) == count:
            break
        mutant = make(module, place, *rng.choice(changes))
        drawn += [mutant] if mutant else []
    return drawn, len(every)


def source_of(module: str) -> str:
    """The text of a module."""
    return (ROOT / module).read_text(encoding="utf-8")


def places(source: str) -> dict[Place, Changes]:
    """All places of a module, each with its changes.

    Left out are annotations, which are not evaluated, what only type checkers read, and the two operators that draw
    numbers of their own.
    """
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    every = ast_nodes(get_ast(source))
    nodes = [node for node in every if node.type in KINDS or node.type.endswith("_stmt")]
    nodes = [node for node in nodes if getattr(node, "value", None) not in PUNCTUATION]
    unread = list(not_evaluated(source))
    found: dict[Place, Changes] = {}
    for name in operator_names():
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        spans = (span for node in nodes for span in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(spans):
            if not any(first <= start and end <= last for first, last in unread):
                found.setdefault((start, end), []).append((name, occurrence))
    return found


def not_evaluated(source: str) -> Iterator[Place]:
    """Where annotations stand, and what is read only while types are checked."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        found: ast.expr | ast.stmt | None = None
        if isinstance(node, ast.arg | ast.AnnAssign):
            found = node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = node.returns
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found = node
        if found is not None:
            assert found.end_lineno is not None
            assert found.end_col_offset is not None
            ends = (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)
            first, last = ((line, len(lines[line - 1].encode()[:byte].decode())) for line, byte in ends)
            yield first, last


def make(module: str, place: Place, operator: str, occurrence: int) -> Mutant | None:
    """Change a module; None if the result is the same program or none."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = source_of(module)
    changed = mutate_code(source, get_operator(operator)(), occurrence)
    try:
        with warnings.catch_warnings(action="ignore"):
            if changed is None or ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
                return None
            compile(changed, module, "exec")
    except SyntaxError:
        return None
    before, after = changed_lines(source.splitlines(), changed.splitlines())
    return Mutant(module, *place[0], operator.removeprefix("core/"), occurrence, before, after, changed)


def changed_lines(old: list[str], new: list[str]) -> tuple[str, str]:
    """The lines in which two texts differ, joined."""
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    before, after = (" ".join(line.strip() for line in text[head : len(text) - tail]) for text in (old, new))
    return before, after


def statement(source: str, line: int, column: int) -> tuple[range, bool]:
    """The lines of the statement around a position, of a compound one its head; and whether a function runs it."""
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.ExceptHandler) and (node.lineno, node.col_offset) <= (line, column)
        if (node.end_lineno or 0, node.end_col_offset or 0) > (line, column)
    ]
    if not around:
        return range(line, line + 1), False
    inner = around[-1]  # walked from outside in
    body = getattr(inner, "body", None)
    last = body[0].lineno - 1 if body else inner.end_lineno or inner.lineno
    called = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in around[:-1])
    return range(inner.lineno, max(last, inner.lineno) + 1), called
