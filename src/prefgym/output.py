"""The folder a command writes to: never over somebody's files, and never left half-written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, RewardError

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
CHECKPOINTS = "checkpoints"


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Raise :class:`InputError` where writing to ``folder`` would lose something.

    A folder that holds a run may be overwritten when asked; a folder of anything else never is.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"--output {folder} holds files of something else; give an empty or a new folder.")
    if not overwrite:
        raise InputError(f"--output {folder} already holds a run; give another folder, or add --overwrite.")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Make ``folder`` afresh. When the work fails it is removed again, and a run that stood there comes back.

    What can be resumed is kept: any checkpoint when the work was stopped, one with progress when the input was bad.
    """
    check_output(folder, overwrite=overwrite)
    folder = folder.resolve()
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        discard_replaced(folder)
        if folder.exists():
            folder.rename(_aside(folder))
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be written: {error.strerror}.") from None
    try:
        yield folder
    except BaseException as error:
        if not _can_be_resumed(folder, error):
            shutil.rmtree(folder)
            if _aside(folder).exists():
                _aside(folder).rename(folder)
            for parent in missing:
                parent.rmdir()
        raise
    discard_replaced(folder)


@contextmanager
def kept_folder(folder: Path, worth: str = f"*/*/{CONFIG_FILE}") -> Iterator[Path]:
    """Make ``folder``, or go on in it. When the work fails before anything of the pattern ``worth`` stands in it, by
    default a run, what was made is removed."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be written: {error.strerror}.") from None
    try:
        yield folder
    except BaseException:
        if made and not any(folder.glob(worth)):
            shutil.rmtree(folder)
            for parent in made[1:]:
                parent.rmdir()
        raise


def discard_replaced(folder: Path) -> None:
    """Remove the run that ``folder`` replaced, kept until the new one is worth keeping."""
    shutil.rmtree(_aside(folder.resolve()), ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _can_be_resumed(folder: Path, error: BaseException) -> bool:
    checkpoints = {path.name for path in (folder / CHECKPOINTS).glob("iteration-*")}
    if isinstance(error, InputError | RewardError):
        checkpoints.discard("iteration-000000")
    return bool(checkpoints)
