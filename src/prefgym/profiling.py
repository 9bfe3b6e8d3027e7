"""Where an iteration's time goes: a table of its parts, and a run's ``profile.txt`` for the details."""

from __future__ import annotations

import cProfile
import io
import pstats
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import write_text

FUNCTIONS = 60


def parts_table(history: Sequence[Mapping[str, float]]) -> str:
    """Return the median seconds of an iteration's parts, with their shares; the first iteration includes warm-up."""
    from .agents.validated import SECONDS, iterations

    rows = iterations(history)[1:] or iterations(history)
    totals = [row["time/rollout_seconds"] + row["time/update_seconds"] for row in rows]
    whole = statistics.median(totals)
    names = [
        name
        for name in rows[-1]
        if name.startswith("time/")
        and name.endswith("_seconds")
        and name not in ("time/rollout_seconds", "time/update_seconds", SECONDS)
    ]
    seconds = {name[5:-8]: statistics.median(row.get(name, 0.0) for row in rows) for name in names}
    seconds["everything else"] = max(0.0, whole - sum(seconds.values()))
    lines = [f"where the time of an iteration goes (median of {len(rows)})"]
    for name, value in [*seconds.items(), ("an iteration", whole)]:
        share = value / whole if whole else 0.0
        lines.append(f"  {name:<16} {value:8.3f} s  {100 * share:5.1f} %  {'#' * round(40 * share)}".rstrip())
    return "\n".join(lines)


class IterationProfiler:
    """A callback for ``learn`` that profiles the second iteration it sees; the first includes one-time costs.

    Work on a GPU is counted where the CPU waits for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._profile, self._seen = folder, cProfile.Profile(), 0

    def __call__(self, agent: Any, scalars: dict[str, float]) -> None:
        """Begin after the first iteration, write after the second."""
        self._seen += 1
        if self._seen == 1:
            self._profile.enable()
        elif self._seen == 2:
            self._profile.disable()
            table = io.StringIO()
            pstats.Stats(self._profile, stream=table).strip_dirs().sort_stats("cumulative").print_stats(FUNCTIONS)
            write_text(self.folder / "profile.txt", f"iteration {agent.iteration}\n{table.getvalue()}")
