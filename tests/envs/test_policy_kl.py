import copy
import math
import multiprocessing
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, async_vector_env
from gymnasium.wrappers import TimeLimit, TransformReward
from gymnasium.wrappers.vector import TransformReward as VectorTransformReward
from stable_baselines3.common.vec_env import subproc_vec_env

from prefgym.envs import PolicyKL, VectorPolicyKL
from prefgym.errors import InputError

EOS = 5
ACTIONS = [1, 0, 3, EOS]


def expected_kl(estimator, policy, reference, observations, actions):
    """Each step's estimate in plain numpy, written out from Schulman 2020."""
    out = []
    for observation, action in zip(observations, actions, strict=True):
        log_pi, log_ref = policy.log_probs(observation), reference.log_probs(observation)
        ratio = math.exp(log_ref[action] - log_pi[action])
        out.append(
            {
                "k1": log_pi[action] - log_ref[action],
                "k2": (log_pi[action] - log_ref[action]) ** 2 / 2,
                "k3": ratio - 1 - math.log(ratio),
                "exact": sum(math.exp(p) * (p - q) for p, q in zip(log_pi, log_ref, strict=True)),
            }[estimator]
        )
    return out


@pytest.mark.parametrize("attach", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "exact"])
def test_what_is_paid_in_all(make_env, make_policy, policy, run_episode, estimator, attach):
    base = make_env(kl_estimator=estimator, kl_coef=0.3)
    if attach:
        base.attach_policy(policy)
        assert base.policy is policy
        env = base
    else:
        env = PolicyKL(base, policy)
    for _ in range(2):  # the second episode starts from zero
        rewards, infos, observations = run_episode(env, ACTIONS, options={"index": 3})
        kl = expected_kl(estimator, policy, make_policy(base.reference), observations, ACTIONS)
        k1 = expected_kl("k1", policy, make_policy(base.reference), observations, ACTIONS)
        paid = -0.3 * np.array(kl)
        paid[-1] += infos[-1]["score"]
        np.testing.assert_allclose(rewards, paid, atol=1e-5)
        assert infos[-1]["kl"] == pytest.approx(sum(kl), abs=1e-5)
        assert infos[-1]["kl_k1"] == pytest.approx(sum(k1), abs=1e-5)
        assert sum(rewards) == pytest.approx(infos[-1]["score"] - 0.3 * infos[-1]["kl"], abs=1e-6)
        assert infos[1]["log_prob"] == pytest.approx(float(policy.log_prob(observations[1], ACTIONS[1])))
        assert isinstance(rewards[0], float)


def test_the_reference_as_policy_pays_no_kl(make_env, make_policy, run_episode):
    env = make_env()
    env.attach_policy(make_policy(env.reference))
    rewards, infos, _ = run_episode(env, ACTIONS, seed=0)
    np.testing.assert_allclose(rewards[:-1], 0, atol=1e-5)
    assert infos[-1]["kl"] == pytest.approx(0, abs=1e-4)


def test_detaching_goes_back_to_log_pi_zero(make_env, policy, run_episode):
    env = make_env()
    plain = run_episode(env, ACTIONS, options={"index": 0})[0]
    env.attach_policy(policy)
    assert run_episode(env, ACTIONS, options={"index": 0})[0] != plain
    env.attach_policy(None)
    assert run_episode(env, ACTIONS, options={"index": 0})[0] == plain


def test_an_episode_cut_short_leaves_no_kl_behind(make_env, policy, run_episode):
    clean = run_episode(PolicyKL(make_env(), policy), ACTIONS, options={"index": 0})[1]
    env = PolicyKL(TimeLimit(make_env(), 2), policy)
    env.reset(options={"index": 2})
    env.step(0)
    assert env.step(0)[3], "truncated by the outside wrapper"
    env.reset(options={"index": 0})
    env.env._max_episode_steps = 10
    infos = [env.step(action)[-1] for action in ACTIONS]
    assert infos[-1]["kl"] == clean[-1]["kl"]


def test_reward_wrappers_inside_and_outside(make_env, policy, run_episode):
    plain = run_episode(PolicyKL(make_env(), policy), ACTIONS, options={"index": 0})[0]
    outside = TransformReward(PolicyKL(make_env(), policy), lambda reward: 10 * reward)
    np.testing.assert_allclose(run_episode(outside, ACTIONS, options={"index": 0})[0], 10 * np.array(plain))
    inside = PolicyKL(TransformReward(make_env(), lambda reward: 0 * reward), policy)
    rewards, infos, _ = run_episode(inside, ACTIONS, options={"index": 0})
    np.testing.assert_allclose(rewards, [-0.3 * info["log_prob"] for info in infos], atol=1e-6)


def test_two_policies_are_refused(make_env, policy):
    env = make_env()
    env.attach_policy(policy)
    for wrapped in (PolicyKL(env, policy), PolicyKL(PolicyKL(make_env(), policy), policy)):
        wrapped.reset(seed=0)
        with pytest.raises(InputError, match="already paid"):
            wrapped.step(0)


def test_policies_that_cannot_answer(make_env, policy):
    class NoMethod:
        pass

    class OnlyChosen:
        log_prob = policy.log_prob

    class Forbids:
        def log_prob(self, observation, action):
            return torch.tensor(-torch.inf)

    with pytest.raises(InputError, match="NoMethod has no method log_prob"):
        make_env().attach_policy(NoMethod())
    with pytest.raises(InputError, match="OnlyChosen has no method log_probs"):
        PolicyKL(make_env(kl_estimator="exact"), OnlyChosen())
    env = PolicyKL(make_env(), Forbids())
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"Forbids gave the log-probability -inf"):
        env.step(0)
    with pytest.raises(InputError, match="prefgym environment"):
        PolicyKL(gym.make("CartPole-v1"), policy)
    with pytest.raises(InputError, match="prefgym environment"):
        PolicyKL(gym.make_vec("CartPole-v1", vectorization_mode="sync"), policy)


@pytest.mark.parametrize("loop", [async_vector_env, subproc_vec_env], ids=lambda module: module.__name__)
def test_attaching_in_a_worker_is_refused(make_env, make_vector_env, policy, monkeypatch, loop):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    called_there = eval("lambda env, policy: env.attach_policy(policy)", vars(loop))  # a frame of that module
    for env in (make_env(), make_vector_env()):
        with pytest.raises(InputError, match=r"worker process.*prefgym\.envs\.PolicyKL\(env, policy\)"):
            called_there(env, policy)
        called_there(env, None)


def _attached(made_by, answers):
    try:
        env = made_by()
        attached = Uniform()
        env.unwrapped.attach_policy(attached)
        env.reset(seed=0)
        answers.put("log_prob" in env.step(0)[-1])
    except BaseException as error:  # the parent would wait for an answer
        answers.put(repr(error))
        raise


class Uniform:
    """A policy of which a child process can have a copy."""

    def log_prob(self, observation, action):
        return torch.tensor(-1.0)


def test_a_worker_of_gymnasium_is_recognised_and_a_child_that_trains_by_itself_is_none():
    env = AsyncVectorEnv([partial(gym.make, "Enumerable-v0")], shared_memory=False, context="fork")
    with pytest.raises(InputError, match="worker process"):
        env.call("attach_policy", Uniform())
    env.close()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_attached, args=(partial(gym.make, "Enumerable-v0"), answers))
    child.start()
    assert answers.get(timeout=120) is True
    child.join()


def vector_variants(make_env, make_vector_env, mode, **changes):
    yield make_vector_env(3, autoreset_mode=mode, **changes)
    yield SyncVectorEnv([lambda: make_env(**changes)] * 3, autoreset_mode=mode)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("estimator", ["k1", "exact"])
def test_vector_pays_as_single_episodes_do(make_env, make_vector_env, policy, run_episode, mode, estimator):
    """Rows end at different times; every episode of every row is replayed in a single environment."""
    generator = np.random.default_rng(0)
    actions = generator.choice(6, size=(14, 3), p=[0.1, 0.15, 0.15, 0.15, 0.15, 0.3])
    for env in vector_variants(make_env, make_vector_env, mode, kl_estimator=estimator):
        wrapped = PolicyKL(env, policy)
        assert isinstance(wrapped, VectorPolicyKL)
        episodes = collect(wrapped, actions, mode)
        assert sum(map(len, episodes)) >= 9
        single = PolicyKL(make_env(kl_estimator=estimator), policy)
        for row in episodes:
            for steps, final in row:
                rewards, infos, _ = run_episode(
                    single, [action for action, _ in steps], options={"index": final["prompt_index"]}
                )
                np.testing.assert_allclose([reward for _, reward in steps], rewards, atol=1e-5)
                assert final["kl"] == pytest.approx(infos[-1]["kl"], abs=1e-5)
                assert final["kl_k1"] == pytest.approx(infos[-1]["kl_k1"], abs=1e-5)


def collect(env, actions, mode):
    """Step a vector environment; per row a list of (steps as (action, reward), final info)."""
    env.reset(seed=5)
    rows = [[] for _ in range(3)]
    steps = [[] for _ in range(3)]
    fake = np.zeros(3, dtype=bool)
    for action in actions:
        _, rewards, terminated, _, infos = env.step(action)
        final = infos["final_info"] if mode == "SameStep" and "final_info" in infos else infos
        for row in range(3):
            if fake[row]:
                assert rewards[row] == 0
                assert not terminated[row]
                continue
            steps[row].append((int(action[row]), rewards[row]))
            if terminated[row]:
                assert final["_kl"][row]
                rows[row].append((steps[row], {name: final[name][row] for name in ("kl", "kl_k1", "prompt_index")}))
                steps[row] = []
        fake = terminated & (mode == "NextStep")
        if mode == "Disabled" and terminated.any():
            env.reset(options={"reset_mask": terminated})
    return rows


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_attached_to_a_vector_environment_is_the_same(make_vector_env, policy, mode):
    actions = np.random.default_rng(1).choice(6, size=(10, 3))
    attached = make_vector_env(3, autoreset_mode=mode)
    attached.attach_policy(policy)
    ours, theirs = (
        collect(env, actions, mode) for env in (attached, PolicyKL(make_vector_env(3, autoreset_mode=mode), policy))
    )
    assert ours == theirs


def test_wrapped_environments_can_be_copied(make_env, policy, run_episode):
    env = PolicyKL(make_env(), policy)
    rewards = run_episode(copy.deepcopy(env), ACTIONS, seed=3)[0]
    assert rewards == run_episode(env, ACTIONS, seed=3)[0]


def test_vector_reward_wrapper_changes_what_is_seen(make_vector_env, policy):
    env = VectorTransformReward(PolicyKL(make_vector_env(), policy), lambda rewards: rewards + 100)
    env.reset(seed=0)
    assert (env.step(np.array([0, 1, 2]))[1] > 90).all()
