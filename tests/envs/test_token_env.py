import json
import re
import warnings

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import prefgym  # noqa: F401  (registers the ids)
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError, RewardError

EOS, P = 5, 4


@pytest.mark.parametrize("changes", [{}, {"kl_estimator": "exact"}, {"render_mode": "ansi"}])
def test_both_checkers_find_nothing(env_options, changes):
    env = gym.make("Summarize-v0", **env_options(**changes)).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env)
        sb3_check(env)


def test_observation_is_left_padded_prompt_then_response(make_env):
    env = make_env()
    first, _ = env.reset(options={"index": 1})  # "c"
    assert first["tokens"][P - 1] == 2
    assert first["attention_mask"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    env.step(0)
    last, *_ = env.step(3)
    assert last["tokens"][P : P + 2].tolist() == [0, 3]
    assert last["attention_mask"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert first["attention_mask"].sum() == 1, "an observation handed out must not change"
    assert last["tokens"].dtype == np.int64
    assert last["attention_mask"].dtype == np.int8
    assert env.observation_space["tokens"].high.max() == EOS, "padded embedding rows are no tokens"


def test_rewards_are_beta_log_ref_then_score(make_env, make_policy, run_episode):
    env = make_env(kl_coef=0.3)
    reference = make_policy(env.reference)
    rewards, infos, observations = run_episode(env, [1, 0, 4, EOS], options={"index": 2})
    expected = [reference.log_prob(o, a) for o, a in zip(observations, [1, 0, 4, EOS], strict=True)]
    np.testing.assert_allclose([info["ref_log_prob"] for info in infos], expected, atol=1e-5)
    score = 0.25 + 1.0  # "b a e": one a, begins with b
    np.testing.assert_allclose(rewards, 0.3 * np.array(expected) + [0, 0, 0, score], atol=1e-5)
    final = infos[-1]
    assert final["score"] == pytest.approx(score)
    assert final["score_parts"] == {"count_a": 1.25, "missing_eos_penalty": 0.0}
    assert sum(rewards) == pytest.approx(final["score"] - 0.3 * final["kl"], abs=1e-12)
    assert final["kl_k1"] == final["kl"] == pytest.approx(-sum(expected), abs=1e-5)
    assert (final["prompt"], final["response"], final["reference"]) == ("d e a", "b a e", "summary of d e a")
    assert (final["prompt_index"], final["finish_reason"]) == (2, "eos")
    assert all("score" not in info for info in infos[:-1])


def test_budget_terminates_and_pays_the_penalty(make_env, run_episode):
    rewards, infos, _ = run_episode(make_env(missing_eos_penalty=2.0), [2] * 5, seed=0)
    assert infos[-1]["finish_reason"] == "length"
    assert infos[-1]["score"] == -2.0
    assert infos[-1]["score_parts"]["missing_eos_penalty"] == -2.0
    assert sum(rewards) == pytest.approx(-2.0 - 0.3 * infos[-1]["kl"])


def test_eos_as_the_last_affordable_token_is_eos(make_env, run_episode):
    _, infos, _ = run_episode(make_env(), [2, 2, 2, 2, EOS], seed=0)
    assert infos[-1]["finish_reason"] == "eos"


def test_eos_in_the_prompt_changes_nothing_but_the_text(make_env, run_episode):
    env = make_env(prompts=["a <eos> b"])
    rewards, infos, observations = run_episode(env, [0, EOS], seed=0)
    assert observations[0]["attention_mask"].sum() == 3
    assert infos[-1]["finish_reason"] == "eos"
    assert len(rewards) == 2


@pytest.mark.parametrize("action", [-1, 6, 1.0, "a"])
def test_illegal_action(make_env, action):
    env = make_env()
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="integers from 0 to 5"):
        env.step(action)


def test_step_needs_an_episode(make_env, run_episode):
    env = make_env()
    with pytest.raises(ResetNeeded, match="no episode yet"):
        env.step(0)
    run_episode(env, [EOS], seed=0)
    with pytest.raises(ResetNeeded, match="ended by eos"):
        env.step(0)
    env.reset()
    env.step(0)
    env.close()
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_reset_options(make_env, run_episode):
    env = make_env()
    _, infos, _ = run_episode(env, [EOS], options={"prompt": "a a a"})
    assert infos[-1]["prompt"] == "a a a"
    assert "prompt_index" not in infos[-1]
    assert "reference" not in infos[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"promt": "a"}, 'no option "promt".*Did you mean "prompt"'),
        ({"prompt": "  "}, "The prompt is empty"),
        ({"prompt": "a", "index": 0}, "not both"),
        ({"index": 9}, "no prompt 9; the set has 5"),
        ({"index": -1}, "no prompt -1"),
        ({"index": "x"}, "no prompt 'x'"),
    ],
)
def test_bad_reset_options(make_env, options, message):
    with pytest.raises(InputError, match=message):
        make_env().reset(options=options)


def test_same_seed_same_episodes_and_every_prompt_once_an_epoch(make_env):
    def prompts(env, seed):
        first = env.reset(seed=seed)[0]["tokens"]
        return np.stack([first, *(env.reset()[0]["tokens"] for _ in range(9))])

    env = make_env()
    once, again, other = prompts(env, 4), prompts(env, 4), prompts(make_env(), 5)
    assert (once == again).all()
    assert (once != other).any()
    assert len(np.unique(once[:5], axis=0)) == 5
    assert len(np.unique(once[5:], axis=0)) == 5
    assert (once[:5] != once[5:]).any(), "each epoch has its own order"


def test_fast_path_draws_the_prompts_that_reset_would(make_env):
    stepped, fast = make_env(), make_env()
    stepped.reset(seed=7)
    fast.reset(seed=7)
    batch = fast.encode_prompts(fast.sample_prompt_indices(8))
    for row in range(8):
        observation, _ = stepped.reset()
        width = batch.tokens.shape[1]
        assert width == 3, "padded to the longest prompt only"
        mask = observation["attention_mask"][P - width : P].astype(bool)
        assert (batch.mask[row].numpy() == mask).all()
        assert (batch.tokens[row].numpy() == observation["tokens"][P - width : P])[mask].all()


def test_sampler_state_survives_json(make_env):
    env = make_env()
    env.reset(seed=1)
    env.sample_prompt_indices(2)
    state = json.loads(json.dumps(env.sampler_state()))
    expected = env.sample_prompt_indices(12)
    resumed = make_env()
    resumed.set_sampler_state(state)
    assert resumed.sample_prompt_indices(12) == expected
    fresh = make_env()
    before = json.loads(json.dumps(fresh.sampler_state()))
    drawn = fresh.sample_prompt_indices(7)
    fresh.set_sampler_state(before)
    assert fresh.sample_prompt_indices(7) == drawn
    with pytest.raises(InputError, match="has 5 prompts, but this environment has 1"):
        make_env(prompts=["a"]).set_sampler_state(state)
    with pytest.raises(InputError, match="has 2 rows"):
        env.set_sampler_state(state * 2)


def test_score_of_a_batch_is_what_steps_pay(make_env, run_episode):
    env = make_env()
    responses = [[1, 0, EOS], [0, 0, 0, 0, 0], [EOS]]
    tokens = torch.full((3, 5), EOS)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    for row, response in enumerate(responses):
        tokens[row, : len(response)], mask[row, : len(response)] = torch.tensor(response), True
    batch = env.encode_prompts([0, 3, 4])
    scores = env.score(batch, tokens, mask)
    for row, response in enumerate(responses):
        _, infos, _ = run_episode(env, response, options={"index": batch.indices[row]})
        assert infos[-1]["score"] == pytest.approx(scores.total[row], abs=1e-12)
        assert infos[-1]["score_parts"] == {name: values[row] for name, values in scores.parts.items()}
        assert infos[-1]["finish_reason"] == scores.finish_reasons[row]
        assert infos[-1]["response"] == scores.responses[row]
    twice = batch.repeat(2)
    assert twice.indices == [0, 0, 3, 3, 4, 4]
    assert twice.texts == ["a b", "a b", "b b d", "b b d", "e", "e"]
    assert twice.references[0] == "summary of a b"
    assert len(twice) == len(twice.tokens) == len(twice.mask) == 6


def test_rewards_get_every_column(make_env, run_episode):
    seen = {}

    def reward(prompts, completions, topic, **columns):
        seen.update(columns, prompts=prompts, topic=topic)
        return [1.0]

    env = make_env(prompts=[{"prompt": "a b", "topic": "pets"}], reward=reward, template="c {prompt}")
    _, infos, _ = run_episode(env, [0, EOS], seed=0)
    told = {"prompts": ["c a b"], "topic": ["pets"], "reference": [None], "completion_ids": [[0, EOS]]}
    assert seen == {**told, "prompt_body": ["a b"]}
    assert infos[-1]["score"] == 1.0
    with pytest.raises(InputError, match='needs the column "topic"'):
        env.reset(options={"prompt": "a"})
    with pytest.raises(InputError, match='needs the column "topic"'):
        make_env(reward=reward)


def test_a_reward_that_fails_stops_the_run(make_env, run_episode):
    env = make_env(reward=lambda prompts, completions: [float("nan")])
    with pytest.raises(RewardError, match="prompt 3") as error:
        run_episode(env, [EOS], options={"index": 3})
    assert error.value.prompt_index == 3


def test_temperature_shapes_the_reference(make_env, make_policy):
    env = make_env(temperature=2.5)
    observation, _ = env.reset(seed=0)
    info = env.step(1)[-1]
    assert info["ref_log_prob"] == pytest.approx(
        float(make_policy(env.reference, 2.5).log_prob(observation, 1)), abs=1e-5
    )


def test_exact_estimator_tells_the_whole_reference_distribution(make_env, make_policy):
    env = make_env(kl_estimator="exact")
    observation, _ = env.reset(seed=0)
    info = env.step(1)[-1]
    np.testing.assert_allclose(info["ref_log_probs"], make_policy(env.reference).log_probs(observation), atol=1e-5)
    assert np.exp(info["ref_log_probs"]).sum() == pytest.approx(1, abs=1e-5)


def test_kl_coef_changes_at_the_next_reset(make_env, run_episode):
    env = make_env(kl_coef=0.3)
    env.reset(seed=0)
    env.kl_coef = 0.7
    _, reward, _, _, info = env.step(1)
    assert reward == pytest.approx(0.3 * info["ref_log_prob"])
    rewards, infos, _ = run_episode(env, [1, EOS])
    assert infos[0]["kl_coef"] == 0.7
    assert sum(rewards) == pytest.approx(infos[-1]["score"] - 0.7 * infos[-1]["kl"])
    with pytest.raises(InputError, match="kl_coef"):
        env.kl_coef = -0.1


def test_what_the_mdp_was_made_with_cannot_be_swapped(make_env):
    env = make_env(template="c {prompt}")
    assert (env.template.text, env.max_new_tokens, env.temperature) == ("c {prompt}", 5, 1.0)
    with pytest.raises(AttributeError):
        env.kl_estimator = "exact"


def test_reference_is_a_frozen_copy_and_stays_what_it_is(make_env, run_episode):
    env = make_env()
    before = env.reference.checksum()
    assert not any(parameter.requires_grad for parameter in env.reference.model.parameters())
    with torch.no_grad():
        for parameter in env.language_model.model.parameters():
            parameter.add_(1.0)
    rewards, _, _ = run_episode(env, [1, EOS], options={"index": 0})
    assert env.reference.checksum() == before
    assert rewards == run_episode(make_env(), [1, EOS], options={"index": 0})[0]


def test_a_reference_of_ones_own_pays(make_env, make_policy):
    other = tiny_language_model(5, context=32, seed=11)
    env = make_env(reference=other)
    observation, _ = env.reset(seed=0)
    assert env.step(1)[-1]["ref_log_prob"] == pytest.approx(
        float(make_policy(other).log_prob(observation, 1)), abs=1e-5
    )
    with pytest.raises(InputError, match="different vocabulary"):
        make_env(reference=tiny_language_model(4, context=32))


def test_long_prompts_are_cut_at_their_end_and_counted(make_env):
    env = make_env(prompts=["a b c d e a b c", "a b"], template="{prompt} e")
    assert env.truncated_prompts == 0
    observation, _ = env.reset(options={"index": 0})
    assert observation["tokens"][:P].tolist() == [0, 1, 2, 4], "the end of the post goes, the template stays"
    env.reset(options={"index": 0})
    env.reset(options={"index": 1})
    assert env.truncated_prompts == 1
    env.reset(options={"prompt": "d d d d d d"})
    assert env.truncated_prompts == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be an integer of at least 1, not 0"),
        ({"max_prompt_tokens": 2.5}, "max_prompt_tokens must be an integer"),
        ({"kl_coef": -0.1}, "kl_coef must be a finite number of at least 0"),
        ({"kl_coef": float("nan")}, "kl_coef must be a finite number"),
        ({"kl_coef": "high"}, "kl_coef must be a finite number"),
        ({"temperature": 0}, "temperature must be a finite number above 0"),
        ({"missing_eos_penalty": -1}, "missing_eos_penalty"),
        ({"kl_estimator": "k11"}, 'k11.*Did you mean "k1"'),
        ({"max_prompt_tokens": 30}, "max_prompt_tokens=30 plus max_new_tokens=5 does not fit the 32 tokens of context"),
        ({"template": "a b c d {prompt}"}, "leaves no room for a prompt in max_prompt_tokens=4"),
        ({"template": "no place"}, "exactly once"),
        ({"prompts": ["a", " "]}, "Empty prompt at row 2"),
        ({"prompts": []}, "no prompts"),
        ({"split": "tset", "prompts": None}, 'Did you mean "test"'),
        ({"kl_coeff": 0.1}, "unexpected keyword argument 'kl_coeff'.*Did you mean \"kl_coef\""),
        ({"render_mode": "ansii"}, 'Did you mean "ansi"'),
    ],
)
def test_bad_arguments(make_env, changes, message):
    with pytest.raises(InputError, match=message):
        make_env(**changes)


def test_rendering_shows_what_each_token_was_paid(make_env, make_policy, run_episode):
    env = make_env(render_mode="ansi")
    assert env.render() == "(no episode yet)"
    rewards, infos, _ = run_episode(env, [1, 0, EOS], options={"index": 0})
    text = env.render()
    assert text.startswith("a b\n> b a<eos>\n") or text.startswith("a b\n> b a <eos>\n")
    assert re.search(rf"'b' +- +{infos[0]['ref_log_prob']:.3f} +{rewards[0]:.3f}", text)
    assert f"ended by eos, paid {sum(rewards):.3f} in all" in text
    policy = make_policy(tiny_language_model(5, context=32, seed=8))
    env.attach_policy(policy)
    rewards, infos, observations = run_episode(env, [1, EOS], options={"index": 0})
    log_prob = float(policy.log_prob(observations[0], 1))
    assert re.search(rf"'b' +{log_prob:.3f} +{infos[0]['ref_log_prob']:.3f} +{rewards[0]:.3f}", env.render())


def test_human_rendering_prints_each_step(make_env, run_episode, capsys):
    env = make_env(render_mode="human")
    run_episode(env, [1, EOS], options={"index": 0})
    assert capsys.readouterr().out.count("log π_ref") == 3
    assert env.render() is None
    silent = make_env()
    assert silent.render() is None


def test_an_environment_can_be_pickled_with_its_place(make_env):
    env = make_env(reward="length")
    env.reset(seed=3)
    env.step(1)
    copy = cloudpickle.loads(cloudpickle.dumps(env))
    for action in (2, EOS):
        ours, theirs = env.step(action), copy.step(action)
        assert ours[1:] == theirs[1:]
        assert (ours[0]["tokens"] == theirs[0]["tokens"]).all()
