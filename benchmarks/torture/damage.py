"""Files with something wrong in them: broken, damaged, of wrong types, or nasty on purpose."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from .nasty import SCALARS


def damaged(data: bytes, rng: Random) -> bytes:
    """Bytes with one thing wrong with them."""
    at = rng.randrange(len(data) + 1)
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: data[:at],
        lambda: data[:at] + rng.randbytes(8) + data[at + 8 :],
        lambda: data[:at] + b"\0" * 64 + data[at:],
        lambda: data[:at] + b"\xff\xfe" + data[at:],
        lambda: bytes(len(data)),
        lambda: data + data,
        lambda: rng.randbytes(64),
        lambda: data.decode("utf-8", "replace").encode("utf-16"),
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        lambda: b"<!DOCTYPE html><html></html>",
    ]
    return rng.choice(kinds)()


def damaged_json(data: bytes, rng: Random) -> bytes:
    """JSON text, or JSON lines, with one value of another type, one key missing, or broken."""
    try:
        rows = [json.loads(line) for line in data.splitlines()] if data.count(b"\n{") else [json.loads(data)]
    except ValueError:
        return damaged(data, rng)
    if not rows or rng.random() < 0.2:
        return damaged(data, rng)
    index = rng.randrange(len(rows))
    rows[index] = _changed(rows[index], rng)
    return "\n".join(json.dumps(row) for row in rows).encode("utf-8")


def _changed(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        less = {name: inner for name, inner in value.items() if name != key}
        return less if rng.random() < 0.25 else {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = rng.randrange(len(value))
        return [*value[:index], _changed(value[index], rng), *value[index + 1 :]]
    return rng.choice(SCALARS)


def damage_file(path: Path, rng: Random) -> str:
    """Damage a file, remove it, or replace it by a folder, a link or something unreadable; gives what was done."""
    how = rng.choices(["content", "gone", "folder", "dangling link", "loop", "unreadable"], [20, 1, 1, 1, 1, 1])[0]
    data = path.read_bytes()
    path.unlink()
    if how == "content":
        path.write_bytes(damaged_json(data, rng) if path.suffix in (".json", ".jsonl") else damaged(data, rng))
    elif how == "folder":
        path.mkdir()
    elif how == "dangling link":
        path.symlink_to("missing")
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "unreadable":
        path.write_bytes(data)
        path.chmod(0)
    return f"{path.name}: {how}"


def data_file(folder: Path, rows: Iterable[dict[str, Any]], rng: Random) -> Path:
    """Rows as a user's file in some format, with something wrong in it."""
    rows = [dict(row) for row in rows]
    name = rng.choice(["jsonl", "jsonl", "json", "csv", "tsv", "parquet", "txt", "xyz", "jsonl.gz"])
    path = folder / f"data.{name}"
    if rng.random() < 0.6:
        row = rng.choice(rows)
        for key in [rng.choice(list(row))] if rng.random() < 0.7 else list(row):
            row[key] = rng.choice(SCALARS)
    if name == "parquet":
        return _parquet(path, rows, rng)
    if name in ("csv", "tsv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if name == "tsv" else ",")
        writer.writeheader()
        writer.writerows({key: str(value)[:5000] for key, value in row.items()} for row in rows)
        data = text.getvalue().encode("utf-8", "surrogatepass")
    elif name == "json":
        data = json.dumps(rng.choice([rows, {"data": rows}, {"rows": 1}, rows[0]])).encode("utf-8")
    else:
        data = "\n".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows).encode(
            "utf-8", "surrogatepass"
        )
    path.write_bytes(data if rng.random() < 0.4 else damaged(data, rng))
    return path


def _parquet(path: Path, rows: list[dict[str, Any]], rng: Random) -> Path:
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, list[Any]] = {key: [str(row[key]) for row in rows] for key in rows[0]}
    columns = {key: [text.encode("utf-8", "replace").decode() for text in texts] for key, texts in columns.items()}
    odd = rng.choice(list(columns))
    columns[odd] = rng.choice(
        [[1] * len(rows), [None] * len(rows), [[1]] * len(rows), [b"\xff"] * len(rows), columns[odd]]
    )
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    if rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return path
