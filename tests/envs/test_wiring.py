"""Between an option of the environment and the number that it moves: each test fails where one wire is laid wrongly."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from prefgym.envs import PolicyKL
from prefgym.envs.policy_kl import _kl_estimator

EOS = 5


def test_a_mask_is_of_the_distribution_at_its_temperature(make_env, make_policy):
    """The likeliest tokens up to half the mass: at a low temperature fewer, at a high one more."""
    allowed = []
    for temperature in (0.3, 1.0, 4.0):
        env = make_env(mask_top_p=0.5, temperature=temperature)
        observation, _ = env.reset(options={"index": 0})
        probabilities = np.exp(make_policy(env.reference, temperature).log_probs(observation))
        order = np.argsort(-probabilities)
        before = np.cumsum(probabilities[order]) - probabilities[order]
        expected = np.zeros(len(probabilities), dtype=bool)
        expected[order[before < 0.5]] = True
        np.testing.assert_array_equal(env.action_masks(), expected)
        allowed.append(expected.sum())
    assert allowed[0] < allowed[2]


@pytest.mark.parametrize("rows", [[True, False], [True, True]])
def test_a_row_of_a_vector_that_is_begun_anew_owes_nothing_of_before(make_vector_env, policy, rows):
    """Row 0 is cut off after two tokens; what it then writes is charged as if nothing had been before."""
    kls = []
    for cut in (False, True):
        env = PolicyKL(make_vector_env(2, autoreset_mode=AutoresetMode.DISABLED), policy)
        env.reset(options={"index": 0})
        if cut:
            for _ in range(2):
                env.step(np.array([0, 1]))
            env.reset(options={"index": 0, "reset_mask": np.array(rows)})
        infos = env.step(np.array([EOS, 2]))[-1]
        kls.append(infos["kl"][0])
    assert kls[0] == pytest.approx(kls[1], abs=1e-6)


def test_what_is_told_and_paid_of_beta_is_the_episodes(make_env, make_vector_env, policy):
    single, vector = make_env(kl_coef=0.3), make_vector_env(2, kl_coef=0.3)
    for env in (single, vector):
        env.reset(seed=0)
        env.kl_coef = 0.9
    told = single.step(1)[-1]
    assert told["kl_coef"] == 0.3
    assert vector.step(np.array([1, 1]))[-1]["kl_coef"].tolist() == [0.3, 0.3]
    single.reset(seed=0)
    assert single.step(1)[-1]["kl_coef"] == 0.9
    attached = make_env(kl_coef=0.3)
    attached.attach_policy(policy)
    attached.reset(seed=0)
    attached.kl_coef = 0.9
    _, reward, _, _, info = attached.step(1)
    assert reward == pytest.approx(-0.3 * (info["log_prob"] - info["ref_log_prob"]), abs=1e-6)


def test_an_environment_with_an_estimator_is_not_asked_for_that_of_others():
    class Holder:
        kl_estimator = "k3"

        def get_attr(self, name):
            return ["k1"]

    holder = Holder()
    holder.unwrapped = holder
    assert _kl_estimator(holder) == "k3"
    Holder.kl_estimator = None
    assert _kl_estimator(holder) == "k1"
