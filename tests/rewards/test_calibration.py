"""Calibration by hand: error, reliability, and a temperature that is never fitted to what it is measured on."""

import math

import numpy as np
import pytest

from prefgym.data.comparisons import Comparison
from prefgym.errors import InputError
from prefgym.rewards.calibration import (
    calibration,
    comparison_loss,
    expected_calibration_error,
    fit_temperature,
    helpful_temperature,
    reliability,
)


def lead_of(probability):
    return math.log(probability / (1 - probability))


def test_error_worked_by_hand():
    """Ten at 82 % of which six are right, five at 63 % all right: (10 · 0.22 + 5 · 0.37) / 15."""
    sure, unsure = lead_of(0.82), lead_of(0.63)
    lead = np.array([sure] * 6 + [-sure] * 4 + [unsure] * 5)
    tie = np.zeros(15, dtype=bool)
    assert expected_calibration_error(lead, tie) == pytest.approx((10 * 0.22 + 5 * 0.37) / 15)
    low, high = reliability(lead, tie)
    assert low == {"confidence": pytest.approx(0.63), "accuracy": 1.0, "n": 5}
    assert high == {"confidence": pytest.approx(0.82), "accuracy": pytest.approx(0.6), "n": 10}


def test_opposite_errors_of_a_bin_cancel_and_of_two_bins_do_not():
    """One bin: 52 % and 54 %, one right and one wrong, is 53 % against 50 %."""
    near = np.array([lead_of(0.52), -lead_of(0.54)])
    tie = np.zeros(2, dtype=bool)
    assert expected_calibration_error(near, tie) == pytest.approx(0.03)
    far = np.array([lead_of(0.52), -lead_of(0.94)])
    assert expected_calibration_error(far, tie) == pytest.approx((0.48 + 0.94) / 2)


def test_bins_have_equal_width_between_one_half_and_one():
    probabilities = [0.52, 0.57, 0.62, 0.67, 0.72, 0.77, 0.82, 0.87, 0.92, 0.97]
    rows = reliability(np.array([lead_of(p) for p in (*probabilities, 0.73)]), np.zeros(11, dtype=bool))
    assert [row["n"] for row in rows] == [1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert [row["confidence"] for row in rows] == pytest.approx([*probabilities[:4], 0.725, *probabilities[5:]])


def test_ties_and_equal_scores_are_half_right():
    """A tie of which the model is 90 % sure is 40 points off; equal scores are 50 % sure and half right."""
    assert expected_calibration_error(np.array([lead_of(0.9)]), np.array([True])) == pytest.approx(0.4)
    assert expected_calibration_error(np.array([0.0]), np.array([False])) == 0.0
    (row,) = reliability(np.array([800.0, -800.0]), np.zeros(2, dtype=bool))
    assert row == {"confidence": 1.0, "accuracy": 0.5, "n": 2}


def test_the_sure_who_are_right_have_no_error():
    lead = np.array([lead_of(0.75)] * 3 + [-lead_of(0.75)])
    assert expected_calibration_error(lead, np.zeros(4, dtype=bool)) == pytest.approx(0.0)


def test_temperature_of_votes_and_ties():
    """The lead is log 9; of four votes two are ties and two for it, so p = 3/4 and T = log 9 / log 3."""
    tie = np.array([False, False, True, True])
    assert fit_temperature(np.full(4, math.log(9)), tie) == pytest.approx(2.0, rel=1e-4)


@pytest.fixture
def overconfident():
    """Twenty votes on each of forty prompts; the leads say three times what the votes do."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=800) * 1.5
    wins = rng.random(800) < 1 / (1 + np.exp(-true))
    lead = np.where(wins, 3 * true, -3 * true)
    return lead, [Comparison(f"prompt {i % 40}", "a", "b") for i in range(800)]


def test_the_temperature_of_the_unsure_and_of_those_who_know_nothing():
    """Nine of ten right at a lead of 1: 1 / T = log 9. All right, or as often wrong as right: the bounds."""
    lead, none = np.array([1.0] * 9 + [-1.0]), np.zeros(10, dtype=bool)
    assert fit_temperature(lead, none) == pytest.approx(1 / math.log(9), rel=1e-4)
    assert fit_temperature(np.ones(10), none) == pytest.approx(0.05)
    assert fit_temperature(np.array([1.0, -1.0]), none[:2]) == pytest.approx(20.0)


def test_scaling_mends_what_is_overconfident(overconfident):
    found = calibration(*overconfident)
    assert found["temperature"] == pytest.approx(3.0, rel=0.15)
    assert found["ece_before"] > 0.1
    assert found["ece_after"] < 0.05
    assert found["n"] == sum(row["n"] for row in found["reliability_after"]) == 800


def test_no_comparison_is_scaled_by_a_fit_to_its_own_prompt(overconfident):
    """Turning one prompt's votes round changes the scale of the others, and not its own."""
    lead, comparisons = overconfident
    own = np.array([comparison.prompt == "prompt 0" for comparison in comparisons])
    scaled = []
    for given in (lead, np.where(own, -lead, lead)):
        seen = []

        def spy(lead, tie, seen=seen):
            seen.append(lead)
            return fit_temperature(lead, tie)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{calibration.__module__}.fit_temperature", spy)
            calibration(given, comparisons)
        assert len(seen) == 5
        assert sum(map(len, seen)) == 4 * 800
        scaled.append([fit_temperature(part, np.zeros(len(part), dtype=bool)) for part in seen])
    equal = [a == b for a, b in zip(*scaled, strict=True)]
    assert sum(equal) == 1


def test_a_single_prompt_leaves_no_scale():
    found = calibration(np.array([1.0, 2.0]), [Comparison("p", "a", "b"), Comparison("p", "a", "c")])
    assert found["ece_before"] > 0
    assert found["ece_after"] is found["temperature"] is found["reliability_after"] is None
    with pytest.raises(InputError, match="no comparison"):
        calibration(np.zeros(0), [])


def pairs_of(count, ties=()):
    return [Comparison(f"prompt {i}", "a", "b", tie=i in ties) for i in range(count)]


def test_the_loss_of_comparisons_by_hand():
    """Odds 3:1 for the chosen one: log 4/3; a tie at the same lead: half of that and half of log 4."""
    lead = np.full(2, math.log(3))
    both = (math.log(4 / 3) + (math.log(4 / 3) + math.log(4)) / 2) / 2
    assert comparison_loss(lead, np.array([False, True])) == pytest.approx(both)


def test_a_temperature_that_helps_is_kept(overconfident):
    lead, comparisons = overconfident
    assert helpful_temperature(lead, comparisons) == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize(
    ("lead", "ties"),
    [
        (np.linspace(2, 4, 12), ()),  # every pair ordered right: any larger scale fits better still
        (np.linspace(2, 4, 400), ()),
        (np.array([2.0]), ()),
        (np.array([2.0]), (0,)),
        (np.zeros(12), ()),
        (np.zeros(12), range(12)),
    ],
    ids=["12 right", "400 right", "one pair", "one tie", "all equal", "all ties"],
)
def test_pairs_that_do_not_determine_a_scale_leave_it(lead, ties):
    assert helpful_temperature(lead, pairs_of(len(lead), ties)) == 1.0


def test_twelve_pairs_of_a_calibrated_model_are_left_alone():
    """Eleven of twelve right at 99 % confidence, one a little wrong: a fit without it is sure, and ECE rises."""
    lead = np.array([lead_of(0.99)] * 11 + [-0.1])
    found = calibration(lead, pairs_of(12))
    assert fit_temperature(lead, np.zeros(12, dtype=bool)) < 0.7
    assert found["ece_after"] > found["ece_before"]
    assert helpful_temperature(lead, pairs_of(12)) == 1.0


def test_a_model_that_knows_nothing_but_is_sure_is_scaled_down():
    """Confidence 95 %, right half of the time: less of both errors at any higher temperature."""
    lead = np.tile([3.0, -3.0], 100)
    assert helpful_temperature(lead, pairs_of(200)) == pytest.approx(20.0)


@pytest.mark.parametrize("count", [1, 2, 12, 40])
def test_no_temperature_is_worse_than_none_on_the_pairs_it_was_fitted_to(count):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        lead, tie = rng.normal(size=count) + rng.normal(), rng.random(count) < 0.2
        comparisons = pairs_of(count, np.flatnonzero(tie))
        temperature = helpful_temperature(lead, comparisons)
        if temperature != 1.0:
            after = lead / temperature
            assert expected_calibration_error(after, tie) < expected_calibration_error(lead, tie)
            assert comparison_loss(after, tie) < comparison_loss(lead, tie)
