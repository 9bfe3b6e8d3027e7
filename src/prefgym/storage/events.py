"""TensorBoard events of a run in one file, with every point once, however often the run was stopped and whatever the
clock says.

TensorBoard itself starts a new file at every start and resolves repeated points by the order of files, which follows
the clock. Here a resumed run first writes the points to keep, then continues in the same file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

from .atomic import replacing
from .manifest import claim, record

EVENTS = "events.out.tfevents.0.prefgym"
Keep = Callable[[str, int], bool]


def open_events(folder: Path, keep: Keep | None = None) -> SummaryWriter:
    """Open the events of a run for writing; of the existing ones, only those with ``keep(tag, step)`` stay.

    Args:
        folder: of the events, in a folder that is open for writing.
        keep: None keeps none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EVENTS
    claim(path)
    kept = list(_kept(path, keep)) if keep is not None and path.is_file() else []
    with replacing(path) as writing, writing.open("wb") as file:
        records = RecordWriter(file)
        for event in kept or [Event(file_version="brain.Event:2")]:
            records.write(event.SerializeToString())
    return _RunWriter(str(folder))


class _RunWriter(SummaryWriter):
    """A writer to the one file of the run."""

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            writer = FileWriter.__new__(FileWriter)
            writer.event_writer = _EventFile(self.log_dir)
            self.file_writer: Any = writer
            self.all_writers: Any = {self.log_dir: writer}
        return self.file_writer


class _EventFile:
    """What :class:`FileWriter` writes to. It writes immediately, so a disk error is raised where it happens."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._file = open(os.path.join(folder, EVENTS), "ab")  # noqa: SIM115
        self._records = RecordWriter(self._file)

    def get_logdir(self) -> str:
        return self.folder

    def add_event(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            record(Path(self._file.name))


def _kept(path: Path, keep: Keep) -> Iterator[Event]:
    """The events that stay: those without points, and each wanted point once."""
    seen = set[tuple[str, int]]()
    for event in read_events(path):
        if not event.HasField("summary"):
            yield event
            continue
        values = [value for value in event.summary.value if keep(value.tag, event.step)]
        fresh = [value for value in values if (value.tag, event.step) not in seen]
        seen.update((value.tag, event.step) for value in fresh)
        if fresh:
            del event.summary.value[:]
            event.summary.value.extend(fresh)
            yield event


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, without a last one that a killed process left incomplete."""
    data, start = path.read_bytes(), 0
    while start + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + 12 + length + 4  # length, its check, the event, its check
        if end > len(data):
            return
        yield Event.FromString(data[start + 12 : end - 4])
        start = end
