"""Rollouts: the fast way and stepping mean the same, whatever the environment is wrapped in."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import (
    ClipReward,
    FlattenObservation,
    NormalizeObservation,
    NormalizeReward,
    OrderEnforcing,
    RecordEpisodeStatistics,
    TimeLimit,
    TransformAction,
    TransformReward,
)
from gymnasium.wrappers import vector as vector_wrappers
from gymnasium.wrappers.vector import TransformReward as VectorTransformReward

from prefgym.agents import REINFORCE, LMPolicy, Rollout, collect_rollout
from prefgym.agents.attach import attach, is_neutral
from prefgym.agents.collecting import LOGITS_IN_CACHE
from prefgym.agents.rollout import at_end, repetition
from prefgym.envs import PolicyKL
from prefgym.errors import InputError, RewardError
from prefgym.models.distribution import Decoding
from prefgym.models.forward import token_log_probs

BETA = 0.1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def replay(env: gym.Env, rollout: Rollout, row: int) -> tuple[list[float], dict]:
    """Step the environment through an episode of a rollout: rewards and the last info."""
    env.reset(options={"index": rollout.prompt_indices[row]})
    rewards = []
    for token in rollout.response_tokens[row][rollout.response_mask[row]].tolist():
        _, reward, _, _, info = env.step(token)
        rewards.append(reward)
    return rewards, info


def check_against_full_forwards(rollout: Rollout, env: gym.Env, policy: LMPolicy, scale: float = 1.0) -> None:
    """Log-probs, KL, rewards and scores are those of these tokens, computed from scratch."""
    mask, width = rollout.response_mask, rollout.response_mask.shape[1]
    tokens = torch.cat([rollout.prompt_tokens, rollout.response_tokens], 1)
    attention = torch.cat([rollout.prompt_mask, mask], 1)
    base = env.unwrapped if hasattr(env.unwrapped, "mdp") else env.unwrapped.envs[0].unwrapped
    with torch.no_grad():
        log_probs = policy.evaluate_actions(tokens, attention, width).log_probs
        ref = token_log_probs(base.reference.model, tokens, attention, width, base.vocab_size, base.decoding)
    kl = (log_probs - ref).masked_fill(~mask, 0)
    batch = base.encode_prompts(rollout.prompt_indices)
    score = torch.as_tensor(base.score(batch, rollout.response_tokens, mask).total, dtype=torch.float32)
    assert torch.allclose(rollout.log_probs[mask], log_probs[mask], atol=1e-5)
    assert torch.allclose(rollout.ref_log_probs[mask], ref[mask], atol=1e-5)
    assert torch.allclose(rollout.kl, kl, atol=1e-5)
    assert torch.allclose(rollout.scores, score, atol=1e-5)
    assert torch.allclose(rollout.rewards, scale * (at_end(score, mask) - BETA * kl), atol=1e-5)
    for row in range(len(rollout)):
        kept = rollout.response_tokens[row][mask[row]].tolist()
        ended = kept[-1] == base.eos_token_id
        assert rollout.finish_reasons[row] == ("eos" if ended else "length")
        assert ended or len(kept) == base.max_new_tokens
        assert base.eos_token_id not in kept[:-1]
        assert rollout.prompts[row] == batch.texts[row]


def test_at_the_start_ratio_is_one_and_kl_is_zero(env: gym.Env) -> None:
    policy = LMPolicy(env.unwrapped.language_model.copy())
    rollout = collect_rollout(env, policy, 16, 2, generator())
    assert rollout.kl.abs().max() < 1e-5
    tokens = torch.cat([rollout.prompt_tokens, rollout.response_tokens], 1)
    attention = torch.cat([rollout.prompt_mask, rollout.response_mask], 1)
    log_probs = policy.evaluate_actions(tokens, attention, rollout.response_mask.shape[1]).log_probs
    ratio = (log_probs - rollout.log_probs)[rollout.response_mask].exp()
    assert (ratio - 1).abs().max() < 1e-5
    assert torch.allclose(rollout.returns, rollout.scores, atol=1e-5)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "exact"])
def test_the_fast_way_pays_what_stepping_pays(estimator: str, policy: LMPolicy) -> None:
    env = gym.make("Enumerable-v0", kl_coef=BETA, kl_estimator=estimator)
    rollout = collect_rollout(env, policy, 6, 2, generator())
    stepped = PolicyKL(gym.make("Enumerable-v0", kl_coef=BETA, kl_estimator=estimator), policy)
    for row in range(len(rollout)):
        rewards, info = replay(stepped, rollout, row)
        assert rollout.rewards[row, : len(rewards)].tolist() == pytest.approx(rewards, abs=1e-5, rel=1e-5)
        assert rollout.rewards[row, len(rewards) :].abs().sum() == 0
        assert rollout.scores[row].item() == pytest.approx(info["score"], abs=1e-5)
        assert rollout.kl[row].sum().item() == pytest.approx(info["kl"], abs=1e-5, rel=1e-5)
        assert rollout.responses[row] == info["response"]
        assert rollout.finish_reasons[row] == info["finish_reason"]
        for name, value in info["score_parts"].items():
            assert rollout.score_parts[name][row].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("estimator", ["k1", "exact"])
def test_a_policy_of_another_temperature_is_paid_the_same_both_ways(estimator: str) -> None:
    """The reference keeps the environment's; an agent, whose KL would not start at 0, refuses such a policy."""
    options = {"kl_coef": BETA, "kl_estimator": estimator, "temperature": 0.7}
    env = gym.make("Enumerable-v0", **options)
    policy = LMPolicy(env.unwrapped.language_model.copy(), decoding=Decoding(temperature=1.3))
    rollout = collect_rollout(env, policy, 6, 2, generator())
    assert rollout.kl.sum(1).abs().max() > 0.1
    stepped = PolicyKL(gym.make("Enumerable-v0", **options), policy)
    for row in range(len(rollout)):
        rewards, info = replay(stepped, rollout, row)
        assert rollout.rewards[row, : len(rewards)].tolist() == pytest.approx(rewards, abs=1e-5)
        assert rollout.kl[row].sum().item() == pytest.approx(info["kl"], abs=1e-5)
    with pytest.raises(InputError, match=r"temperature=1\.3.*build it with decoding=env\.unwrapped"):
        REINFORCE(policy, env)


def test_fast_rollout_against_full_forwards(env: gym.Env, policy: LMPolicy) -> None:
    rollout = collect_rollout(env, policy, 8, 4, generator())
    check_against_full_forwards(rollout, env, policy)
    assert rollout.groups.tolist() == [group for group in range(8) for _ in range(4)]
    assert rollout.prompt_indices[0::4] == rollout.prompt_indices[3::4]
    assert rollout.values is not None
    assert rollout.values.shape == rollout.rewards.shape


def test_samples_are_reproducible_from_the_generator(policy: LMPolicy) -> None:
    def tokens(seed: int) -> list[list[int]]:
        env = gym.make("Enumerable-v0")
        env.reset(seed=5)
        return collect_rollout(env, policy, 8, 1, generator(seed)).response_tokens.tolist()

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


def test_which_wrappers_are_neutral(env: gym.Env, policy: LMPolicy) -> None:
    assert is_neutral(env)
    assert is_neutral(RecordEpisodeStatistics(PolicyKL(OrderEnforcing(env), policy)))
    assert not is_neutral(TransformReward(env, lambda reward: reward))
    assert not is_neutral(TimeLimit(env, 100))

    class Sly(OrderEnforcing):
        """Looks like a neutral wrapper, and is not."""

    assert not is_neutral(Sly(env))
    assert is_neutral(gym.make_vec("Enumerable-v0", num_envs=2))
    assert not is_neutral(gym.make_vec("Enumerable-v0", num_envs=2, vectorization_mode="sync"))


def test_the_learner_sees_what_transform_reward_does(env: gym.Env, policy: LMPolicy) -> None:
    rollout = collect_rollout(TransformReward(env, lambda reward: 3 * reward), policy, 6, 2, generator())
    assert rollout.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    check_against_full_forwards(rollout, env, policy, scale=3.0)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("samples", [1, 2])
def test_vector_environments_are_stepped_without_fake_transitions(
    mode: AutoresetMode, vectorization: str, samples: int, policy: LMPolicy
) -> None:
    if vectorization == "sync":
        make = [lambda: gym.make("Enumerable-v0", kl_coef=BETA)] * 3
        env = gym.vector.SyncVectorEnv(make, autoreset_mode=mode)
    else:
        env = gym.make_vec("Enumerable-v0", num_envs=3, kl_coef=BETA, autoreset_mode=mode)
    rollout = collect_rollout(VectorTransformReward(env, lambda reward: 2 * reward), policy, 7, samples, generator())
    assert len(rollout) == 7 * samples
    assert rollout.groups.tolist() == [group for group in range(7) for _ in range(samples)]
    check_against_full_forwards(rollout, env, policy, scale=2.0)


def test_waves_do_not_favour_short_episodes(policy: LMPolicy) -> None:
    vector = gym.make_vec("Enumerable-v0", num_envs=32, kl_coef=BETA)
    vector.reset(seed=0)
    stepped = collect_rollout(VectorTransformReward(vector, lambda reward: reward), policy, 1000, 1, generator())
    with torch.no_grad():
        probabilities = vector.unwrapped.log_probs(policy).exp()  # (X, N)
    lengths = vector.unwrapped.responses().mask.sum(1).double()
    mean = float((probabilities * lengths).sum(1).mean())
    spread = float((probabilities * (lengths - mean) ** 2).sum(1).mean()) ** 0.5
    assert abs(stepped.response_mask.sum(1).double().mean() - mean) < 4 * spread / 1000**0.5


def test_exact_kl_is_the_same_when_stepped(policy: LMPolicy) -> None:
    env = gym.make("Enumerable-v0", kl_coef=BETA, kl_estimator="exact")
    rollout = collect_rollout(TransformReward(env, lambda reward: reward), policy, 6, 1, generator())
    expected = at_end(rollout.scores, rollout.response_mask) - BETA * rollout.kl
    assert torch.allclose(rollout.rewards, expected, atol=1e-5)
    assert (rollout.kl >= 0).all()


def test_judging_a_few_slots_at_a_time_changes_nothing(policy: LMPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(logits: int) -> Rollout:
        monkeypatch.setitem(LOGITS_IN_CACHE, "cpu", logits)
        env = gym.make("Enumerable-v0", kl_coef=BETA, kl_estimator="exact")
        env.reset(seed=5)
        return collect_rollout(env, policy, 5, 2, generator())

    one, five, every = judged(1), judged(5 * policy.vocab_size), judged(2**20)
    assert every.kl.abs().max() > 0.01
    for few in (one, five):
        assert torch.allclose(few.ref_log_probs, every.ref_log_probs, atol=1e-6)
        assert torch.allclose(few.kl, every.kl, atol=1e-6)


def test_attach_gives_the_policy_to_whoever_pays(env: gym.Env, policy: LMPolicy) -> None:
    other = LMPolicy(env.unwrapped.language_model.copy())
    assert attach(env, policy) is env
    assert env.unwrapped.policy is policy
    wrapped = PolicyKL(gym.make("Enumerable-v0"), other)
    assert attach(wrapped, policy) is wrapped
    assert wrapped.term.policy is policy
    assert wrapped.unwrapped.policy is None
    sync = gym.make_vec("Enumerable-v0", num_envs=2, vectorization_mode="sync")
    outside = VectorTransformReward(sync, lambda reward: reward)
    assert attach(outside, policy) is outside
    assert outside.env.term.policy is policy  # inside the wrapper that changes rewards
    assert attach(sync, policy).env is sync


class Tape(gym.Wrapper):
    """Notes the rewards that the learner is handed."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.rewards: list[float] = []

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self.rewards.append(float(result[1]))
        return result


class VectorTape(gym.vector.VectorWrapper):
    """The same of every row."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env)
        self.rewards: list[np.ndarray] = []

    def step(self, actions: Any) -> Any:
        result = self.env.step(actions)
        self.rewards.append(np.array(result[1]))
        return result


@pytest.mark.parametrize(
    "wrap",
    [
        RecordEpisodeStatistics,
        lambda env: TimeLimit(env, 3),
        lambda env: TransformReward(env, lambda reward: 3 * reward + 1),
        lambda env: ClipReward(env, -0.2, 0.2),
        lambda env: NormalizeReward(env, gamma=1.0),
    ],
    ids=["statistics", "time limit", "transform", "clip", "normalize"],
)
def test_the_learner_sees_what_a_wrapper_of_gymnasium_hands_out(wrap: Any, env: gym.Env, policy: LMPolicy) -> None:
    tape = Tape(wrap(env))
    rollout = collect_rollout(tape, policy, 12, 1, generator())
    assert rollout.rewards[rollout.response_mask].tolist() == pytest.approx(tape.rewards, abs=1e-5)
    plain = at_end(rollout.scores, rollout.response_mask) - BETA * rollout.kl
    untouched = torch.allclose(rollout.rewards, plain, atol=1e-5)
    assert untouched == isinstance(tape.env, RecordEpisodeStatistics | TimeLimit)


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
@pytest.mark.parametrize(
    "wrap",
    [
        vector_wrappers.RecordEpisodeStatistics,
        lambda env: vector_wrappers.TransformReward(env, lambda reward: 3 * reward + 1),
        lambda env: vector_wrappers.ClipReward(env, -0.2, 0.2),
        lambda env: vector_wrappers.NormalizeReward(env, gamma=1.0),
    ],
    ids=["statistics", "transform", "clip", "normalize"],
)
def test_the_learner_sees_what_a_vector_wrapper_hands_out(wrap: Any, vectorization: str, policy: LMPolicy) -> None:
    tape = VectorTape(wrap(gym.make_vec("Enumerable-v0", 4, vectorization, kl_coef=BETA)))
    rollout = collect_rollout(tape, policy, 4, 1, generator())
    lengths = rollout.response_mask.sum(1).tolist()
    assert len(set(lengths)) > 1
    for row, length in enumerate(lengths):
        handed_out = [rewards[row] for rewards in tape.rewards[:length]]
        assert rollout.rewards[row, :length].tolist() == pytest.approx(handed_out, abs=1e-5)
    plain = at_end(rollout.scores, rollout.response_mask) - BETA * rollout.kl
    untouched = torch.allclose(rollout.rewards, plain, atol=1e-5)
    assert untouched == isinstance(tape.env, vector_wrappers.RecordEpisodeStatistics)


def test_an_environment_that_is_not_stepped_has_no_statistics_and_the_agent_learns_the_same(policy: LMPolicy) -> None:
    made = RecordEpisodeStatistics(gym.make("Enumerable-v0", kl_coef=BETA))
    made.reset(seed=0)
    rollout = collect_rollout(made, policy, 6, 2, generator())
    assert len(made.return_queue) == 0
    plain = gym.make("Enumerable-v0", kl_coef=BETA)
    plain.reset(seed=0)
    torch.testing.assert_close(rollout.rewards, collect_rollout(plain, policy, 6, 2, generator()).rewards)


def test_wrappers_that_spoil_the_steps_are_refused_by_name(env: gym.Env, policy: LMPolicy) -> None:
    normalised = NormalizeObservation(FlattenObservation(RecordEpisodeStatistics(env)))
    with pytest.raises(InputError, match=r"remove the wrapper that changes it \(NormalizeObservation, FlattenObserv"):
        collect_rollout(normalised, policy, 2, 1, generator())
    shifted = TransformAction(env, lambda action: (action + 1) % 4, env.action_space)
    with pytest.raises(InputError, match=r"did not grow by the token.*\(TransformAction\)"):
        collect_rollout(shifted, policy, 8, 1, generator())
    with pytest.raises(InputError, match=r"ended before its score was paid.*\(TimeLimit\)"):
        collect_rollout(TimeLimit(env, 1), policy, 8, 1, generator())


def test_wrappers_of_vectors_and_inside_them_are_refused_by_name(policy: LMPolicy) -> None:
    native = gym.make_vec("Enumerable-v0", 2, kl_coef=BETA)
    flat = vector_wrappers.NormalizeObservation(vector_wrappers.FlattenObservation(native))
    with pytest.raises(InputError, match=r"\(NormalizeObservation, FlattenObservation\)"):
        collect_rollout(flat, policy, 2, 1, generator())
    limits = [lambda env: TransformReward(env, lambda reward: reward), lambda env: TimeLimit(env, 1)]
    inside = gym.make_vec("Enumerable-v0", 2, "sync", kl_coef=BETA, wrappers=limits)
    with pytest.raises(InputError, match=r"score was paid.*\(TimeLimit, TransformReward\)"):
        collect_rollout(inside, policy, 8, 1, generator())


def test_tokens_have_no_mean_to_normalise_by(env: gym.Env, policy: LMPolicy) -> None:
    """Of a single environment Gymnasium says so itself, of a vector only at its reset."""
    with pytest.raises(ValueError, match="requires the observation space to have a shape"):
        NormalizeObservation(env)
    vector = vector_wrappers.NormalizeObservation(gym.make_vec("Enumerable-v0", 2))
    with pytest.raises(InputError, match=r"no longer the dict.*\(NormalizeObservation\)"):
        collect_rollout(vector, policy, 2, 1, generator())


def test_an_observation_that_its_space_does_not_declare_is_refused_too(env: gym.Env, policy: LMPolicy) -> None:
    class Sly(gym.ObservationWrapper):
        def observation(self, observation: Any) -> Any:
            return observation["tokens"]

    with pytest.raises(InputError, match=r"no longer the dict.*\(Sly\)"):
        collect_rollout(Sly(env), policy, 2, 1, generator())


def test_a_failing_reward_names_its_prompt(policy: LMPolicy) -> None:
    def reward(prompts: list[str], completions: list[str], **columns: list) -> list[float]:
        return [float("nan") if prompt.startswith("b") else 0.0 for prompt in prompts]

    env = gym.make("Enumerable-v0", reward=reward)
    with pytest.raises(RewardError) as failure:
        collect_rollout(env, policy, 4, 1, generator())
    assert failure.value.prompt_index == 1


def test_scalars(env: gym.Env, policy: LMPolicy) -> None:
    rollout = collect_rollout(env, policy, 16, 2, generator())
    scalars = rollout.scalars()
    assert scalars["objective/rlhf_reward"] == pytest.approx(
        scalars["objective/scores"] - BETA * scalars["objective/kl"], abs=1e-5
    )
    assert scalars["rollout/eos_rate"] == np.mean([reason == "eos" for reason in rollout.finish_reasons])
    assert scalars["rollout/response_length"] == rollout.response_mask.sum().item() / 32
    assert scalars["objective/kl"] == scalars["objective/kl_k1"]
    assert "objective/score_score_table" in scalars


def test_repetition_by_hand() -> None:
    tokens = torch.tensor([[1, 2, 3, 1, 2, 3], [1, 2, 3, 4, 5, 9], [1, 1, 9, 9, 9, 9]])
    mask = torch.tensor([[True] * 6, [True] * 5 + [False], [True] * 2 + [False] * 4])
    # Row 0: trigrams 123 231 312 123, one of four seen before. Row 1: none of three. Row 2: too short to have any.
    assert repetition(tokens, mask) == pytest.approx(0.125)


@pytest.mark.parametrize("wrapped", [False, True], ids=["fast", "stepped"])
@pytest.mark.parametrize("num_envs", [None, 2], ids=["single", "vector"])
def test_prompts_may_be_given_and_answered_greedily(wrapped: bool, num_envs: int | None, policy: LMPolicy) -> None:
    env = gym.make("Enumerable-v0") if num_envs is None else gym.make_vec("Enumerable-v0", num_envs)
    if wrapped:
        kind = TransformReward if num_envs is None else VectorTransformReward
        env = kind(env, lambda reward: reward)
    env.reset(seed=0)
    rollout = collect_rollout(attach(env, policy), policy, 3, prompt_indices=[1, 0, 1], greedy=True)
    assert rollout.prompt_indices == [1, 0, 1]
    assert rollout.responses[0] == rollout.responses[2]
    again = collect_rollout(attach(env, policy), policy, 3, prompt_indices=[1, 0, 1], greedy=True)
    assert again.responses == rollout.responses
    single = collect_rollout(gym.make("Enumerable-v0"), policy, 2, prompt_indices=[1, 0], greedy=True)
    assert single.responses == rollout.responses[:2]
    with pytest.raises(InputError, match="names 1 prompts, but num_prompts is 2"):
        collect_rollout(env, policy, 2, prompt_indices=[0])
