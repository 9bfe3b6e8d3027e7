"""The data of ``real_model.py``: which dialogues are learned from, validated on and judged, and that none is in two.

The rated dialogues are from another corpus (SAMSum) than those that are written about (DialogSum), which are in English
too, but between two persons without names.
"""

from __future__ import annotations

import json
import shutil
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import spoilt

COUNTS = {"pairs": 3000, "prompts": 1000, "spoilt for the reward": 2000, "spoilt for the judge": 2000}
"""Dialogues of each kind, all different."""
HELD_OUT, WORDS = 500, 160
"""Dialogues of validation, which are the last ones, and the words of the longest that is learned from."""
POOR = ("D", "E")
"""Systems so poor that knowing them decides most comparisons: measured with and without them."""


def prepare(source: Path | None, folder: Path, quick: bool = False) -> None:
    """Divide the dialogues and the ratings; with ``quick`` a few rows in their place, made from the embedded posts."""
    if folder.is_dir():
        return
    train, dev, ratings = _few_rows() if quick or source is None else _real_rows(source)
    held_out = min(HELD_OUT, len(train) // 4)
    short = [row for row in train[:-held_out] if len(row["dialogue"].split()) <= WORDS]
    parts = _divided(short)
    names = sorted({row["id"] for row in ratings})
    sides = {name: ("reward", "judge")[place % 2] for place, name in enumerate(names)}
    files = {
        "pairs.jsonl": parts["pairs"],
        "prompts/train.jsonl": parts["prompts"],
        "spoilt-reward.jsonl": spoilt.comparisons(parts["spoilt for the reward"]),
        "spoilt-judge.jsonl": spoilt.comparisons(parts["spoilt for the judge"], seed=1),
        "prompts/validation.jsonl": train[-held_out:],
        "prompts/test.jsonl": dev,
        "ratings.jsonl": ratings,
        "ratings-without-poor.jsonl": [row for row in ratings if row["model"] not in POOR],
        **{f"{side}.jsonl": [row for row in ratings if sides[row["id"]] == side] for side in ("reward", "judge")},
    }
    if source is not None and not quick:
        files |= _other_judgements(source / "preferences")
        for name, kept in (("mmlu", "mmlu"), ("bigbench/bbh", "bbh")):
            shutil.copytree(source / name, folder / kept)
    for name, rows in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def check_apart(folder: Path) -> None:
    """Stop if a dialogue is in two of the files that must not share any."""
    prompts = ("pairs.jsonl", "prompts/train.jsonl", "prompts/validation.jsonl", "prompts/test.jsonl")
    seen: dict[str, str] = {}
    for name in (*prompts, "spoilt-reward.jsonl", "spoilt-judge.jsonl", "reward.jsonl", "judge.jsonl"):
        for dialogue in set(map(_same, read_rows(folder / name))):
            if seen.setdefault(dialogue, name) != name:
                sys.exit(f"A dialogue is in {seen[dialogue]} and in {name}: {dialogue[:60]} ...")


def _real_rows(source: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The dialogues of train and dev, and the ratings."""
    train, dev = (read_rows(source / "dialogsum" / f"{name}.jsonl") for name in ("train", "dev"))
    rated = read_rows(source / "preferences" / "dialsummeval_ratings.jsonl")
    alone, judged = ({_same(row): row for row in rows} for rows in (train, dev))
    return [row for text, row in alone.items() if text not in judged], list(judged.values()), rated


def _other_judgements(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """People's judgements of other texts than summaries of dialogues; a rating is the mean of four."""
    rated = read_rows(folder / "summeval_ratings.jsonl")
    sides = ("coherence", "consistency", "fluency", "relevance")
    return {
        "summeval.jsonl": [{**row, "mean": sum(float(row[side]) for side in sides) / 4} for row in rated],
        "tulu.jsonl": read_rows(folder / "tulu1_pairs.jsonl"),
        "arguments.jsonl": read_rows(folder / "ukpconvarg1_pairs.jsonl"),
    }


def _divided(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each kind: as many as ``COUNTS`` says, or in these proportions."""
    share = min(1.0, len(rows) / sum(COUNTS.values()))
    ends = [int(share * end) for end in accumulate(COUNTS.values(), initial=0)]
    return {kind: rows[start:end] for kind, (start, end) in zip(COUNTS, pairwise(ends), strict=True)}


def _same(row: dict[str, Any]) -> str:
    """A dialogue whatever its white space."""
    return " ".join(row["dialogue"].split())


def _few_rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The same of a few embedded posts; a summary of more words is rated higher."""
    from prefgym.data.prompts import embedded_prompts

    rows = [{"dialogue": row["prompt"], "summary": row["reference"]} for row in embedded_prompts("train", 72)]
    ratings = [
        {"id": str(number), "dialogue": row["dialogue"], "summary": text, "model": model, "mean": len(text.split()) / 5}
        for number, row in enumerate(rows[56:])
        for model, text in (("A", row["summary"]), ("B", " ".join(row["summary"].split()[:3])))
    ]
    return rows[:48], rows[48:56], ratings


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; none if it is missing."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
