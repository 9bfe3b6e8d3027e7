"""Validation: training is the same with it, what is measured is right, and the best weights survive a kill."""

import io
import json
import shutil
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium.wrappers import TransformReward
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prefgym.agents import AGENTS, PPO, REINFORCE, PolicyGradient, Validation
from prefgym.agents.validated import best, is_stalled, iterations, since_best, validations
from prefgym.agents.validation import Validator, reference_overlap
from prefgym.data.prompts import PromptSet
from prefgym.errors import InputError, RewardError

SIZE = 4
SETTINGS: dict[str, Any] = {"episodes_per_iteration": SIZE, "learning_rate": 0.02}
ROWS = [{"prompt": text, "table_row": row} for row, text in enumerate(("a", "b c", "c a b"))]
"""The prompts of the world below."""


class Killed(Exception):
    """The process died here."""


def make_env(**options: Any) -> gym.Env:
    return gym.make("Enumerable-v0", num_prompts=3, kl_coef=0.1, **options)


def make_agent(name: str = "reinforce", env: Any = None, **options: Any) -> PolicyGradient:
    """An agent that shuffles, so that every random state matters."""
    kind = AGENTS[name]
    size = {"samples_per_prompt": 2, "batch_size": 2} if name in ("dpo", "expert_iteration") else {"batch_size": 2}
    return kind("default", env or make_env(), seed=4, **(SETTINGS | size | options))


def asked(every: int = 2, count: int = 6, **options: Any) -> Validation:
    return Validation([ROWS[place % len(ROWS)] for place in range(count)], every, **options)


def plain(history: Any) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in history]


def weights(agent: PolicyGradient) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in agent.policy.parameters()]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``scripted([1.0, 3.0, ...])``: validations find these objectives, in order, whatever the policy is."""

    def script(by_iteration: dict[int, float]) -> None:
        def measure(validator: Validator) -> dict[str, float]:
            rows = validator.agent.history
            done = validator.agent.iteration + (1 if rows else 0)
            found = by_iteration[done]
            return {"validation/score": found, "validation/kl": 0.0, "validation/objective": found}

        monkeypatch.setattr(Validator, "measure", measure)

    return script


@pytest.mark.parametrize("name", AGENTS)
def test_training_is_the_same_with_validation(name: str) -> None:
    alone = make_agent(name).learn(2 * SIZE)
    watched = make_agent(name).learn(2 * SIZE, validation=asked(3, keep="last"))
    assert same(weights(alone), weights(watched))
    rows = [
        {key: value for key, value in row.items() if not key.startswith("validation/")}
        for row in plain(iterations(watched.history))
    ]
    assert rows == plain(alone.history)
    assert [row["iteration"] for row in validations(watched.history)] == [0, 2]  # the first and the last


def test_the_same_policy_is_measured_the_same_each_time() -> None:
    agent = make_agent(learning_rate=1e-30).learn(3 * SIZE, validation=asked(every=2, count=10))
    rows = plain(validations(agent.history))
    found = {tuple(value for key, value in row.items() if key.startswith("validation/")) for row in rows}
    assert [row["iteration"] for row in rows] == [0, 2, 3]
    assert len(found) == 1


def test_what_is_measured_is_the_expectation_over_every_response() -> None:
    agent = make_agent(episodes_per_iteration=300, batch_size=50, learning_rate=0.1)
    agent.learn(300, validation=asked(every=9, count=1500, keep="last"))
    env, row = agent.env.unwrapped, agent.history[-1]
    with torch.no_grad():
        probabilities = env.log_probs(agent.policy).exp()
    score = float((probabilities * env.scores()).sum(1).mean())
    length = float((probabilities * env.responses().mask.sum(1)).sum(1).mean())
    assert row["validation/score"] == pytest.approx(score, abs=0.1)  # 4 standard errors
    assert row["validation/kl"] == pytest.approx(env.kl(agent.policy), abs=0.1)
    assert row["validation/length"] == pytest.approx(length, abs=0.1)
    assert env.kl(agent.policy) > 0.3
    assert abs(score - float((env.reference_log_probs().exp() * env.scores()).sum(1).mean())) > 0.3


def test_objectives_are_compared_by_the_coefficient_of_the_start() -> None:
    agent = make_agent(kl_target=0.01, learning_rate=0.2).learn(3 * SIZE, validation=asked(every=1))
    assert agent.history[-1]["objective/kl_coef"] != agent.history[1]["objective/kl_coef"]
    assert agent.history[-1]["validation/kl"] > 0.05
    for row in validations(agent.history):
        assert row["validation/objective"] == pytest.approx(row["validation/score"] - 0.1 * row["validation/kl"])


@pytest.mark.parametrize(
    ("objectives", "kept", "without"),
    [([1.0], 0, 0), ([1.0, 1.0], 0, 1), ([1, 3, 2, 3, 4], 4, 0), ([1, 3, 2, 2.9], 1, 2), ([float("nan"), -5], 1, 0)],
)
def test_best_is_the_first_of_the_highest(objectives: list[float], kept: int, without: int) -> None:
    rows = [{"iteration": n, "validation/objective": value} for n, value in enumerate(objectives)]
    between = [{"iteration": 9, "objective/scores": 9.0}]
    history = [rows[0], *({**row, "objective/scores": 0.0} for row in rows[1:]), *between]
    assert best(history)["iteration"] == kept  # type: ignore[index]
    assert since_best(history) == without
    assert [is_stalled(history, patience) for patience in (None, without, without + 1)] == [False, True, False]
    again = {"iteration": 9, "validation/objective": -7.0}  # another learn begins
    assert best([*history, again]) == again
    assert best([]) is None
    assert since_best([]) == 0


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("kept", [0, 2])
def test_learning_ends_early_and_with_the_best_weights(kept: int, on_disk: bool, scripted: Any, tmp_path: Path) -> None:
    scripted({0: 1.0, 1: 0.5, 2: 0.7, 3: 0.9, 4: 0.2} if kept == 0 else {0: 1.0, 1: 0.5, 2: 2.0, 3: 2.0, 4: 0.2})
    output = tmp_path if on_disk else None
    agent = make_agent().learn(9 * SIZE, output=output, validation=asked(1, patience=2))
    assert agent.iteration == kept + 2
    assert agent.kept_iteration == kept
    expected = make_agent()
    if kept:
        expected.learn(kept * SIZE)
    assert same(weights(agent), weights(expected))
    if on_disk:
        agent.save(tmp_path)
        assert f"of iteration {kept} of {kept + 2}, the best validation" in (tmp_path / "README.md").read_text()
        assert [path.name for path in (tmp_path / "checkpoints").glob("best-*")] == [f"best-00000{kept}.safetensors"]
        assert f"checkpoints/best-00000{kept}.safetensors" in (tmp_path / "prefgym-files.jsonl").read_text()


def test_the_last_weights_are_kept_on_request(scripted: Any, tmp_path: Path) -> None:
    scripted({0: 3.0, 1: 2.0, 2: 1.0})
    agent = make_agent().learn(2 * SIZE, output=tmp_path, validation=asked(1, keep="last"))
    assert same(weights(agent), weights(make_agent().learn(2 * SIZE)))
    assert agent.kept_iteration is None
    assert not (tmp_path / "checkpoints").exists()


WORLD = {0: 0.0, 1: 1.0, 2: 3.0, 3: 1.0, 4: 2.0, 5: 9.0}
"""Objectives by iteration: with patience 2 training stops after 4, and the best is 2."""


@cache
def untouched() -> PolicyGradient:
    """Training in it that nothing happens to; tests only read it."""
    return make_agent().learn(9 * SIZE, validation=asked(1, patience=2))


def dies(*_: Any) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("killed_at", "moment"),
    [
        (1, "prefgym.agents.best_weights.save_tensors"),  # before the better weights are written, and after it
        (1, "prefgym.agents.best_weights.drop_best"),
        (1, "prefgym.agents.checkpoint.training_state"),  # in the first checkpoint
        (2, "prefgym.agents.base.PolicyGradient._iterate"),
        (3, "prefgym.agents.checkpoint.training_state"),  # in the last one, with patience at its end
        (3, "prefgym.agents.checkpoint.drop_best"),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(killed_at: int, moment: str, scripted: Any, tmp_path: Path) -> None:
    scripted(WORLD)
    whole = untouched()
    assert (whole.iteration, whole.kept_iteration) == (4, 2)
    told = {"output": tmp_path, "save_every": 2, "validation": asked(1, patience=2)}
    agent = make_agent()
    with pytest.MonkeyPatch.context() as patch:

        def begin_to_fail(agent: PolicyGradient, scalars: dict[str, float]) -> None:
            if agent.iteration == killed_at:
                patch.setattr(moment, dies)

        with pytest.raises(Killed):
            agent.learn(9 * SIZE, callback=begin_to_fail, **told)
    if any((tmp_path / "checkpoints").glob("iteration-*")):
        agent = REINFORCE.resume(tmp_path, make_env())
    else:  # the same command again: the folder of a run that left nothing to resume
        shutil.rmtree(tmp_path)
        agent = make_agent()
    agent.learn(9 * SIZE, **told)
    assert (agent.iteration, agent.kept_iteration) == (4, 2)
    assert same(weights(agent), weights(whole))
    assert plain(agent.history) == plain(whole.history)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert plain(rows) == plain(whole.history)
    agent = REINFORCE.resume(tmp_path, make_env()).learn(9 * SIZE, **told)  # once more: there is nothing to do
    assert (agent.iteration, agent.kept_iteration) == (4, 2)
    assert same(weights(agent), weights(whole))


def test_a_stopped_validation_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_agent().learn(3 * SIZE, validation=asked(1))
    measure, calls = Validator.measure, [0]

    def stopped(validator: Validator) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return measure(validator)

    monkeypatch.setattr(Validator, "measure", stopped)
    agent = make_agent()
    with pytest.raises(KeyboardInterrupt):
        agent.learn(3 * SIZE, output=tmp_path, save_every=5, validation=asked(1))
    assert agent.iteration == 1
    resumed = REINFORCE.resume(tmp_path, make_env()).learn(3 * SIZE, output=tmp_path, validation=asked(1))
    assert same(weights(resumed), weights(whole))
    assert plain(resumed.history) == plain(whole.history)
    assert resumed.kept_iteration == whole.kept_iteration


def test_a_larger_budget_goes_on_from_the_last_state(scripted: Any, tmp_path: Path) -> None:
    scripted(dict.fromkeys(range(9), 0.0))  # the start is the best
    told = {"output": tmp_path, "save_every": 2, "validation": asked(4)}
    agent = make_agent().learn(SIZE, **told)
    assert same(weights(agent), weights(make_agent()))
    resumed = REINFORCE.resume(tmp_path, make_env())
    assert same(weights(resumed), weights(make_agent().learn(SIZE)))
    resumed.learn(3 * SIZE, **(told | {"validation": asked(2, keep="last")}))
    assert same(weights(resumed), weights(make_agent().learn(3 * SIZE)))
    assert [row["iteration"] for row in validations(resumed.history)] == [0, 1, 2, 3]


def test_a_second_learn_is_validated_anew(scripted: Any) -> None:
    scripted({0: 5.0, 1: 1.0, 2: 2.0, 3: 1.0, 4: 0.0})
    agent = make_agent().learn(SIZE, validation=asked(1))
    assert agent.kept_iteration == 0
    agent.learn(2 * SIZE, validation=asked(1, patience=1))
    assert [row["iteration"] for row in agent.history] == [0, 1, 1, 2]


def test_an_adapter_alone_is_kept(tmp_path: Path) -> None:
    agent = make_agent("ppo", lora_rank=2)
    before = weights(agent)
    agent.learn(2 * SIZE, output=tmp_path, save_every=1, validation=asked(1))
    kept = load_file(tmp_path / "checkpoints" / f"best-00000{agent.kept_iteration}.safetensors")
    assert kept
    assert all("lora_" in name or "value_head" in name for name in kept)
    trained = dict(agent.policy.named_parameters())
    assert all(torch.equal(trained[name], tensor) for name, tensor in kept.items())
    resumed = PPO.resume(tmp_path, make_env()).learn(2 * SIZE, output=tmp_path, validation=asked(1))
    assert same(weights(resumed), weights(agent))
    assert len(before) == len(weights(agent))


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_best_weights_that_are_damaged_are_told(damage: str, scripted: Any, tmp_path: Path) -> None:
    scripted({0: 5.0, 1: 1.0, 2: 1.0})
    make_agent().learn(SIZE, output=tmp_path, save_every=1, validation=asked(1))
    file = tmp_path / "checkpoints" / "best-000000.safetensors"
    if damage == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"best-000000.safetensors.*missing or damaged"):
        REINFORCE.resume(tmp_path, make_env()).learn(2 * SIZE, output=tmp_path, validation=asked(1))


def test_a_reward_that_fails_names_the_prompt_and_leaves_the_policy_as_before_the_iteration() -> None:
    broken: list[bool] = []

    def score(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        if broken and "held" in columns and "c a b" in prompts:
            raise ValueError("no such file")
        return [float(len(text)) for text in completions]

    agent = make_agent(env=make_env(reward=score))
    validation = Validation([{**row, "held": 1} for row in ROWS * 2], 2)

    def break_it(agent: PolicyGradient, scalars: dict[str, float]) -> None:
        broken.append(True)

    with pytest.raises(RewardError, match=r"In a validation: .*for prompt 2: no such file") as caught:
        agent.learn(4 * SIZE, validation=validation, callback=break_it)
    assert caught.value.prompt_index == 2
    assert agent.iteration == 1
    broken.clear()
    agent.learn(SIZE)  # as if nothing had happened
    assert same(weights(agent), weights(make_agent(env=make_env(reward=score)).learn(2 * SIZE)))


def test_overlap_with_references_by_hand() -> None:
    rows = [
        {"prompt": "one", "reference": "a c"},  # the longest common subsequence of "a b c d" is a c: P 2/4, R 2/2
        {"prompt": "two", "reference": None},  # left out
        {"prompt": "three", "reference": "x", "references": ["q", "c b"]},  # the best: P 1/2, R 1/2
    ]
    assert reference_overlap(PromptSet(rows, "rows"), ["a b c d", "a", "b c"]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert reference_overlap(PromptSet(rows[1:2], "rows"), ["a"]) is None


def test_what_validation_leaves_to_look_at(tmp_path: Path) -> None:
    said = io.StringIO()
    with redirect_stderr(said):
        agent = make_agent().learn(3 * SIZE, output=tmp_path, progress_bar=True, validation=asked(2))
    log = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [point.step for point in log.Scalars("validation/score")] == [0, 2 * SIZE, 3 * SIZE]
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == agent.history
    assert rows[0].keys() == {
        "iteration",
        "episodes",
        "time/validation_seconds",
        *(f"validation/{name}" for name in ("score", "kl", "objective", "length")),  # there is no reference
    }
    last = agent.history[-1]
    shown = f"validation={last['validation/score']:+.3f} kl {last['validation/kl']:.2f}"
    assert shown in said.getvalue()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every of a validation must be a positive whole number, not 0"),
        ({"every": 1.5}, "every of a validation"),
        ({"every": 1, "patience": 0}, "patience of a validation"),
        ({"every": 1, "keep": "both"}, 'keep of a validation must be "best" or "last", not \'both\''),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Validation(["a"], **options)


def test_what_cannot_be_validated_is_refused() -> None:
    wrapped = TransformReward(make_env(), lambda reward: 2 * float(reward))
    with pytest.raises(InputError, match=r"TransformReward.*cannot be validated in"):
        make_agent(env=wrapped).learn(SIZE, validation=asked())
    with pytest.raises(InputError, match='needs the column "table_row"'):
        make_agent().learn(SIZE, validation=Validation(["a", "b"], 1))
