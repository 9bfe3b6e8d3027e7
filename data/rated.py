"""Comparisons out of ratings: of two responses to one prompt, the one that was rated higher is preferred.

A rating is a number, or a list with one of each rater; several columns (consistency, fluency, ...) are averaged. Raters
who all judged the responses to a prompt compare them each on their own, since what one calls a 4 is a 5 to another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from ..errors import InputError
from ..numbers import is_number, takes_numbers
from .comparisons import Comparison, names_in
from .conversations import Message
from .tables import Table, read_table

_HINT = "Name the columns: prompt_column, response_column and rating_column."
_ROUNDING = 1e-9  # 4.1 - 3.6 is a little less than 0.5


class Rated(NamedTuple):
    """Comparisons out of ratings, and what is not in them.

    Attributes:
        comparisons: a tie where two responses are rated alike.
        responses: how many were rated.
        prompts: to how many prompts.
        raters: the most raters of one response.
        alone: prompts with a single response, which nothing can be compared with.
        close: pairs left out because their ratings differ by less than ``min_gap``, though they differ.
    """

    comparisons: list[Comparison]
    responses: int
    prompts: int
    raters: int
    alone: int
    close: int

    def told(self) -> str:
        """The numbers, in one line."""
        line = (
            f"{len(self.comparisons):,} comparisons of {self.responses:,} rated responses to {self.prompts:,} prompts"
        )
        line += f", {self.raters} raters each" if self.raters > 1 else ", one rating each"
        if self.close:
            line += f"; {self.close:,} pairs left out, whose ratings differ by less than the gap"
        return line + (f"; {self.alone:,} prompts left out, which have one response" if self.alone else "")


class _Response(NamedTuple):
    """A response in row ``row``, with the rating of each rater."""

    row: int
    text: str
    ratings: list[float]


@takes_numbers
def rated_comparisons(
    source: Any,
    *,
    rating_column: str,
    prompt_column: str = "prompt",
    response_column: str = "response",
    group_column: str | None = None,
    annotator_column: str | None = None,
    system_column: str | None = None,
    min_gap: float = 0.0,
) -> Rated:
    """Read rated responses, a row each, and compare those to the same prompt.

    Args:
        source: local file, hub id or preset; or data handed over in Python (see ``load_prompts``).
        rating_column: column of the rating, or several to be averaged (``consistency,fluency``). A list in it holds the
            rating of each rater, in the same order in every row of a prompt.
        prompt_column: column of the prompt, or several columns.
        response_column: column of the response.
        group_column: column whose equal values must stay on one side of a split, if that is not the prompt.
        annotator_column: column that says who rated, where each row has one rater: only ratings of one person are
            compared.
        system_column: column that says who wrote the response.
        min_gap: in units of the rating; closer ones that are not equal are left out.

    Raises:
        InputError: an unreadable source, a missing column, a rating that is no number, other raters within a prompt, or
            no two responses to any prompt.
    """
    if not (is_number(min_gap) and min_gap >= 0):
        raise InputError(f"min_gap must be a number of at least 0, not {min_gap!r}.")
    table = read_table(source, what="rated responses")
    prompts = table.cells(prompt_column, _HINT)
    texts = [table.as_text(prompt, row, prompt_column) for row, prompt in enumerate(prompts)]
    responses = table.texts(response_column, hint=_HINT)
    ratings = _ratings(table, [name.strip() for name in rating_column.split(",")])
    judges = [None] * len(table) if annotator_column is None else table.column(annotator_column, _HINT)
    systems = None if system_column is None else names_in(table, system_column)
    groups = texts if group_column is None else [str(value) for value in table.column(group_column, _HINT)]
    asked: dict[tuple[str, Any], list[_Response]] = {}
    for row, (text, response, rating, judge) in enumerate(zip(texts, responses, ratings, judges, strict=True)):
        asked.setdefault((text, judge), []).append(_Response(row, response, rating))
    comparisons: list[Comparison] = []
    close = 0
    for (text, judge), given in asked.items():
        _check_raters(table, given, rating_column)
        talk = table.messages(prompts[given[0].row], given[0].row, prompt_column)
        for first, second in combinations(given, 2):
            if first.text.strip() == second.text.strip():
                continue
            for rater, gap in enumerate(a - b for a, b in zip(first.ratings, second.ratings, strict=True)):
                if 0 < abs(gap) < min_gap - _ROUNDING:
                    close += 1
                    continue
                name = None if judge is None else str(judge)
                name = f"rater {rater + 1}" if name is None and len(given[0].ratings) > 1 else name
                pair = (first, second) if gap >= 0 else (second, first)
                wrote = None if systems is None else (systems[pair[0].row], systems[pair[1].row])
                comparisons.append(_comparison(text, pair, gap == 0, groups[first.row], name, wrote, talk))
    if not comparisons:
        apart = f" that differ by {min_gap:g}" if close else ""
        raise InputError(
            f"{table.source} has no prompt with two rated responses{apart}; so there is nothing to compare."
        )
    alone = sum(len(given) == 1 for given in asked.values())
    return Rated(comparisons, len(table), len({text for text, _ in asked}), max(map(len, ratings)), alone, close)


def _comparison(
    prompt: str,
    pair: Sequence[_Response],
    tie: bool,
    group: str,
    annotator: str | None,
    systems: tuple[str, str] | None,
    talk: list[Message] | None,
) -> Comparison:
    chosen, rejected = (response.text for response in pair)
    said = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
    messages = None if talk is None else (talk, said[0], said[1])
    return Comparison(prompt, chosen, rejected, tie, 0.0, group, annotator, systems, messages)


def _ratings(table: Table, names: Sequence[str]) -> list[list[float]]:
    """The rating of each rater, in each row: the mean of the columns."""
    columns = [table.column(name, _HINT) for name in names]
    rows = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        parts = [_numbers(table, cell, row, name) for name, cell in zip(names, cells, strict=True)]
        if len({len(part) for part in parts}) > 1:
            raise InputError(
                f"The columns {', '.join(names)} have different numbers of raters at {table.where(row)}; name columns "
                "that the same people rated."
            )
        rows.append([math.fsum(values) / len(values) for values in zip(*parts, strict=True)])
    return rows


def _numbers(table: Table, cell: Any, row: int, name: str) -> list[float]:
    cells = cell.tolist() if hasattr(cell, "tolist") else cell
    cells = cells if isinstance(cells, list | tuple) else [cells]
    if not cells:
        raise InputError(f'Column "{name}" at {table.where(row)} holds no rating; remove the row.')
    return [_number(table, value, row, name) for value in cells]


def _number(table: Table, value: Any, row: int, name: str) -> float:
    """A rating, which text files hold as text."""
    try:
        found = float(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not is_number(found):
        told = "nothing" if value is None else repr(value)
        raise InputError(
            f'Column "{name}" at {table.where(row)} holds {told}, not a number; a rating is a number or a list of them.'
        )
    return float(found)  # type: ignore[arg-type]


def _check_raters(table: Table, given: Sequence[_Response], name: str) -> None:
    for response in given:
        if len(response.ratings) != len(given[0].ratings):
            raise InputError(
                f'Column "{name}" has {len(response.ratings)} ratings at {table.where(response.row)} and '
                f"{len(given[0].ratings)} at {table.where(given[0].row)}, which is about the same prompt; give all its "
                "responses the same raters, or their mean."
            )
