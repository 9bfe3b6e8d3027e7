"""Win rates against numbers worked by hand."""

import math

import numpy as np
import pytest

from prefgym.evaluation.win_rate import (
    fit_logistic,
    length_controlled_win_rate,
    mean_interval,
    mean_over_runs,
    outcomes,
    wilson_interval,
    win_rate,
)


def test_outcomes_count_a_tie_as_half():
    np.testing.assert_array_equal(outcomes([3, 2, 1, 5], [1, 2, 4, 4]), [1, 0.5, 0, 1])


def test_outcomes_of_the_other_order_are_the_complement():
    a, b = [3, 2, 1, 5, 0.1], [1, 2, 4, 4, 0.1]
    np.testing.assert_array_equal(outcomes(a, b) + outcomes(b, a), np.ones(5))


def test_rounding_is_a_tie():
    assert outcomes([1.0], [1.0 + 1e-7])[0] == 0.5
    assert outcomes([1.0], [1.0 + 1e-3])[0] == 0


def test_win_rate_of_two_wins_a_tie_and_a_loss():
    rate = win_rate([3, 2, 1, 5], [1, 2, 4, 4])
    assert rate["mean"] == 0.625
    assert 0 < rate["low"] < 0.625 < rate["high"] < 1


def test_wilson_interval_by_hand():
    # n = 4, mean = 1/2: centre 1/2, half width 1.96 sqrt(1/16 + 3.8415/64) / (1 + 3.8415/4) = 0.3500
    rate = wilson_interval(0.5, 4)
    assert rate["low"] == pytest.approx(0.1500, abs=1e-4)
    assert rate["high"] == pytest.approx(0.8500, abs=1e-4)
    # no wins of 10: 0 to z² / (n + z²) = 3.8415 / 13.8415
    assert wilson_interval(0.0, 10) == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.27753}, abs=1e-5)


def test_wilson_interval_covers_the_truth_in_95_percent():
    rng = np.random.default_rng(0)
    rates = [wilson_interval(rng.binomial(100, 0.7) / 100, 100) for _ in range(1000)]
    covered = np.mean([rate["low"] <= 0.7 <= rate["high"] for rate in rates])
    assert 0.93 < covered < 0.975


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0.5, 0)


def test_mean_interval_by_hand():
    half = 1.95996 / math.sqrt(3)  # the standard deviation of 1, 2, 3 is 1
    assert mean_interval([1, 2, 3]) == pytest.approx({"mean": 2, "low": 2 - half, "high": 2 + half}, abs=1e-4)
    assert mean_interval([4.0]) == {"mean": 4, "low": 4, "high": 4}


def test_length_control_takes_a_win_by_length_away():
    """Whoever is longer wins, and a is longer on most prompts."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(20, 45, 500), rng.integers(15, 40, 500)
    won = outcomes(a, b, 0)
    assert won.mean() > 0.65
    rate = length_controlled_win_rate(won, a, b)
    assert rate["mean"] == pytest.approx(0.5, abs=0.03)
    assert rate["low"] <= 0.5 <= rate["high"]


def test_length_control_leaves_a_win_by_quality():
    rng = np.random.default_rng(1)
    a, b = rng.integers(15, 40, 400), rng.integers(15, 40, 400)
    won = (rng.random(400) < 0.7).astype(float)
    rate = length_controlled_win_rate(won, a, b)
    assert rate["mean"] == pytest.approx(won.mean(), abs=0.02)
    assert rate["low"] < won.mean() < rate["high"]


def test_length_control_by_hand():
    """Two lengths only, so the model fits both rates exactly and zero lies half way between their logits.

    Longer wins 8 of 10, shorter 4 of 10: σ((log 4 + log 2/3) / 2) = 0.6202.
    """
    longer, shorter = [1.0] * 800 + [0.0] * 200, [1.0] * 400 + [0.0] * 600
    lengths_a = [12] * 1000 + [8] * 1000
    rate = length_controlled_win_rate(longer + shorter, lengths_a, [10] * 2000)
    expected = 1 / (1 + math.exp(-(math.log(4) + math.log(2 / 3)) / 2))
    assert rate["mean"] == pytest.approx(expected, abs=1e-4)
    assert rate["low"] < expected < rate["high"]


def test_length_control_does_not_centre():
    """a is longer everywhere and wins half: at equal length it would win less, which only an uncentred Δ can say."""
    a, b = np.array([11] * 100 + [20] * 100), np.array([10] * 200)
    won = np.array([0.0] * 60 + [1.0] * 40 + [0.0] * 40 + [1.0] * 60)
    assert length_controlled_win_rate(won, a, b)["mean"] < 0.4


@pytest.mark.parametrize(("won", "a"), [([1, 0, 1, 1], [5, 5, 5, 5]), ([1, 1, 1, 1], [5, 6, 7, 8])])
def test_where_nothing_varies_the_plain_rate_is_returned(won, a):
    plain = wilson_interval(float(np.mean(won)), 4)
    assert length_controlled_win_rate(won, a, [4, 4, 4, 4]) == plain


def test_the_bootstrap_is_seeded():
    rng = np.random.default_rng(0)
    won, a, b = rng.integers(0, 2, 50), rng.integers(5, 30, 50), rng.integers(5, 30, 50)
    assert length_controlled_win_rate(won, a, b, seed=1) == length_controlled_win_rate(won, a, b, seed=1)
    assert length_controlled_win_rate(won, a, b, seed=1) != length_controlled_win_rate(won, a, b, seed=2)


def test_the_fit_solves_its_equations_for_every_weighting():
    rng = np.random.default_rng(0)
    feature, target = rng.normal(size=60), rng.integers(0, 2, 60).astype(float)
    weights = rng.integers(0, 3, (7, 60)).astype(float)
    theta = fit_logistic(feature, target, weights, ridge=0.01)
    for (intercept, slope), row in zip(theta, weights, strict=True):
        error = row * (target - 1 / (1 + np.exp(-(intercept + slope * feature))))
        assert error.sum() == pytest.approx(0.01 * intercept, abs=1e-6)
        assert (error * feature).sum() == pytest.approx(0.01 * slope, abs=1e-6)


def test_the_fit_stays_finite_where_the_feature_separates():
    feature = np.array([-1.0, -0.5, 0.5, 1.0])
    theta = fit_logistic(feature, (feature > 0).astype(float), np.ones((1, 4)))
    assert np.isfinite(theta).all()
    assert theta[0, 0] == pytest.approx(0, abs=1e-6)
    assert theta[0, 1] > 4


def test_the_mean_over_runs_by_hand():
    """Means 0.4 and 0.6: standard error 0.1, t of one degree 12.7; bounds lie 0.1 below and 0.2 above on average."""
    found = [{"mean": 0.4, "low": 0.35, "high": 0.5}, {"mean": 0.6, "low": 0.45, "high": 0.9}]
    t = 12.706204736
    expected = {"mean": 0.5, "low": 0.5 - math.hypot(0.1 * t, 0.1), "high": 0.5 + math.hypot(0.1 * t, 0.2)}
    assert mean_over_runs(found) == pytest.approx(expected)
    assert mean_over_runs(found[:1]) == pytest.approx(found[0])
