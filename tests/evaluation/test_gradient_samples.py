"""The test of a mean, on numbers whose distribution is known."""

import pytest
import torch

from prefgym.agents import REINFORCE
from prefgym.evaluation.checking.check_agent import make_world
from prefgym.evaluation.checking.gradient_samples import MeanTest, f_survival, recording_gradients


def test_f_distribution_by_hand():
    # with 2 and m degrees of freedom P(F > f) = (1 + 2 f / m)^(-m / 2); with 1 and 1 it is 1 - (2 / π) arctan √f
    assert f_survival(3.0, 2, 2) == pytest.approx(1 / 4, rel=1e-4)
    assert f_survival(3.0, 2, 40) == pytest.approx((1 + 6 / 40) ** -20, rel=1e-4)
    assert f_survival(1.0, 1, 1) == pytest.approx(0.5, rel=1e-3)


def noise(rows: int, seed: int) -> torch.Tensor:
    """Correlated samples (rows, 6) around (1, 2, 0, 0, 0, 0), with variances from 1 to 10^-4."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(9)) * torch.logspace(0, -2, 6)
    return torch.randn(rows, 6, generator=generator) @ mix + torch.tensor([1.0, 2, 0, 0, 0, 0])


def test_p_values_of_a_right_mean_are_uniform():
    truth = torch.tensor([1.0, 2, 0, 0, 0, 0])
    values = []
    for seed in range(400):
        test = MeanTest(noise(20, seed), torch.eye(6)[:, :4])  # few: the covariance's own error counts
        values.append(test.fit(test.project(truth)).p_value)
    for level in (0.05, 0.25, 0.5, 0.75):
        share = sum(value < level for value in values) / len(values)
        assert share == pytest.approx(level, abs=3 * (level * (1 - level) / len(values)) ** 0.5)


def test_a_wrong_mean_is_found_and_coefficients_are_told():
    test = MeanTest(noise(200, 0), torch.eye(6))
    first, second = torch.eye(6)[0], torch.eye(6)[1]
    assert test.fit(test.project(first + second)).p_value < 1e-6
    coefficients, errors = test.coefficients([first, second])
    assert coefficients.tolist() == pytest.approx([1, 2], abs=4 * float(errors.max()))
    assert float(errors.max()) < 0.2


def test_recording_lets_no_step_happen():
    world = make_world(0.5)
    agent = REINFORCE("default", world, episodes_per_iteration=8, batch_size=4, learning_rate=0.1)
    before = agent.policy.language_model.checksum()
    with recording_gradients(agent) as recorded:
        agent.learn(16)
    assert len(recorded) == 4
    assert agent.policy.language_model.checksum() == before
    agent.learn(8)
    assert agent.policy.language_model.checksum() != before
