"""What a command has left behind: a snapshot, to be compared with that of an untouched run."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefgym.storage.manifest import FILES, Manifest

EVENTS = re.compile(r"events\.out\.tfevents\.[^/]*")
CLOCKED = re.compile(r"(^|[/_ ])(time|runtime|seconds|duration|date|clock|speed|second)([/_ ]|$)")
"""Keys of values that differ between two runs of one command."""
EXACT = (".safetensors", ".yaml", ".jsonl", "config.json", "tokenizer.json")
TEMPORARY = re.compile(
    r"(^|/)(\.(saving|writing|tmp)[^/]*|[^/]*\.(partial|lock|tmp|replaced)|trainer_output|prefgym-error-[^/]*)(/|$)"
)
"""What no finished command may leave anywhere."""

Rows = dict[tuple[str, int], list[float]]  # tag and step -> the values written there


@dataclass(frozen=True)
class Picture:
    """A working folder at rest.

    Attributes:
        names: of files and of folders (with a slash); event files have one name, whatever the clock said.
        contents: file -> a digest of what must be the same in two runs.
        scalars: folder of events -> what TensorBoard shows.
        written: folder of events -> everything in its files.
    """

    names: frozenset[str]
    contents: dict[str, str]
    scalars: dict[str, Rows]
    written: dict[str, Rows]

    def doubled(self, untouched: Picture | None = None) -> list[str]:
        """TensorBoard points that occur twice, shown or in the files; more often than in an untouched run."""
        found = []
        for how in ("scalars", "written"):
            for folder, rows in getattr(self, how).items():
                usual = getattr(untouched, how).get(folder, {}) if untouched else {}
                for (tag, step), values in rows.items():
                    if len(values) > max(1, len(usual.get((tag, step), ()))):
                        found.append(
                            f"{folder}: {tag} at {step} is {len(values)} times {'shown' if how == 'scalars' else how}"
                        )
        return found


def picture(folder: Path, ignore: str = r"(?!)") -> Picture:
    """Take a snapshot of a working folder; names that ``ignore`` matches at their start are skipped."""
    names, contents = set(), {}
    homes = set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if re.match(ignore, name):
            continue
        if EVENTS.fullmatch(path.name):
            homes.add(path.parent)
            name = EVENTS.sub("EVENTS", name)
        names.add(f"{name}/" if path.is_dir() else name)
        if path.is_file() and (path.name.endswith(EXACT) or path.name == "metrics.json"):
            contents[name] = content(path)
    shown = {home.relative_to(folder).as_posix(): _shown(home) for home in homes}
    written = {home.relative_to(folder).as_posix(): _written(home) for home in homes}
    return Picture(frozenset(names), contents, shown, written)


def differences(untouched: Picture, found: Picture) -> list[str]:
    """Where a snapshot differs from that of the untouched run, apart from times and leftovers; empty if equal."""
    told = [f"missing: {name}" for name in sorted(untouched.names - found.names)]
    told += [
        f"differs: {name}{_where(text, found.contents[name])}"
        for name, text in untouched.contents.items()
        if name in found.contents and found.contents[name] != text
    ]
    for home, rows in untouched.scalars.items():
        there = found.scalars.get(home, {})
        kept = {key: values[0] for key, values in rows.items() if not CLOCKED.search(key[0])}
        wrong = [
            f"{tag} at {step}" for (tag, step), value in kept.items() if there.get((tag, step), [None])[0] != value
        ]
        if wrong:
            told.append(f"TensorBoard in {home}: {len(wrong)} points are missing or differ, {wrong[0]} is the first")
    return told


def leftovers(untouched: Picture, found: Picture) -> list[str]:
    """Files and folders that the untouched run does not have, or that nobody may leave."""
    return sorted(found.names - untouched.names | {name for name in found.names if TEMPORARY.search(name)})


def content(path: Path) -> str:
    """What must be the same in two runs: bytes, or JSON without its times."""
    if path.name == FILES:
        return _listed(path)
    data = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            return json.dumps([_timeless(json.loads(line)) for line in data.splitlines()])
        if path.suffix == ".json":
            return json.dumps(_timeless(json.loads(data)))
    except ValueError:
        pass  # damaged: compare the bytes
    return hashlib.sha256(data).hexdigest()


def _listed(path: Path) -> str:
    """The names on a list of files, of existing files; ids and checksums differ by run."""
    manifest = Manifest.read(path.parent)
    return json.dumps([] if manifest is None else sorted([*manifest.files, *manifest.folders]))


def _where(text: str, other: str) -> str:
    """The first key of two JSON texts whose value differs."""
    if not (text.startswith("{") and other.startswith("{")):
        return ""
    one, two = json.loads(text), json.loads(other)
    key = next(key for key in {**one, **two} if one.get(key) != two.get(key))
    return f" ({key}: {one.get(key)!r:.60} untouched, {two.get(key)!r:.60} here)"


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if not CLOCKED.search(str(key))}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _shown(home: Path) -> Rows:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it reports every restart
    events = EventAccumulator(str(home), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    rows: Rows = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            rows.setdefault((tag, event.step), []).append(event.value)
    return rows


def _written(home: Path) -> Rows:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    rows: Rows = {}
    for file in sorted(home.iterdir()):
        if not EVENTS.fullmatch(file.name):
            continue
        try:
            for event in LegacyEventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    rows.setdefault((value.tag, event.step), []).append(value.simple_value)
        except Exception as error:  # a record cut in half, which TensorBoard's reader skips
            rows[f"{file.name} ends in the middle of a record ({type(error).__name__})", 0] = [0.0]
    return rows


def hashes(folder: Path) -> Counter[str]:
    """How often each content occurs below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
