"""Which comparisons a model is measured on, and which it may have learned from."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from prefgym.data.comparisons import Comparison, load_comparisons
from prefgym.data.rated import rated_comparisons
from prefgym.errors import InputError
from prefgym.rewards.accuracy import advantage_of_leads
from prefgym.rewards.cross_validation import better_system, parts_of

SYSTEMS = "ABCDEFG"


def all_pairs(prompts=6, systems=SYSTEMS):
    """Every pair of systems on every prompt; the one that comes first in the alphabet wins."""
    return [
        Comparison(f"prompt {p}", f"{a} on {p}", f"{b} on {p}", systems=(a, b))
        for p in range(prompts)
        for a, b in combinations(systems, 2)
    ]


def test_a_model_knows_neither_the_prompt_nor_the_systems_it_is_measured_on():
    comparisons = all_pairs()
    parts = parts_of(comparisons, folds=3)
    tested = Counter(i for part in parts for i in part.tested)
    assert tested == Counter(range(len(comparisons)))  # each exactly once
    assert len(parts) == 3 * 6
    for part in parts:
        ours, theirs = ([comparisons[i] for i in places] for places in part)
        assert not {c.prompt for c in ours} & {c.prompt for c in theirs}
        assert not {name for c in ours for name in c.systems} & {name for c in theirs for name in c.systems}
        assert theirs


def test_without_systems_the_other_folds_are_learned():
    comparisons = [Comparison(f"prompt {i // 2}", "yes", f"no {i}") for i in range(8)]
    parts = parts_of(comparisons, folds=4)
    assert [sorted(part.tested + part.learned) for part in parts] == [list(range(8))] * 4
    assert all(len({comparisons[i].prompt for i in part.tested}) == 1 for part in parts)


def test_what_cannot_be_held_out_is_told():
    with pytest.raises(InputError, match=r"there are 3 and it takes 4; leave data\.system_column out"):
        parts_of(all_pairs(systems="ABC"), folds=2)
    with pytest.raises(InputError, match="name all or none"):
        parts_of([*all_pairs(2), Comparison("prompt 1", "a", "b")], folds=2)
    always = [Comparison(f"prompt {other}", "a", "b", systems=("A", other)) for other in "BCD"]
    with pytest.raises(InputError, match="no comparison left to learn from"):
        parts_of(always, folds=3)


def test_the_better_system_is_known_from_other_prompts():
    """Two prompts, two folds: on the first A beats B twice, on the second B beats A once and they tie once."""
    comparisons = [
        Comparison("one", "a1", "b1", systems=("A", "B")),
        Comparison("one", "a2", "b2", systems=("A", "B")),
        Comparison("two", "b3", "a3", systems=("B", "A")),
        Comparison("two", "a4", "b4", tie=True, systems=("A", "B")),
    ]
    # from prompt two: A won 0 and half of 2, so 1/4, and B 3/4; from prompt one: A 1, B 0
    assert better_system(comparisons, folds=2).tolist() == [-0.5, -0.5, -1.0, 1.0]


def test_an_advantage_is_a_paired_difference_with_prompts_as_clusters():
    """Right minus right is 1, 0 on one prompt and 0, -1 on the other.

    The mean is 0; residuals sum to 1 and -1 by prompt, so the variance is (1 + 1) / 16 * 2 / 1 = 1 / 4.
    """
    comparisons = [Comparison(prompt, "x", "y") for prompt in ("one", "one", "two", "two")]
    ours, theirs = np.array([1.0, 1.0, -1.0, -1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    found = advantage_of_leads(ours, theirs, comparisons)
    assert found == {"mean": 0.0, "low": pytest.approx(-0.98, abs=1e-3), "high": pytest.approx(0.98, abs=1e-3), "n": 4}


def test_systems_come_from_columns_of_ratings_and_of_comparisons():
    rows = [
        {"prompt": "p", "response": "good", "rating": 5, "model": "A"},
        {"prompt": "p", "response": "bad", "rating": 1, "model": "B"},
    ]
    rated = rated_comparisons(rows[::-1], rating_column="rating", system_column="model").comparisons
    assert [(c.chosen, c.systems) for c in rated] == [("good", ("A", "B"))]
    pair = {"prompt": "p", "first": "bad", "second": "good", "label": "second", "one": "B", "two": "A"}
    (found,) = load_comparisons([pair], system_column="one, two")
    assert (found.chosen, found.systems) == ("good", ("A", "B"))
    with pytest.raises(InputError, match='system_column "one" must name two columns'):
        load_comparisons([pair], system_column="one")
    with pytest.raises(InputError, match=r'"model" at row 2 .* does not say who wrote the text'):
        rated_comparisons([rows[0], {**rows[1], "model": None}], rating_column="rating", system_column="model")
