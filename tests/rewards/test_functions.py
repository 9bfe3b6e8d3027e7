import numpy as np
import pandas as pd
import pytest

from prefgym.rewards.functions import exact_match, length, rouge_l


def test_rouge_l_worked_by_hand():
    """Longest common subsequence "the cat sat": precision 3/4, recall 3/5, F = 2PR / (P + R) = 2/3."""
    [score] = rouge_l(["p"], ["the black cat sat"], reference=["the cat sat down quietly"])
    assert score == pytest.approx(2 / 3)


def test_rouge_l_ends_of_the_scale_and_no_stemming():
    scores = rouge_l(["p"] * 3, ["same text", "", "running"], reference=["same text", "x", "runs"])
    assert scores == [1.0, 0.0, 0.0]


def test_rouge_l_needs_a_reference_in_every_row():
    with pytest.raises(ValueError, match="reference"):
        rouge_l(["p", "q"], ["a", "b"], reference=["a", None])


def test_rouge_l_takes_the_best_of_several_right_answers():
    """Against "my mom" precision 1/2, recall 1/2; against "my mother" 1; a row without a list has its reference."""
    references = [["my mom", "my mother"], ["my mom"], None]
    completions = ["my mother", "my mother", "yes"]
    assert rouge_l(["p"] * 3, completions, reference=["x", "x", "yes"], references=references) == [1.0, 0.5, 1.0]


def test_exact_match_is_right_or_wrong_whatever_the_case_and_the_full_stop():
    references = [["my mom", "my mother"], ["my mom"], None]
    completions = [" My mother.", "my mother", "yes indeed"]
    assert exact_match(["p"] * 3, completions, reference=["x", "x", "yes"], references=references) == [1.0, 0.0, 0.0]
    assert exact_match(["p"], ["yes"], reference=["Yes!"]) == [1.0]
    with pytest.raises(ValueError, match="reference"):
        exact_match(["p"], ["yes"], reference=[None])


def test_length_counts_words():
    assert length(["p", "p"], ["", " three small words "]) == [0.0, 3.0]


@pytest.mark.parametrize("none", [float("nan"), np.float64("nan"), pd.NA, None])
@pytest.mark.parametrize("function", [rouge_l, exact_match])
def test_a_reference_that_is_not_a_number_is_none(function, none):
    with pytest.raises(ValueError, match="this prompt has none"):
        function(["p"], ["nan"], reference=[none])
    with pytest.raises(ValueError, match="this prompt has none"):
        function(["p"], ["nan"], reference=["a"], references=[["b", none]])
    assert function(["p"], ["a"], reference=["a"], references=[none]) == [1.0]
