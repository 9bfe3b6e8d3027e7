"""The page of a mutation run: the score, and every survivor by name with what is thought of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
JUDGEMENTS = {
    "equivalent": "nobody can observe a difference",
    "wording": "only a message reads differently",
    "alone": "let alone",
}


def page(
    command: str,
    rows: Sequence[Row],
    places: int,
    judged: Iterable[Row],
    failing: Mapping[str, Sequence[str]],
    budget: float,
) -> str:
    """The README of the results."""
    words = {(row["name"], row["after"]): row for row in judged}
    rows = [row | {"judged": words.get((row["name"], row["after"]), {})} for row in rows]
    later = [row for row in rows if row["first"] == "survived" != row["outcome"]]
    parts = [
        HEAD.format(command=command, places=places, drawn=len(rows), budget=budget),
        score_told(rows),
        by_room(rows),
        f"On the code as it is failed: of the tests that killed, {listed(failing['killers'])}; of those of one mutant "
        f"of each room, its change taken back, {listed(failing['as it is'])}; and while lines were counted, for which "
        f"they took no part, {listed(failing['lines counted'])}.",
        f"## Survivors\n\n{table([row for row in rows if row['outcome'] == 'survived'])}",
        f"## Survived at first, killed by tests written since\n\n{table(later)}",
    ]
    return "\n\n".join(parts) + "\n"


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """How many of each outcome, and the share found of those that are no equivalents."""
    timeouts = sum(row["outcome"] == "timeout" for row in rows)
    killed = sum(row["outcome"] != "survived" for row in rows)
    equivalent = sum(row["outcome"] == "survived" and row["judged"].get("judgement") == "equivalent" for row in rows)
    real = len(rows) - equivalent
    first = sum(row["first"] != "survived" for row in rows)
    score = {"score": killed / real, "first": first / real} if real else {"score": 0.0, "first": 0.0}
    return {"killed": killed, "timeouts": timeouts, "equivalent": equivalent, "real": real, "all": len(rows), **score}


def score_told(rows: Sequence[Row]) -> str:
    """The score in words."""
    found = counts(rows)
    return (
        f"**{found['killed']} of {found['real']} killed: {found['score']:.1%}.** {found['all']} mutants ran, of which "
        f"{found['equivalent']} are equivalent, judged by name below, and {found['timeouts']} count as killed because "
        f"a test computed for over three times its time. With the tests as they were at first: {found['first']:.1%}."
    )


def by_room(rows: Sequence[Row]) -> str:
    """The score of each room."""
    lines = ["| room | mutants | equivalent | killed | score | at first |", "| --- | --- | --- | --- | --- | --- |"]
    for room in sorted({row["module"].split("/")[0] for row in rows}):
        found = counts([row for row in rows if row["module"].startswith(f"{room}/")])
        lines.append(
            f"| {room} | {found['all']} | {found['equivalent']} | {found['killed']} | {found['score']:.1%} "
            f"| {found['first']:.1%} |"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Mutants by name: the line, the change, and what killed it or what is thought of it."""
    if not rows:
        return "None."
    lines = ["| mutant | line | changed | |", "| --- | --- | --- | --- |"]
    for row in sorted(rows, key=lambda row: (row["module"], row["line"])):
        told = f"`{row['by']}`" if row["outcome"] != "survived" else judgement(row["judged"])
        cells = [
            row["name"],
            f"`{differing(row['before'], row['after'])}`",
            f"`{differing(row['after'], row['before'])}`",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in [*cells, told]) + " |")
    return "\n".join(lines)


def judgement(judged: Row) -> str:
    """What is thought of a survivor."""
    return f"{JUDGEMENTS[judged['judgement']]}: {judged['reason']}" if judged else "not judged"


def differing(line: str, other: str, around: int = 24) -> str:
    """The part of a line that differs from another's, with some characters around it."""
    shorter = min(len(line), len(other))
    head = next((i for i in range(shorter) if line[i] != other[i]), shorter)
    tail = next((i for i in range(shorter - head) if line[-1 - i] != other[-1 - i]), shorter - head)
    first, last = max(0, head - around), min(len(line), len(line) - tail + around)
    return ("…" if first else "") + line[first:last] + ("…" if last < len(line) else "")


def listed(names: Sequence[str]) -> str:
    """Names, or none."""
    return ", ".join(f"`{name}`" for name in names) or "none"


HEAD = """# Faults that the tests find

`{command}`

Each mutant is the code of `agents/`, `rewards/`, `envs/` or `models/` with one change by an operator of cosmic-ray:
another number, operator or comparison, a condition negated, a decorator or a loop removed, an exception not caught.
There are {places} places that can be changed, annotations left out (nothing evaluates them), and {drawn} of them were
drawn by a seed; each then got one of its changes, drawn alike. So a place counts once, however many changes fit it.

A mutant runs against the tests of the four rooms that run its statement; where only an import runs it (defaults, class
bodies), or no test does, against all of its module. Those of the module's own file come first, each time the quickest
first, and together they may take {budget:g} seconds of processor time as measured on the unchanged code; a mutant that
passes them survived, whatever the tests beyond would say. Tests marked `no_cover`, and what tests start as a command,
take no part."""
