"""What stands on the screen or in files after a command."""

import json
import re
from pathlib import Path
from typing import Any

Seen = dict[str, Any]


def nothing(out: str) -> Seen:
    """Nothing is read from the screen."""
    return {}


def read_rows(out: str) -> Seen:
    """The lines of JSON that ``sample`` wrote, and where."""
    files = [path.name for path in sorted(Path().glob("*.jsonl"))]
    rows = [json.loads(line) for line in (Path(files[0]).read_text() if files else out).splitlines()]
    return {"files": files, "prompts": [row["prompt"] for row in rows], "responses": [row["response"] for row in rows]}


def read_game(out: str) -> Seen:
    """What ``play`` showed: the post, what was offered first, and the last table."""
    post = re.search(r"^prompt (\d+)\n(.*?)\n\n", out, re.MULTILINE | re.DOTALL)
    offers = re.split(r"\n  \d+ left\n", out)[1:]
    table = dict(
        re.findall(r"^(you|start policy, greedy|trained policy, greedy|reference) {2,}(.+)$", out, re.MULTILINE)
    )
    return {
        "post": post and post.groups(),
        "offered": re.findall(r"^ +\d+  (.+)$", offers[0], re.MULTILINE) if offers else None,
        "β": re.findall(r"β = (\S+);", out),
        "turns": len(offers),
        "table": dict(table),
    }


def read_labels(out: str) -> Seen:
    """What ``label`` showed, and what it wrote."""
    files = [str(path) for path in sorted(Path().rglob("*.jsonl"))]
    rows = [json.loads(line) for line in Path(files[0]).read_text().splitlines()] if files else []
    seen: Seen = {"files": files, "shown": re.findall(r"\n1\n(.+?)\n\n2\n(.+?)\n1, 2, t", out, re.DOTALL)}
    for column in sorted({column for row in rows for column in row}):
        seen[column] = [row.get(column) for row in rows]
    return seen


def read_folders(out: str) -> Seen:
    """The folders that there are, but for those that every call makes."""
    return {"folders": sorted(str(path) for path in Path().rglob("*") if path.is_dir())}
