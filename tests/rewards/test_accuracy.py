"""Accuracy on comparisons, and an interval that knows which comparisons share a prompt."""

import math

import numpy as np
import pytest

from prefgym.data.comparisons import Comparison
from prefgym.errors import InputError
from prefgym.rewards.accuracy import accuracy_of_leads, leads, wilson_interval


class Lengths:
    """Scores a text by prompt and length, and notes what it read."""

    chat = False

    def __init__(self):
        self.read = []

    def score(self, prompts, responses, batch_size):
        self.read += zip(prompts, responses, strict=True)
        return np.array([len(text) + 100.0 * len(prompt) for prompt, text in zip(prompts, responses, strict=True)])


def test_leads_read_every_text_once_under_each_prompt():
    pm = Lengths()
    comparisons = [Comparison(*row) for row in (("p", "aaa", "b"), ("p", "b", "cc"), ("pp", "b", "aaa"))]
    assert leads(pm, comparisons).tolist() == [2.0, -1.0, -2.0]
    assert len(pm.read) == len(set(pm.read)) == 5
    assert leads(pm, []).shape == (0,)


def test_accuracy_counts_equal_scores_and_ties_half():
    comparisons = [Comparison(str(i), "a", "b", tie=i == 3) for i in range(4)]
    result = accuracy_of_leads(np.array([2.0, -1.0, 0.0, 5.0]), comparisons)
    assert result["mean"] == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert result["n"] == 4


def test_wilson_interval_as_published():
    # 15 of 20 (Newcombe 1998 style check, z = 1.96): 0.5313 to 0.8881; nothing of 10: 0 to 0.2775
    assert wilson_interval(0.75, 20) == pytest.approx((0.5313, 0.8881), abs=1e-4)
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_wilson_interval_stays_inside_0_and_1_whatever_the_rounding():
    """Bounds of exactly 0 and 1 come out as -1e-18 and 1 + 2e-16 for some n."""
    assert min(wilson_interval(0.0, n)[0] for n in range(1, 200)) == 0
    assert max(wilson_interval(1.0, n)[1] for n in range(1, 200)) == 1


def test_interval_is_as_wide_as_if_each_prompt_were_asked_once():
    # 20 prompts, each asked 5 times with one and the same outcome: 100 comparisons that hold 20 trials
    lead = np.repeat([1.0] * 15 + [-1.0] * 5, 5)
    clustered = accuracy_of_leads(lead, [Comparison(str(i // 5), "a", "b") for i in range(100)])
    alone = accuracy_of_leads(lead, [Comparison(str(i), "a", "b") for i in range(100)])
    assert (clustered["low"], clustered["high"]) == pytest.approx(wilson_interval(0.75, 20), abs=0.01)
    assert (alone["low"], alone["high"]) == pytest.approx(wilson_interval(0.75, 100), abs=0.01)
    perfect = accuracy_of_leads(np.ones(10), [Comparison(str(i // 5), "a", "b") for i in range(10)])
    assert perfect["low"] == pytest.approx(wilson_interval(1.0, 2)[0])


def test_no_comparison_has_no_accuracy():
    with pytest.raises(InputError, match="no comparison"):
        accuracy_of_leads(np.zeros(0), [])


def test_two_prompts_are_one_degree_of_freedom_by_hand():
    """One prompt all right, one all wrong: a variance of (1 + 1) / 16 · 2 / (2 - 1) = 1/4, so an effective n of 1."""
    lead = np.array([1.0, 1.0, -1.0, -1.0])
    found = accuracy_of_leads(lead, [Comparison(prompt, "a", "b") for prompt in ("x", "x", "y", "y")])
    half = 0.5 * 1.959964 / math.sqrt(1 + 1.959964**2)  # Wilson's at 1/2 with n = 1
    assert (found["low"], found["high"]) == pytest.approx((0.5 - half, 0.5 + half))
