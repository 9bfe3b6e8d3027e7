"""What a history says of its validations: which was the best, and whether to stop.

A validation stands in the row of the iteration after which it was made. The one before the first update has a row of
its own, without anything of an iteration. Nothing else records them, so a resumed run cannot lose count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Row = Mapping[str, float]

SCORE, KL, OBJECTIVE = "validation/score", "validation/kl", "validation/objective"
ROUGE, LENGTH, SECONDS = "validation/rouge_l", "validation/length", "time/validation_seconds"
FIGURES = {SCORE: "score", KL: "KL", OBJECTIVE: "score - β KL", ROUGE: "ROUGE-L", LENGTH: "tokens"}
"""Those of the policy, with their titles; the reference overlap is left out where there are no references."""


def is_iteration(row: Row) -> bool:
    """Whether a row is of an iteration, not of a validation before the first one.

    >>> is_iteration({"iteration": 0, "episodes": 0, "validation/score": 1.0})
    False
    """
    return "objective/scores" in row


def iterations(history: Sequence[Row]) -> list[Row]:
    """The rows of iterations."""
    return [row for row in history if is_iteration(row)]


def validations(history: Sequence[Row]) -> list[Row]:
    """The rows with a validation since the last ``learn`` began, in order; the first is of the policy it began with."""
    rows = [row for row in history if OBJECTIVE in row]
    return rows[max((place for place, row in enumerate(rows) if not is_iteration(row)), default=0) :]


def last_validation(history: Sequence[Row]) -> Row | None:
    """The last row with a validation."""
    return next((row for row in reversed(history) if OBJECTIVE in row), None)


def best(history: Sequence[Row]) -> Row | None:
    """The validation with the highest objective, the first in a tie; None if there are none.

    >>> best([{"iteration": i, "validation/objective": x} for i, x in enumerate([1.0, 3.0, 3.0])])["iteration"]
    1
    """
    rows = validations(history)
    return max(rows, key=objective) if rows else None


def objective(row: Row) -> float:
    """What validations are compared by: score - β KL; a policy that diverged is worse than any other."""
    return -math.inf if math.isnan(row[OBJECTIVE]) else row[OBJECTIVE]


def since_best(history: Sequence[Row]) -> int:
    """How many validations in a row, the last included, were not better than the best before them.

    >>> since_best([{"iteration": i, "validation/objective": x} for i, x in enumerate([1.0, 3.0, 2.0, 3.0])])
    2
    """
    rows = validations(history)
    found = [objective(row) for row in rows]
    return len(rows) - 1 - found.index(max(found)) if rows else 0


def is_stalled(history: Sequence[Row], patience: int | None) -> bool:
    """Whether ``patience`` validations in a row did not bring a better objective; None waits for ever."""
    return patience is not None and since_best(history) >= patience
