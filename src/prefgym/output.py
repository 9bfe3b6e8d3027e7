"""The only way to write a command's output folder: never over somebody's files, and never left half-written.

A folder belongs to a run if it holds the list that ``storage/manifest.py`` describes. Only files on that list are
replaced, by moving them to ``DIR.previous-N``. While a command writes, it holds the folder's lock.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .account import knows, remember
from .apart import check_apart
from .errors import AgentError, InputError, RewardError
from .files import write_text
from .storage.aside import bring_back, candidates, recover, remove_empty, set_aside, settle, told_aside
from .storage.atomic import is_partial, sha256_of, sweep
from .storage.lock import LOCK, locked
from .storage.manifest import Manifest, covering, opened

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
HISTORY_FILE = "history.jsonl"
CHECKPOINTS = "checkpoints"
PARTS = "parts"
TENSORBOARD = "tensorboard"

_BEGUN = {CONFIG_FILE, HISTORY_FILE, TENSORBOARD}
"""What a run writes before it has anything worth resuming."""
_REPORT = (CONFIG_FILE, METRICS_FILE, PARTS, TENSORBOARD, "report.md", "report.html", "samples.jsonl")
_PICTURES = {
    "train": ("learning_curves.png", "score_against_kl.png", "validation.png", "win_rates.png", "profile.txt"),
    "evaluate": ("learning_curves.png", "score_against_kl.png", "validation.png", "win_rates.png"),
    "compare": ("frontier.png", "learning_curves.png", "score_against_kl.png", "win_rates.png"),
    "sft": ("loss.png",),
    "reward": ("loss.png", "reliability.png"),
    "benchmark": ("normalised.png", "scores.png"),
}
_MODEL = (HISTORY_FILE, CHECKPOINTS, "README.md", "prefgym.json", "config.json", "generation_config.json")
_WEIGHTS = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
"""Names that a command needs: a user's file with such a name is refused now, any other when it is written."""
_RESUMED = ("train", "sft", "reward")
"""Commands that resume a run when asked to."""
_CONTINUED = ("evaluate", "benchmark")
"""Commands that continue their own unfinished folder when run again."""
_IGNORED = {"lost+found", LOCK}
_OLD_RUN = ("prefgym.json", METRICS_FILE, "preference.json")


def check_output(folder: Path, command: str, *, overwrite: bool, inputs: Mapping[str, Any] | None = None) -> None:
    """Raise :class:`InputError` where :func:`new_folder` would, or would take away what is read; nothing is written.

    Args:
        folder: to write.
        command: that writes it.
        overwrite: whether a run in it may move aside.
        inputs: options by key, and what is named without one.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give a folder.")
    if not folder.is_dir() or _is_empty(folder):
        return
    manifest = Manifest.read(folder)
    if manifest is None:
        raise InputError(_not_ours(folder))
    _check_names(folder, manifest, command)
    if _worth(manifest) and not overwrite and not _goes_on(manifest, command):
        resumes = f" --resume --output {shlex.quote(str(folder))} continues it;" if command in _RESUMED else ""
        raise InputError(f"--output {folder} already holds a run;{resumes} give another folder, or add --overwrite.")
    check_apart(folder, manifest.paths(), inputs or {})


@contextmanager
def new_folder(folder: Path, command: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Make a fresh ``folder`` and hold its lock; gives its absolute path. An old run in it is set aside.

    When the work fails, the folder is restored. What can be resumed is kept: any checkpoint or finished part if the
    work was stopped or the machine failed, one with progress if the input was bad. An unfinished ``evaluate`` or
    ``benchmark`` is continued.
    """
    check_output(folder, command, overwrite=overwrite)
    with _entered(folder, command):
        folder = folder.resolve()
        manifest = Manifest.read(folder)
        if manifest is None and not _is_empty(folder):
            raise InputError(_not_ours(folder))
        previous, replaced = None, ""
        if manifest is not None:
            _check_names(folder, manifest, command)
            previous = _known_previous(folder, manifest)
            if _worth(manifest) and not _goes_on(manifest, command):
                previous, replaced = set_aside(folder, manifest), str(manifest.head["run"])
                print(told_aside(folder, previous), flush=True)
                manifest = None
            else:  # nothing worth keeping was written yet, or the same command continues
                manifest.head["command"] = command
                manifest.rewrite()
        with _undone_if_worthless(folder, previous) as written:
            if manifest is None:
                manifest = Manifest.begin(folder, command, facts=_named(folder, previous, replaced))
            written.append(manifest)
            if previous is not None:
                settle(previous)
            _note_in_outer(folder)
            with opened(manifest):
                yield folder


@contextmanager
def resumed_folder(folder: Path, command: str) -> Iterator[Path]:
    """Hold the lock of the run in ``folder`` and continue it; gives its absolute path. Nothing is undone on failure.

    Raises:
        InputError: there is no run of this command, or prefgym 0.1 wrote it.
    """
    check_run_of(folder, command)
    with _entered(folder, command):
        check_run_of(folder, command)
        folder = folder.resolve()
        manifest = Manifest.read(folder)
        assert manifest is not None
        _check_names(folder, manifest, command)
        with opened(manifest):
            yield folder


def check_run_of(folder: Path, command: str) -> None:
    """Raise :class:`InputError` unless ``folder`` holds a run of the command that can be resumed."""
    if not folder.is_dir() or _is_empty(folder):
        raise InputError(f"--resume: {folder} holds no run; start one without --resume.")
    manifest = Manifest.read(folder)
    if manifest is None:
        raise InputError(_not_ours(folder).replace("--output", "--resume:", 1))
    if manifest.head["command"] != command or not manifest.holds(manifest.folder / CONFIG_FILE):
        if not _worth(manifest):
            raise InputError(f"--resume: {folder} holds no run; start one without --resume.")
        if manifest.head["command"] == command:
            raise InputError(f"--resume: {folder / CONFIG_FILE} is missing; put it back, or start a new run.")
        raise InputError(f"--resume: {folder} was written by prefgym {manifest.head['command']}, not by {command}.")


@contextmanager
def kept_folder(folder: Path, command: str) -> Iterator[Path]:
    """Make ``folder``, or continue in one that the same command made; gives its absolute path.

    When the work fails before anything but its config is written, what was made is removed.
    """
    check_kept(folder, command)
    with _entered(folder, command):
        check_kept(folder, command)
        folder = folder.resolve()
        manifest = Manifest.read(folder)
        with _undone_if_worthless(folder, None) as written:
            if manifest is None:
                manifest = Manifest.begin(folder, command)
            written.append(manifest)
            with opened(manifest):
                yield folder


def check_kept(folder: Path, command: str, inputs: Mapping[str, Any] | None = None) -> None:
    """Raise :class:`InputError` where :func:`kept_folder` would, or would take away what is read."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give a folder.")
    if not folder.is_dir() or _is_empty(folder):
        return
    manifest = Manifest.read(folder)
    if manifest is None:
        raise InputError(_not_ours(folder))
    if manifest.head["command"] != command:
        raise InputError(
            f"--output {folder} was written by prefgym {manifest.head['command']}, not by {command}; "
            "give another folder."
        )
    _check_names(folder, manifest, command)
    check_apart(folder, (manifest.folder / name for name in manifest.files), inputs or {})


def check_file(path: Path, *, overwrite: bool) -> None:
    """Raise :class:`InputError` where writing one file would lose what is there."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(f"--output {path} already exists; give another file, or add --overwrite.")
    if path.is_symlink() or not path.is_file() or not knows(file=str(path.resolve()), sha256=sha256_of(path)):
        raise InputError(
            f"--output {path} is not, or no longer, what prefgym wrote there; move it, or give another file."
        )


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write one file outside of any run. An old one of prefgym's, unchanged since, moves to ``FILE.previous-N``."""
    check_file(path, overwrite=overwrite)
    if path.exists():
        names = (path.with_name(f"{path.name}.previous-{number}") for number in itertools.count(1))
        previous = next(name for name in names if not os.path.lexists(name))
        os.rename(path, previous)
        print(f"what was in {path} is now in {previous}", flush=True)
    write_text(path, text)
    remember(file=str(path.resolve()), sha256=sha256_of(path))


def is_begun(folder: Path) -> bool:
    """Whether a folder holds a run with something to resume, or a finished one."""
    manifest = Manifest.read(folder) if folder.is_dir() else None
    return manifest is not None and bool(_worth(manifest))


def discard_parts(folder: Path) -> None:
    """Remove the finished parts of work that no longer needs them; other people's files there are kept."""
    parts = folder.resolve() / PARTS
    manifest = covering(parts)
    for path in parts.glob("*"):
        if manifest is not None and manifest.holds(path):
            path.unlink()
    remove_empty([parts])


@contextmanager
def _entered(folder: Path, command: str) -> Iterator[None]:
    """Make the folder and hold its lock; interrupted moves there are repaired. Folders left empty are removed."""
    made = [path for path in (folder.absolute(), *folder.absolute().parents) if not os.path.lexists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, command) as told:
            if told:
                print(told, flush=True)
            recover(folder.resolve())
            sweep(folder, alone=True)
            yield
    finally:
        remove_empty(made)


@contextmanager
def _undone_if_worthless(folder: Path, previous: Path | None) -> Iterator[list[Manifest]]:
    """When the work fails and left nothing to resume, remove what it wrote and restore the old run.

    Gives a list to which the caller adds this process's list of files: a run that another process made in the folder
    meanwhile is only on the list on disk, and is not removed.
    """
    written: list[Manifest] = []
    try:
        yield written
    except BaseException as error:
        manifest = Manifest.read(folder)
        if manifest is not None:
            manifest.folders &= {name for own in written for name in own.folders}
        if manifest is not None and not _is_kept(manifest, error):
            paths = [path for path in manifest.paths() if _is_ours(path, folder, manifest)]
            for path in paths:
                path.unlink(missing_ok=True)
            sweep(folder, alone=True)
            emptied = {parent for path in paths for parent in path.parents if folder in parent.parents}
            remove_empty({*emptied, *(folder / name for name in (CHECKPOINTS, PARTS, TENSORBOARD))})
            if previous is not None and previous.is_dir():
                bring_back(folder, previous)
        raise


def _is_ours(path: Path, folder: Path, manifest: Manifest) -> bool:
    """Whether a file on the list is still as written."""
    name = path.relative_to(folder).as_posix()
    return name not in manifest.files or manifest.is_whole(name)


def _is_kept(manifest: Manifest, error: BaseException) -> bool:
    names = {name.removeprefix(f"{CHECKPOINTS}/") for name in manifest.folders if name.startswith(f"{CHECKPOINTS}/")}
    if isinstance(error, InputError | RewardError | AgentError):
        names -= {"iteration-000000", "step-000000"}
        others = _worth(manifest) - {CHECKPOINTS}
        return bool(names) or (bool(others) and manifest.head["command"] not in _RESUMED)
    return bool(names) or bool(_worth(manifest) - {CHECKPOINTS})


def _worth(manifest: Manifest) -> set[str]:
    """Prefixes of the names of what is worth keeping."""
    return {name.split("/")[0] for name in (*manifest.files, *manifest.folders)} - _BEGUN


def _goes_on(manifest: Manifest, command: str) -> bool:
    """Whether the same command, run again, continues: its report there is incomplete, or parts are left."""
    unfinished = REPORT_FILE not in manifest.files or any(name.startswith(f"{PARTS}/") for name in manifest.files)
    return command in _CONTINUED and manifest.head["command"] == command and unfinished


def _is_empty(folder: Path) -> bool:
    return not any(path.name not in _IGNORED and not is_partial(path) for path in folder.iterdir())


def _not_ours(folder: Path) -> str:
    if (folder / CONFIG_FILE).is_file() and any((folder / name).is_file() for name in _OLD_RUN):
        there = shlex.quote(str(folder))
        return (
            f"--output {folder} holds a run of prefgym 0.1, which kept no list of its files; move it first "
            f"(mv {there} {shlex.quote(f'{folder}.old')}), or give another folder."
        )
    return f"--output {folder} holds other files; give an empty or a new folder."


def _check_names(folder: Path, manifest: Manifest, command: str) -> None:
    """Refuse a folder where a user's file has a name that the run will need."""
    own = {name.split("/")[0] for name in (*manifest.files, *manifest.folders)}
    for name in (*_REPORT, *_PICTURES.get(command, ()), *(_MODEL + _WEIGHTS if command in _RESUMED else ())):
        path = manifest.folder / name
        foreign = path.is_symlink() or (path.exists() and name not in own)
        if foreign and not (path.is_dir() and not path.is_symlink()):
            raise InputError(
                f"{folder / name} is not prefgym's, and the run writes a file of that name; move it first."
            )


def _known_previous(folder: Path, manifest: Manifest) -> Path | None:
    """Where the run is that an unfinished one replaced: only if its own list of files says that it is that run."""
    replaced = manifest.head.get("replaced")
    for place in candidates(folder):
        kept = Manifest.read(place) if place.name == manifest.head.get("replaces") else None
        if kept is not None and kept.head["run"] == replaced:
            return place
    return None


def _named(folder: Path, previous: Path | None, replaced: str) -> dict[str, str]:
    """What the list of a new run says of the one it replaces: the folder's name, and its id."""
    return {} if previous is None else {"replaces": previous.name, "replaced": replaced}


def _note_in_outer(folder: Path) -> None:
    """A folder in a run's folder is one of that run's, and is set aside with it."""
    outer = covering(folder) or Manifest.read(folder.parent)
    if outer is not None:
        outer.claim_folder(folder)
