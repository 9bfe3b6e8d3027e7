"""Files with something wrong in them: broken, damaged, of wrong types, or nasty on purpose."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

WORDS = (
    *("", " ", "-1", "0", "1.5", "1e400", "-1e400", "nan", "inf", "0x_", "0x10", "0777", "1:30", "1_000", "2020-13-45"),
    *("true", "yes", "null", "~", "none", "[]", "[1, 2]", "{}", "{a: 1", "{a: {b: 2}}", "'", '"', "&a", "*a", "!!python/x y"),
    *("..", "/", "/dev/full", "/dev/null", "/dev/stdin", "~nouser/x", "/proc/x", "a" * 300, "a/" * 300, "é" * 200, "%s"),
    *("{prompt}", "{0}", "{prompt}{prompt}", "$\\frac{$", "\x1b[31mred", "-", "--", "=", "a,b", "embedded", "embedded/x"),
    *("cuda:99", "meta", "no/such-model", "nowhere.jsonl", "nowhere.py:f", "os:system", "os:getcwd", "sys:exit", "json:nothing"),
    *(":", "a:", ":b", "\ud83d", "\udcff", "9" * 400, "-" + "9" * 30, "1e308", "👍", "٣", "１", "\t", "a\nb", "<script>", "|"),
)
"""Values that somebody types, or that a shell makes of what somebody types."""

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, -(10**30), float("nan"), float("inf"), "", " ", "x", "9" * 5000, "\ud83d", "\0"),
    *([], {}, [1], {"a": 1}, [[[]]], ["x"] * 3, {"": ""}, "\x1b[2J", "$\\frac{$", "a" * 100_000, [None], {"a": None}),
)
"""Values of JSON where another type is expected."""

NASTY_YAML = (
    *("", " ", "\t", "-", "a", "a: b: c", "[", "{", "&a [*a]", "a: &x {b: *x}", "<<: *a", "!!python/object/apply:os.getcwd []"),
    *("? [a]\n: b", "? {a: 1}\n: b", "--- 1\n--- 2", "%YAML 9.9\n---\na: 1", "\ufeffseed: 1", "seed: 1\nseed: 2", "\0", "a: \x07"),
    *("seed: 2020-13-45", "seed: 0x_", "seed: 1:30", "seed: 0777", "seed: " + "9" * 400, "seed: 1e400", "seed: .nan", "seed: !!int x"),
    *("seed: [1]", "seed: {a: 1}", "seed: null", "env: 1", "env: []", "env.model: {a: 1}", "env:\n  model: []", "agent: null", "1: 2"),
    *("[" * 5000, "{a: " * 3000, "- " * 3000, "a: " * 200, "true: 1", "null: 1", "env.reward: {models: 1}", "env.reward: {fit: {}}"),
    *("env.reward: [a, b]", "env.reward: {fit: {function: rouge_l, weight: x}}", "env.reward: {a: {function: [1]}}", "seed: '\\ud83d'"),
    "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)) + "seed: *a11\n",
)

PYTHON = {
    "raises": "raise KeyError('x')",
    "raises with lines": "raise ValueError('a\\nb\\nTraceback of mine')",
    "raises without words": "raise RuntimeError()",
    "exits": "import sys; sys.exit(0)",
    "exits with text": "import sys; sys.exit('bye')",
    "quits": "raise SystemExit",
    "recurses": "return f(*a, **k)",
    "no numbers": "return ['x'] * len(a[0] if a else k['prompts'])",
    "nothing": "return None",
    "too few": "return [1.0]",
    "nan": "return [float('nan')] * len(k.get('prompts', a[0] if a else []))",
    "infinite": "return [float('inf')] * len(k.get('prompts', a[0] if a else []))",
    "bytes": "return [b'1'] * len(k.get('prompts', a[0] if a else []))",
    "huge": "return [10 ** 400] * len(k.get('prompts', a[0] if a else []))",
    "nested": "return [[1.0]] * len(k.get('prompts', a[0] if a else []))",
    "a text": "return 'no'",
    "a number": "return 1.0",
    "out of memory": "raise MemoryError",
    "no disk": "raise OSError(28, 'No space left on device')",
    "asserts": "assert False",
    "stops": "raise StopIteration",
    "a half emoji": "raise ValueError('\\ud83d')",
    "an error of its own": "raise type('\\ud83d', (Exception,), {'__str__': lambda self: 1 / 0})()",
}
"""Bodies of rewards and judges that fail."""
AT_IMPORT = ("import sys; sys.exit(0)", "raise ValueError('x')", "import nothing_like_this", "def f(:", "f = 3", "\0", "\ud83d", "1/0")


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
    """A JSON text, or lines of JSON, with one value of another type, one key less, or broken."""
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
    """Damage a file, or remove it, or put a folder, a link or something unreadable in its place; what was done."""
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
    """Rows as a user's file of some format, with something wrong in it."""
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
        data = "\n".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows).encode("utf-8", "surrogatepass")
    path.write_bytes(data if rng.random() < 0.4 else damaged(data, rng))
    return path


def _parquet(path: Path, rows: list[dict[str, Any]], rng: Random) -> Path:
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, list[Any]] = {key: [str(row[key]) for row in rows] for key in rows[0]}
    columns = {key: [text.encode("utf-8", "replace").decode() for text in texts] for key, texts in columns.items()}
    odd = rng.choice(list(columns))
    columns[odd] = rng.choice([[1] * len(rows), [None] * len(rows), [[1]] * len(rows), [b"\xff"] * len(rows), columns[odd]])
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    if rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return path
