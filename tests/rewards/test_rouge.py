"""ROUGE by hand, with stems and without, against one reference and several."""

import doctest

import pytest

from prefgym.rewards import rouge
from prefgym.rewards.functions import rouge_l
from prefgym.rewards.rouge import best_rouge

KINDS = ["rouge1", "rouge2", "rougeL"]


def test_docstrings():
    assert doctest.testmod(rouge).failed == 0


def test_by_hand():
    """The text has 4 words, the reference 5; they share dog, my, shoe; one pair of neighbours; "dog my shoe" in order
    is dog, shoe or my, shoe."""
    found = best_rouge(KINDS, "dog my shoe ate", ["my dog ate my shoe"], stem=False)
    assert found["rouge1"] == pytest.approx(2 * (4 / 4) * (4 / 5) / (4 / 4 + 4 / 5))
    assert found["rouge2"] == pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))  # my shoe
    assert found["rougeL"] == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))  # dog my shoe


def test_stems_count_only_where_asked():
    assert best_rouge(["rouge1"], "dogs walking", ["dog walked"], stem=False)["rouge1"] == 0
    assert best_rouge(["rouge1"], "dogs walking", ["dog walked"], stem=True)["rouge1"] == 1
    assert rouge_l([""], ["dogs walking"], reference=["dog walked"]) == [0.0]


def test_each_kind_takes_its_own_best_reference():
    found = best_rouge(KINDS, "a b c", ["c b a", "a b"], stem=False)
    assert found["rouge1"] == 1.0  # of the first
    assert found["rouge2"] == pytest.approx(2 * (1 / 2) * 1 / (1 / 2 + 1))  # of the second
