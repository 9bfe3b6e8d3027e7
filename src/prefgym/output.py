"""The folder a command writes to: never over somebody's files, and never left half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import write_text
from .errors import InputError

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
CHECKPOINT_FOLDER = "checkpoints"


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Raise :class:`InputError` where writing to ``folder`` would lose something.

    A folder that holds a run may be overwritten when asked; a folder of anything else never is.
    """
    if folder.is_file():
        raise InputError(f"--output {folder} is a file; give a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"--output {folder} holds files that are no run; give an empty or new folder.")
    if not overwrite:
        raise InputError(f"--output {folder} already holds a run; give another folder, or --overwrite (or --resume for train).")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Make ``folder`` afresh, and remove it again when the work fails before a first checkpoint is kept."""
    check_output(folder, overwrite=overwrite)
    if folder.is_dir():
        shutil.rmtree(folder)
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        if not any((folder / CHECKPOINT_FOLDER).glob("*")):
            shutil.rmtree(folder)
            for parent in missing[1:]:
                if not any(parent.iterdir()):
                    parent.rmdir()
        raise


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``, atomically; NaN and infinity are refused, as JSON has neither."""
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
