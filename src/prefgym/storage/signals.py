"""Stopping cleanly: the first SIGINT or SIGTERM lets a command save its state, the second ends it immediately."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The process was asked to stop.

    Attributes:
        signum: the number of the signal.
    """

    def __init__(self, signum: int = signal.SIGINT, *told: str) -> None:
        super().__init__(*told)
        self.signum = int(signum)

    @property
    def name(self) -> str:
        """The signal's name, such as ``"SIGTERM"``."""
        return signal.Signals(self.signum).name


class _State:
    """The handler's state: the signal received, whether it was raised, and how many sections postpone it."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.raised = False
        self.sections = 0


_state = _State()


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` in the block at the first SIGINT or SIGTERM; the second ends the process immediately."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.__init__()  # type: ignore[misc]
    before = {signum: signal.signal(signum, _handle) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Postpone a stop until the block is over; for a few lines that are consistent only at their end."""
    _state.sections += 1
    try:
        yield
    finally:
        _state.sections -= 1
    if _state.came is not None and not _state.raised and not _state.sections:
        _state.raised = True
        raise Stopped(_state.came)


def stopped(error: BaseException, *told: str) -> Stopped:
    """The same stop with a sentence; anything but a :class:`Stopped` counts as SIGINT."""
    return Stopped(error.signum if isinstance(error, Stopped) else signal.SIGINT, *told)


def _handle(signum: int, frame: FrameType | None) -> None:
    if _state.came is not None:
        os.write(2, b"\nstopped immediately.\n")
        os._exit(128 + signum)
    _state.came = signum
    if not _state.sections:
        _state.raised = True
        raise Stopped(signum)
