"""The page of results: one table of trials, one of ownership, one of bad input, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MODES = {
    "kill": "kill -9 before the n-th file operation",
    "torn": "kill -9 in the middle of the n-th operation, a write half done",
    "after": "kill -9 right after the n-th write",
    "time": "kill -9 at a uniform moment",
    "full": "disk full from the n-th write on",
    "read-only": "read-only file system from the n-th operation on",
    "broken": "input/output errors from the n-th operation on",
}
SHOWN = 20
Rows = Sequence[dict[str, Any]]


def table(rows: Rows) -> str:
    """Trials by command and mode."""
    lines = [
        "| command | what happens | trials | continued without manual work | same result | with leftovers "
        "| with doubled points | with tracebacks | other faults | good |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["command"], row["mode"]), []).append(row)
    for (command, mode), found in groups.items():
        fields = ("recovered", "same", "leftovers", "doubled", "tracebacks", "faults", "good")
        counts = [str(sum(bool(row[name]) for row in found)) for name in fields]
        lines.append(f"| {command} | {MODES[mode]} | {len(found)} | {' | '.join(counts)} |")
    return "\n".join(lines)


def tries_table(rows: Rows, by: str, title: str) -> str:
    """Generated tries by kind."""
    lines = [f"| {title} | tries | good | exit codes |", "| --- | --- | --- | --- |"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    for name, found in sorted(groups.items()):
        codes = {code: sum(row["code"] == code for row in found) for code in sorted({row["code"] for row in found})}
        told = ", ".join(f"{code}: {count}" for code, count in codes.items())
        lines.append(f"| {name} | {len(found)} | {sum(row['good'] for row in found)} | {told} |")
    return "\n".join(lines)


def wrong(rows: Rows) -> str:
    """The first things that went wrong."""
    bad = [row for row in rows if not row["good"]]
    if not bad:
        return "Nothing went wrong."
    lines = [f"- `{row['key']}`: {_reason(row)}" for row in bad[:SHOWN]]
    more = [f"- and {len(bad) - SHOWN} more, in results.jsonl"] if len(bad) > SHOWN else []
    return "\n".join([f"{len(bad)} went wrong:", "", *lines, *more])


def page(command: str, trials: Rows, ownership: Rows, inputs: Rows) -> str:
    """The README of the results."""
    parts = [f"# Under fire\n\n`{command}`\n\n{INTRODUCTION}"]
    if trials:
        parts.append(f"## Killed, and on full disks\n\n{table(trials)}\n\n{wrong(trials)}")
    if ownership:
        parts.append(
            f"## Whose files\n\n{OWNERSHIP}\n\n{tries_table(ownership, 'command', 'command')}\n\n{wrong(ownership)}"
        )
    if inputs:
        parts.append(f"## Bad input\n\n{INPUTS}\n\n{tries_table(inputs, 'kind', 'kind')}\n\n{wrong(inputs)}")
    return "\n\n".join(parts) + "\n"


def _reason(row: dict[str, Any]) -> str:
    left = [f"left over: {name}" for name in row.get("leftovers", ())]
    reasons = [*row["faults"], *left, *row.get("doubled", ()), *row.get("told", ())[-1:]]
    return " ".join("; ".join(reasons[:3]).split()).replace("|", "\\|")[:400]


INTRODUCTION = """Models of two layers of width 16 and 400 tokens; each run takes seconds. `inject.c`, loaded before
libc, counts the calls with which a command changes files in its working folder and acts at the n-th. Then the user does
the usual: `--resume`, or the same command again where there is nothing to resume; in half of the random trials in the
opposite order, and in a quarter of them the recovery is killed too. Then the working folder is compared with that of an
untouched run: weights and checkpoints, history and metrics without their times, the names of all files, every point of
TensorBoard, shown and written. On a full, read-only or broken disk the command must exit with code 3 and one
sentence."""

OWNERSHIP = """Generated user folders (a project with .git, data, a config.yaml, links, an old run with the user's own
files in it) and a command that writes there, with and without `--overwrite` or `--resume`. Good: every file that no
prefgym command wrote keeps path and bytes, those of an old run keep their bytes somewhere, and there is no
traceback."""

INPUTS = """Generated options, configs, data files, model and run folders, rewards and judges. Good: an exit code from 0
to 4, one sentence on stderr unless it is 0, no traceback, no report of an unexpected error, nothing half-written."""
