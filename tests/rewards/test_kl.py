"""The estimators against sums over every outcome, and the controller against numbers worked by hand."""

import math

import pytest
import torch

from prefgym.errors import InputError
from prefgym.rewards.kl import ESTIMATORS, AdaptiveKL, FixedKL, estimator, exact, k1, k2, k3

P = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
REF = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
KL = 0.25 * math.log(2)  # 0.5 log 2 + 0.25 log 1 + 0.25 log 1/2


def expectation(values: torch.Tensor) -> float:
    return float((P * values).sum())


def test_exact_divergence_worked_by_hand():
    assert float(exact(P.log(), REF.log())) == pytest.approx(KL, abs=1e-12)


@pytest.mark.parametrize("unbiased", [k1, k3])
def test_k1_and_k3_average_to_the_divergence_over_all_outcomes(unbiased):
    assert expectation(unbiased(P.log(), REF.log())) == pytest.approx(KL, abs=1e-12)


def test_k2_is_biased_by_a_known_amount():
    assert expectation(k2(P.log(), REF.log())) == pytest.approx(0.375 * math.log(2) ** 2, abs=1e-12)


def test_signs_on_single_samples():
    log_pi, log_ref = P.log(), REF.log()
    assert k1(log_pi, log_ref).tolist() == pytest.approx([math.log(2), 0.0, -math.log(2)])  # negative, and not clamped
    assert k3(log_pi, log_ref).tolist() == pytest.approx([0.5 - 1 + math.log(2), 0.0, 2 - 1 - math.log(2)])
    assert (k2(log_pi, log_ref) >= 0).all()
    assert (k3(log_pi, log_ref) >= 0).all()


def test_equal_policies_pay_nothing():
    for name, function in ESTIMATORS.items():
        assert function(P.log(), P.log()).abs().max() == 0, name


def test_small_shift_is_estimated_alike():
    """To second order in the log ratio all estimators have the same expectation."""
    logits = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    log_pi, log_ref = (0.01 * logits).log_softmax(-1), (0 * logits).log_softmax(-1)
    divergence = float(exact(log_pi, log_ref))
    for function in (k1, k2, k3):
        assert float((log_pi.exp() * function(log_pi, log_ref)).sum()) == pytest.approx(divergence, rel=0.02)


def test_tokens_masked_out_of_both_distributions_contribute_exactly_nothing():
    minus_inf = torch.full((1,), -math.inf, dtype=torch.float64)
    log_pi = torch.cat([P.log(), minus_inf]).requires_grad_()
    log_ref = torch.cat([REF.log(), minus_inf])
    divergence = exact(log_pi, log_ref)
    divergence.backward()
    assert float(divergence.detach()) == float(exact(P.log(), REF.log()))
    assert log_pi.grad is not None
    assert log_pi.grad[-1] == 0
    assert torch.isfinite(log_pi.grad).all()


def test_exact_keeps_leading_shape_and_is_infinite_where_supports_differ():
    log_ref = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    both = exact(torch.stack([P.log(), log_ref]), torch.stack([log_ref, REF.log()]))
    assert both.shape == (2,)
    assert math.isinf(both[0])
    assert float(both[1]) == pytest.approx(math.log(2))  # two tokens at 1/2 against 1/4 each


def test_estimator_names_the_nearest():
    assert estimator("k3") is k3
    with pytest.raises(InputError, match='Did you mean "exact"'):
        estimator("exat")


def test_fixed_coefficient_stays():
    controller = FixedKL(0.05)
    assert controller.update(1000.0) == 0.05
    with pytest.raises(InputError, match="kl_coef"):
        FixedKL(-0.1)


def test_adaptive_coefficient_worked_by_hand():
    controller = AdaptiveKL(0.2, target=6.0)
    assert controller.update(6.6) == pytest.approx(0.2 * 1.01)  # 10 % too high: error 0.1, gain 0.1
    assert controller.update(60.0) == pytest.approx(0.2 * 1.01 * 1.02)  # the error is clipped at 0.2
    assert controller.update(-5.0) == pytest.approx(0.2 * 1.01 * 1.02 * 0.98)  # a k1 mean below zero is no accident
    assert controller.update(6.0) == controller.coef


def test_adaptive_coefficient_reaches_the_target_of_a_policy_that_obeys():
    controller = AdaptiveKL(1.0, target=4.0)
    for _ in range(600):
        controller.update(1.0 / controller.coef)  # the more KL costs, the less of it
    assert 1.0 / controller.coef == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("arguments", [{"coef": 0.0, "target": 6.0}, {"coef": 0.1, "target": 0.0}])
def test_adaptive_coefficient_refuses_what_can_never_move(arguments):
    with pytest.raises(InputError, match="above 0"):
        AdaptiveKL(**arguments)
