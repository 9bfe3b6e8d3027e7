"""One trial: a command is killed, or meets a full disk; then a user's recovery; then the comparison."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .cases import MINE, Case
from .fire import Ended, Server
from .outcome import Picture, differences, hashes, leftovers, picture

KILLS = ("kill", "torn", "after", "time")
DISKS = ("full", "read-only", "broken")
DISK_CODE = 3


@dataclass
class Trial:
    """What is tried, and the result.

    Attributes:
        where: the operation, from 1; for mode ``time`` the moment, in seconds.
        again: where the recovering command is killed too, an operation; 0 leaves it alone.
        first: what the user tries first, ``"resume"`` or ``"rerun"`` (the same command again).
        operation: what the shim saw there; empty if the command ended before.
        recovered: what led to the result, ``"resume"``, ``"rerun"``, or ``""``.
        faults: everything that is not as it must be.
    """

    command: str
    mode: str
    where: float
    again: int = 0
    first: str = "resume"
    operation: str = ""
    recovered: str = ""
    same: bool = False
    leftovers: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    tracebacks: int = 0
    faults: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Identifies the trial."""
        return f"{self.command} {self.mode} {self.where:g} {self.again} {self.first}"

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.same and not (self.leftovers or self.doubled or self.tracebacks or self.faults)

    def row(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"key": self.key, "good": self.good, **asdict(self)}

    def __str__(self) -> str:
        what = [
            *self.faults,
            *(f"left over: {x}" for x in self.leftovers),
            *(f"doubled: {x}" for x in self.doubled[:3]),
        ]
        lines = [f"{self.key} ({self.operation or 'not reached'}), by {self.recovered or 'nothing'}", *what, *self.told]
        return "\n    ".join(lines)


@dataclass(frozen=True)
class Untouched:
    """The run to compare with, and its length: operations, those that need room, seconds."""

    picture: Picture
    operations: tuple[str, ...]
    growing: tuple[str, ...]
    seconds: float


def measure(server: Server, case: Case, work: Path) -> Untouched:
    """Let the command run undisturbed, and count; raises if it fails."""
    _clear(work, case)
    ended = server.run(case.words, cwd=work, mode="count")
    if ended.code:
        raise RuntimeError(f"untouched: {ended.told()}")
    growing = tuple(line for line in ended.operations if line.split()[1].endswith("+"))
    return Untouched(picture(work, case.ignore), ended.operations, growing, ended.seconds)


def attempt(server: Server, case: Case, untouched: Untouched, trial: Trial, work: Path) -> Trial:
    """Try it in ``work``, which is recreated; gives the trial with its result."""
    _clear(work, case)
    before = {path: _hash(path) for path in _old_files(work)}
    ended = _strike(server, case.words, trial.mode, trial.where, work)
    trial.operation = ended.operations[-1] if ended.operations else ""
    _note(trial, ended)
    _check_old_run(trial, before, work)
    if trial.mode in DISKS:
        _check_refusal(trial, ended)
    elif ended.code >= 0 and ended.code != 0:
        trial.faults.append(f"untouched by the kill it failed: {ended.told()}")
    if ended.code == 0:  # it finished before the kill
        trial.recovered = "finished"
    else:
        _recover(server, case, trial, work)
    found = picture(work, case.ignore)
    _check_old_run(trial, before, work)
    wrong = differences(untouched.picture, found)
    trial.same = bool(trial.recovered) and not wrong
    trial.told += wrong[:8]
    trial.leftovers = leftovers(untouched.picture, found)
    trial.doubled = found.doubled(untouched.picture)
    return trial


def _strike(server: Server, words: list[str], mode: str, where: float, work: Path) -> Ended:
    if mode == "time":
        return server.run(words, cwd=work, seconds=where)
    return server.run(words, cwd=work, mode=mode, n=int(where))


def _recover(server: Server, case: Case, trial: Trial, work: Path) -> None:
    """What a user does: resume and, where there is no run yet, start again; or the other way round."""
    ways = {"resume": case.resume, "rerun": case.words}
    order = ["rerun"] if case.resume is None else ["rerun", "resume"] if trial.first == "rerun" else ["resume", "rerun"]
    if trial.again:
        words = ways[order[0]]
        assert words is not None
        ended = server.run(words, cwd=work, mode="kill", n=trial.again)
        _note(trial, ended)
        if _has_ended(case, order[0], ended, work):  # before the second kill
            trial.recovered = order[0]
            return
    for way in order:
        words = ways[way]
        assert words is not None
        ended = server.run(words, cwd=work)
        _note(trial, ended)
        if _has_ended(case, way, ended, work):
            trial.recovered = way
            return
        if ended.code not in (0, 2):
            trial.faults.append(f"{way}: exit code {ended.code}")
            return
    trial.faults.append("neither resuming nor starting again works")


def _has_ended(case: Case, way: str, ended: Ended, work: Path) -> bool:
    """Whether a recovery led to the end of the wanted run, not of the one that it replaces."""
    return ended.code == 0 and not (case.name == "overwrite" and way == "resume" and _is_old(work))


def _note(trial: Trial, ended: Ended) -> None:
    trial.seconds += ended.seconds
    trial.tracebacks += ("Traceback" in ended.out + ended.err) or "prefgym-error-" in ended.err
    trial.told.append(ended.told())
    if ended.ended == "timeout":
        trial.faults.append(f"hung: {ended.told()}")


def _check_refusal(trial: Trial, ended: Ended) -> None:
    """A full disk: exit code 3 and one sentence, the last line; or a run as untouched."""
    if ended.code == 0:
        return
    if ended.code != DISK_CODE:
        trial.faults.append(f"exit code {ended.code} instead of {DISK_CODE}")
    if len(ended.sentence) != 1 or not ended.last_line.startswith("prefgym"):
        trial.faults.append(f"{len(ended.sentence)} sentences on stderr instead of one at its end: {ended.last_line}")


def _check_old_run(trial: Trial, before: dict[Path, str], work: Path) -> None:
    """For an overwritten run: the user's own files where they were, all others somewhere."""
    if not before:
        return
    there = hashes(work)
    lost = []
    for path, content in before.items():
        name = path.relative_to(work / "run").as_posix()
        if name in MINE and (not path.is_file() or _hash(path) != content):
            trial.faults.append(f"the user's {name} was moved, changed or removed")
        elif not there[content]:
            lost.append(name)
    if lost:
        trial.faults.append(f"{len(lost)} files of the old run are lost, {lost[0]} is one")


def _old_files(work: Path) -> list[Path]:
    if not (work / "run" / MINE[0]).is_file():
        return []
    return [path for path in (work / "run").rglob("*") if path.is_file()]


def _is_old(work: Path) -> bool:
    file = work / "run" / "config.yaml"
    return file.is_file() and "\nseed: 7" in "\n" + file.read_text(encoding="utf-8")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _clear(work: Path, case: Case) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    case.prepare(work)
