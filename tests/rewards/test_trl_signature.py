"""Reward functions written for TRL's GRPO: their keywords, None for a row, coroutines, messages."""

import asyncio
import time

import gymnasium as gym
import numpy as np
import pytest
import torch

import prefgym  # noqa: F401
from prefgym.agents import REINFORCE
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError, RewardError
from prefgym.evaluation.policies.candidates import as_scorer
from prefgym.evaluation.policies.judge import PairwiseJudge
from prefgym.rewards.functions import length
from prefgym.rewards.reward import Reward

TALK = [{"role": "user", "content": "a b"}]
ROWS = [{"prompt": "a b", "task": "maths"}, {"prompt": "c", "task": "code"}]


def maths(prompts, completions, task, **kwargs):
    return [1.0 if kind == "maths" else None for kind in task]


def code(completions, task, **kwargs):
    return [2.0 if kind == "code" else None for kind in task]


def make_env(**options):
    rest = {
        "template": "{prompt}",
        "max_prompt_tokens": 4,
        "max_new_tokens": 3,
        "missing_eos_penalty": 0.0,
        "prompts": ROWS,
    }
    return gym.make("Summarize-v0", model=tiny_language_model(5, context=32), **{**rest, **options})


def play(env, tokens=(0, 1, 5), **options):
    env.reset(seed=0, options=options)
    return [env.step(token) for token in tokens][-1][4]


def test_none_adds_nothing_for_a_row():
    reward = Reward({"maths": (maths, 1.0), "code": (code, 0.5)})
    total, parts = reward(["p", "q"], ["x", "y"], columns={"task": ["maths", "code"]})
    assert total.tolist() == [1.0, 1.0]
    assert np.isnan(parts["maths"]).tolist() == [False, True]
    env = make_env(reward={"maths": maths, "code": code})
    assert [play(env, index=row)["score"] for row in (0, 1)] == [1.0, 2.0]
    with pytest.raises(
        RewardError, match='Reward "maths" returned None for prompt 8, and so did every other part; one'
    ):
        reward(["p", "q"], ["x", "y"], [7, 8], {"task": ["maths", "else"]})
    with pytest.raises(RewardError, match='Reward "maths" returned None for prompt 1; one part must judge each prompt'):
        Reward({"maths": (maths, 1.0)})(["p", "q"], ["x", "y"], columns={"task": ["maths", "code"]})


def test_an_agent_learns_from_parts_that_judge_some_rows(tmp_path):
    env = make_env(
        reward={
            "maths": maths,
            "code": code,
            "nobody": {"function": lambda **kwargs: [None] * len(kwargs["prompts"]), "weight": 2.0},
        }
    )
    agent = REINFORCE("default", env, episodes_per_iteration=4, samples_per_prompt=2).learn(8, output=tmp_path / "run")
    assert [row["objective/score_maths"] for row in agent.history] == [1.0, 1.0]
    assert [row["objective/score_nobody"] for row in agent.history] == [0.0, 0.0]


def test_a_score_alone_is_left_out_where_it_does_not_judge(monkeypatch):
    class Asked:
        def __init__(self, row):
            self.text = self.told = row["prompt"]
            self.body, self.row, self.index = None, row, 0

    values = as_scorer("maths", maths)([Asked(row) for row in ROWS], ["x", "y"])
    assert values[0] == 1.0
    assert np.isnan(values[1])


@pytest.mark.parametrize("running", [False, True])
def test_coroutines_run_at_the_same_time_in_one_loop(running):
    loops, started = [], []

    async def slow(completions, **kwargs):
        started.append(time.monotonic())
        await asyncio.sleep(0.05)
        loops.append(asyncio.get_running_loop())
        return [1.0 for _ in completions]

    reward = Reward({"a": (slow, 1.0), "b": (slow, 1.0), "length": (length, 1.0)})
    for _ in range(2):
        if running:

            async def within():
                return reward(["p"], ["x y"])

            total, _ = asyncio.run(within())
        else:
            total, _ = reward(["p"], ["x y"])
        assert total.tolist() == [4.0]
    assert len({id(loop) for loop in loops}) == 1
    assert max(started[1] - started[0], started[3] - started[2]) < 0.05


@pytest.mark.parametrize("error", [KeyError("gone"), SystemExit(0)])
def test_a_coroutine_that_fails_is_named(error):
    async def fails(completions, **kwargs):
        if "bad" in completions:
            raise error
        return tuple(1.0 for _ in completions)

    reward = Reward({"length": (length, 1.0), "mine": (fails, 1.0)})
    with pytest.raises(RewardError, match=f'Reward "mine" raised {type(error).__name__} for prompt 6'):
        reward(["p", "q"], ["x", "bad"], [5, 6])
    assert reward(["p"], ["x"])[0].tolist() == [2.0]


def test_ctrl_c_ends_a_coroutine():
    ended = []

    async def stopped(completions, **kwargs):
        raise KeyboardInterrupt

    async def other(completions, **kwargs):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        Reward({"other": (other, 1.0), "stopped": (stopped, 1.0)})(["p"], ["x"])
    assert ended == [True]


def test_a_judge_may_be_a_coroutine():
    async def judge(prompts, first, second):
        return [0.75 if a < b else 0.25 for a, b in zip(first, second, strict=True)]

    assert PairwiseJudge("mine", judge).compare(["p"], ["a"], ["b"]).tolist() == [0.75]


def test_the_tokens_are_those_that_were_sampled():
    seen = []

    def by_tokens(completions, completion_ids, **columns):
        seen.extend(completion_ids)
        return [float(len(ids)) for ids in completion_ids]

    env = make_env(reward=by_tokens)
    assert play(env, (0, 1, 5))["score"] == 3.0
    assert seen == [[0, 1, 5]]
    total, _ = env.unwrapped.reward(["a"], ["b c"])
    assert total.tolist() == [2.0]
    with pytest.raises(InputError, match='"by_tokens" needs the tokens of the completions, which only an environment'):
        Reward({"by_tokens": (by_tokens, 1.0)})(["a"], ["b c"])


def test_the_state_of_the_trainer():
    seen = []

    def by_step(completions, trainer_state, **kwargs):
        kwargs["log_extra"]("texts", completions)
        kwargs["log_metric"]("mean", 1.0)
        seen.append((trainer_state.global_step, trainer_state.max_steps))
        return [1.0 for _ in completions]

    env = make_env(reward=by_step)
    play(env)
    assert seen == [(0, 0)]
    REINFORCE("default", env, episodes_per_iteration=2, samples_per_prompt=2).learn(5)
    assert seen[1:] == [(0, 3), (1, 3), (2, 3)]
    vector = gym.vector.SyncVectorEnv([lambda: make_env(reward=by_step)] * 2)
    seen.clear()
    REINFORCE("default", vector, episodes_per_iteration=2, samples_per_prompt=2).learn(4)
    assert {step for step, _ in seen} == {0, 1}


def test_columns_by_that_name_are_lists_alone():
    def mine(prompts, completions, **columns):
        assert all(isinstance(column, list) and len(column) == 1 for column in columns.values())
        return [1.0]

    assert play(make_env(reward=mine))["score"] == 1.0


def test_messages_where_the_data_are_conversations():
    seen = []

    def talk(prompts, completions, **kwargs):
        seen.append((prompts[0], completions[0]))
        if isinstance(prompts[0], list):
            prompts[0][0]["content"] = "changed"
        return [1.0]

    env = make_env(reward={"talk": talk, "length": length}, prompts=[{"prompt": TALK}, {"prompt": "c"}])
    info = play(env, index=0)
    assert seen[-1][0] == [{"role": "user", "content": "changed"}]
    assert seen[-1][1] == [{"role": "assistant", "content": info["response"]}]
    assert info["score"] == 1.0 + len(info["response"].split())  # our own functions read texts
    assert env.unwrapped.prompts[0]["conversation"] == TALK
    info = play(env, index=1)
    assert seen[-1] == ("c", info["response"])


def test_numbers_of_every_kind_may_come_from_a_coroutine():
    async def mine(completions, **kwargs):
        return torch.ones(len(completions))

    assert Reward({"mine": (mine, 1.0)})(["p"], ["x"])[0].tolist() == [1.0]
