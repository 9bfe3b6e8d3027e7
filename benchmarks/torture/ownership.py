"""File ownership: commands run on a user's folders, and what became of every file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from prefgym.storage.manifest import FILES

from .cases import Case, finished_run, make_cases, old_run
from .fire import Ended, Server
from .shapes import SHAPES, a_run, command_words, name_it, neighbours

WEIGHTS = {"train": 8, "sft": 5, "reward": 5, "evaluate": 8, "benchmark": 3, "compare": 3, "lecture": 1, "sample": 3}
WEIGHTS |= {"label": 3, "build-assets": 1}
QUICK = {"train": 5, "sft": 4, "label": 1, "sample": 1}
FINISHED = ("train", "sft", "reward")
"""Commands that leave metrics.json where they were told to write."""
CODES = (0, 1, 2, 3, 4)

Kept = dict[Path, str]  # path -> hash, or the target of a link


def try_folders(
    server: Server, scratch: Path, material: Path, keys: Iterable[str], *, quick: bool = False
) -> Iterator[dict[str, Any]]:
    """Make a try for each key, which seeds all randomness; a row for each. Quick: the shorter commands."""
    cases = make_cases(server, scratch, material)
    for key in keys:
        run = finished_run(server, scratch, material) if quick else old_run(server, scratch, material)
        yield try_folder(server, scratch / "home", run, material, cases, key, QUICK if quick else WEIGHTS)


def try_folder(
    server: Server, home: Path, run: Path, material: Path, cases: dict[str, Case], key: str, weights: dict[str, int]
) -> dict[str, Any]:
    """One command on one folder; the key seeds everything in it."""
    rng = Random(key)
    _remove(home)
    folder = home / rng.choice(["project", "a project", "run", "projet-é"])
    folder.mkdir(parents=True)
    kind = rng.choice(["project", "project", "old run", "old run", "run of 0.1.0"])
    if kind != "project":
        a_run(folder, run, rng, first_version=kind == "run of 0.1.0")
    ours = set(_files(folder)) - {path for path in _files(folder) if "mine" in path.name or "best" in path.parts}
    shapes = rng.sample(SHAPES, rng.randint(1, 4))
    for shape in shapes:
        shape(folder, rng)
    neighbours(folder, rng)
    cwd, target = name_it(home, folder, rng)
    (command,) = rng.choices(list(weights), list(weights.values()))
    words = command_words(command, target, cases, material, run, rng)
    before = _files(home)
    ours = {path for path in ours if before[path] == _files(run.parent).get(run / path.relative_to(folder))}
    fixed = rng.random() < 0.15
    if fixed:
        home.chmod(0o555)
    ended = server.run(words, cwd=cwd, plain=True)
    home.chmod(0o755)
    faults = check(home, before, _files(home), ours, words) + ended.bad_manners(CODES)
    if ended.code == 0 and command in FINISHED:
        metrics = folder / "metrics.json"
        if not metrics.is_file() or (before.get(metrics) == _files(home).get(metrics) and "--resume" not in words):
            faults.append("exit code 0, but there is no new metrics.json")
    told = f"{kind} with {', '.join(shape.__name__ for shape in shapes)}{', parent read-only' if fixed else ''}"
    return _row(key, command, ended, faults, f"{told}; in {cwd.relative_to(home)}: {ended.told()}")


def check(home: Path, before: Kept, after: Kept, ours: set[Path], words: list[str]) -> list[str]:
    """What was lost: the user's files must keep path and bytes, those of an old run their bytes somewhere.

    A single file that ``sample`` and ``label`` were told to write is the user's too, but may move when asked.
    """
    there, faults = Counter(after.values()), []
    for path, content in before.items():
        if path in ours and path.name == FILES:
            continue  # the list itself has more lines when a run has more files
        name = path.relative_to(home)
        asked = words[0] in ("sample", "label") and "--overwrite" in words and path.name == Path(words[-2]).name
        if path in ours or asked:
            if not there[content]:
                faults.append(f"lost: {name} of the {'old run' if path in ours else 'user'}")
        elif path not in after:
            faults.append(f"the user's {name} is gone{' (its bytes are elsewhere)' if there[content] else ''}")
        elif after[path] != content:
            faults.append(f"the user's {name} was changed")
    return faults


def _row(key: str, command: str, ended: Ended, faults: list[str], told: str) -> dict[str, Any]:
    shown = [*faults[:6], *([f"and {len(faults) - 6} more"] if len(faults) > 6 else [])]
    return {"key": key, "command": command, "code": ended.code, "good": not faults, "faults": shown, "told": [told]}


def _files(folder: Path) -> Kept:
    """Every file and link below a folder; links are not followed."""
    found: Kept = {}
    for home, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(home, name)
            if path.is_symlink():
                found[path] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _remove(home: Path) -> None:
    if home.exists():
        home.chmod(0o755)
        shutil.rmtree(home)
