"""The full lecture is kept in ``benchmarks/lecture``: its page says what its numbers say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from prefgym.lecture import FIGURES, load_figure
from prefgym.lecture.budget import FULL_BUDGET
from prefgym.lecture.report import verdict
from prefgym.lecture.words import LANGUAGES, read_words

KEPT = Path(__file__).parents[2] / "benchmarks" / "lecture"
PAGES = {"en": "report.md", "ko": "report.ko.md"}


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    """What the full lecture measured."""
    found: dict[str, Any] = json.loads((KEPT / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_it_is_the_full_form(metrics: dict[str, Any]) -> None:
    assert list(metrics["figures"]) == list(FIGURES)
    assert not metrics["quick"]
    assert metrics["seeds"] == FULL_BUDGET.seeds == 3
    assert list(metrics["figures"]["rlhf_or_sft"]["sizes"]) == list(FULL_BUDGET.sizes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_what_the_numbers_say(language: str, metrics: dict[str, Any]) -> None:
    page = (KEPT / PAGES[language]).read_text(encoding="utf-8")
    words = read_words(language)
    for name, numbers in metrics["figures"].items():
        assert verdict(load_figure(name), numbers, words) in page, name
        assert words[name]["caption"] in page, name
        assert (KEPT / f"{name}.png").stat().st_size > 10_000


def test_it_names_no_folder_of_the_machine_it_ran_on() -> None:
    for path in KEPT.rglob("*.*"):
        if path.suffix in {".md", ".html", ".json", ".jsonl", ".yaml"}:
            assert not re.search(r"/(work|home|root|tmp|Users)/", path.read_text(encoding="utf-8")), path.name
