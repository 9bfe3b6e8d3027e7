"""Where the time of an iteration goes: ``profile.txt`` of a run."""

from __future__ import annotations

import cProfile
import io
import pstats
from pathlib import Path
from typing import Any

from .files import write_text

FUNCTIONS = 60


class IterationProfiler:
    """A callback of ``learn`` that profiles the second iteration it sees; the first one pays for what happens once.

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
