"""What gold makes of the world: good references, poor ones, the oracle, and spoiled summaries."""

import random
import statistics

import pytest

from prefgym.data.world import CORRUPTIONS, Post, lead_sentence, oracle, post
from prefgym.data.world.summaries import render
from prefgym.rewards.gold import gold_score

COUNT = 1000


def gold(p: Post, text: str) -> float:
    return gold_score(p.facts.as_dict(), p.distractors, text).total


def wins(first: list[float], second: list[float]) -> float:
    """Share of pairs in which the first is higher, ties half."""
    return statistics.fmean((a > b + 1e-9) + 0.5 * (abs(a - b) <= 1e-9) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    return [post("test", index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def references(posts: list[Post]) -> list[float]:
    return [gold(p, p.reference) for p in posts]


@pytest.fixture(scope="module")
def oracles(posts: list[Post]) -> list[float]:
    return [gold(p, oracle(p)) for p in posts]


def test_a_quarter_of_the_references_is_good(references: list[float], oracles: list[float]) -> None:
    assert statistics.fmean(r >= 0.95 * o for r, o in zip(references, oracles, strict=True)) >= 0.25


def test_references_beat_the_lead_sentence_and_lose_to_the_oracle(
    posts: list[Post], references: list[float], oracles: list[float]
) -> None:
    assert wins(references, [gold(p, lead_sentence(p.text)) for p in posts]) >= 0.6
    assert wins(oracles, references) >= 0.75


def test_the_typical_summary_loses_and_a_faithful_one_wins(posts: list[Post], references: list[float]) -> None:
    rng = random.Random(0)
    typical = [gold(p, render(p.draft, ("who", "event", "thing", "feeling"), rng.random)) for p in posts]
    asking = ("who", "event", "thing", "feeling", "time", "question")
    faithful = [gold(p, render(p.draft, asking, rng.random)) for p in posts]
    assert wins(typical, references) <= 0.45
    assert wins(faithful, references) >= 0.68


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_gold_ranks_a_clean_summary_above_a_spoiled_one(posts: list[Post], oracles: list[float], name: str) -> None:
    rng = random.Random(1)
    pairs = list(zip(posts, oracles, strict=True))[:500]
    above = [clean > gold(p, CORRUPTIONS[name](p, oracle(p), rng)) for p, clean in pairs]
    assert statistics.fmean(above) >= 0.95


def test_one_wrong_fact_spoils_a_summary_that_states_nothing() -> None:
    p = post("test", 0)
    text = CORRUPTIONS["one_wrong_fact"](p, "no fact here", random.Random(0))
    assert gold(p, text) < gold(p, oracle(p))
