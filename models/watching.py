"""Callbacks of a supervised run: a progress bar, TensorBoard events, and a stop as soon as a loss is NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback, rewrite_logs


class StopOnDivergence(TrainerCallback):
    """Stop with a clear error as soon as a logged loss is not a number."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Check every loss of a point."""
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {state.global_step}: lower the learning rate.")


class Progress(ProgressCallback):
    """A progress bar that begins where a resumed run continues, so that the time left is right."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the bar."""
        self.current_step = state.global_step
        self.training_bar: Any = tqdm(total=state.max_steps, initial=state.global_step, dynamic_ncols=True)


class Events(TensorBoardCallback):
    """TensorBoard events in the run's one file, every point once.

    Args:
        folder: of the events.
        history: the points that a resumed run continues from; all others in the file are dropped. None starts the file.
    """

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]] | None) -> None:
        from ..storage.events import open_events  # late: it takes a second, and most library runs need none

        told = {(tag, point["step"]) for point in history or () for tag in rewrite_logs(point)}
        resumed = history is not None
        self.writer = open_events(folder, (lambda tag, step: (tag, step) in told or _is_text(tag)) if resumed else None)
        super().__init__(self.writer)
        self.resumed = resumed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the points of step 0 once."""
        if not self.resumed:
            super().on_train_begin(args, state, control, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write a point, except what another one of the same step already wrote."""
        known = {name for point in state.log_history[:-1] if point["step"] == state.global_step for name in point}
        super().on_log(args, state, control, {name: value for name, value in logs.items() if name not in known})

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def _is_text(tag: str) -> bool:
    return tag.endswith("/text_summary")
