"""A run killed at any moment and resumed ends as one that was not; damaged folders are refused."""

import json
import os
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prefgym.agents import AGENTS, PPO, REINFORCE, PolicyGradient
from prefgym.agents import checkpoint as checkpoint_module
from prefgym.errors import InputError

SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"episodes_per_iteration": 16, "batch_size": 8, "n_epochs": 2, "lr_schedule": "linear"},
    "reinforce": {
        "episodes_per_iteration": 16,
        "samples_per_prompt": 1,
        "baseline": "moving_average",
        "learning_rate": 1e-2,
    },
    "a2c": {"episodes_per_iteration": 16, "kl_target": 1.0},
    "dpo": {"episodes_per_iteration": 16},
    "expert_iteration": {"episodes_per_iteration": 16, "batch_size": 2, "n_epochs": 2},
}
EPISODES = 16 * 5


class Killed(Exception):
    """The process died here."""


def make_env() -> gym.Env:
    return gym.make("Enumerable-v0", num_prompts=5, kl_coef=0.1)


def make_agent(name: str, env: Any = None) -> PolicyGradient:
    return AGENTS[name]("default", env or make_env(), seed=11, **SETTINGS.get(name, {"episodes_per_iteration": 16}))


@cache
def untouched(name: str) -> PolicyGradient:
    """An agent whose training nothing happened to; tests only read it."""
    return make_agent(name).learn(EPISODES)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint; tests copy it."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    make_agent("ppo").learn(16, output=folder, save_every=1)
    return folder


def assert_same(one: PolicyGradient, other: PolicyGradient) -> None:
    for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in history]


def die_at(iteration: int) -> Any:
    def callback(agent: PolicyGradient, scalars: dict[str, float]) -> None:
        if agent.iteration == iteration:
            raise Killed

    return callback


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("killed_at", [3, 4])
def test_killed_between_iterations(name: str, killed_at: int, tmp_path: Path) -> None:
    whole = untouched(name)
    with pytest.raises(Killed):
        make_agent(name).learn(EPISODES, output=tmp_path, save_every=2, callback=die_at(killed_at))
    resumed = AGENTS[name].resume(tmp_path, make_env())
    assert resumed.iteration == killed_at - killed_at % 2
    resumed.learn(EPISODES, output=tmp_path, save_every=2)
    assert resumed.num_episodes == EPISODES
    assert_same(whole, resumed)
    assert without_times(whole.history) == without_times(resumed.history)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(1, 6))


@pytest.mark.parametrize("moment", ["save_run", "save_tensors", "replace"])
def test_killed_while_writing_a_checkpoint(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = untouched("ppo")
    agent = make_agent("ppo")

    def dies(*args: Any) -> None:
        raise Killed

    def dies_renaming(source: Path, target: Path) -> None:
        if Path(target).name.startswith("iteration-"):
            raise Killed
        shutil.move(source, target)

    def begin_to_fail(agent: PolicyGradient, scalars: dict[str, float]) -> None:
        if agent.iteration != 3:
            return
        if moment == "replace":
            monkeypatch.setattr("prefgym.storage.whole.os.replace", dies_renaming)
        else:
            monkeypatch.setattr(checkpoint_module, moment, dies)

    with pytest.raises(Killed):
        agent.learn(EPISODES, output=tmp_path, save_every=2, callback=begin_to_fail)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "checkpoints").glob("iteration-*")] == ["iteration-000002"]
    resumed = PPO.resume(tmp_path, make_env()).learn(EPISODES, output=tmp_path, save_every=2)
    assert_same(whole, resumed)
    assert not list((tmp_path / "checkpoints").glob(".writing-*"))


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_resume_in_a_stepped_vector_environment(vectorization: str, tmp_path: Path) -> None:
    def make() -> Any:
        env = gym.make_vec("Enumerable-v0", num_envs=3, vectorization_mode=vectorization, num_prompts=5)
        return gym.wrappers.vector.TransformReward(env, lambda reward: 2 * reward)

    whole = make_agent("reinforce", make()).learn(48)
    with pytest.raises(Killed):
        make_agent("reinforce", make()).learn(48, output=tmp_path, save_every=1, callback=die_at(2))
    assert_same(whole, REINFORCE.resume(tmp_path, make()).learn(48))


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    make_agent("ppo").learn(EPISODES, output=tmp_path, save_every=1)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["iteration-000004", "iteration-000005"]
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pkl"))


def test_resuming_a_finished_run_does_nothing_and_then_more_episodes_are_more(tmp_path: Path) -> None:
    agent = make_agent("ppo").learn(32, output=tmp_path, save_every=1)
    resumed = PPO.resume(tmp_path, make_env()).learn(32)
    assert_same(agent, resumed)
    assert resumed.learn(16).num_episodes == 48


def test_a_run_folder_is_a_hugging_face_model_and_loads_again(tmp_path: Path) -> None:
    agent = make_agent("ppo").learn(32)
    folder = agent.save(tmp_path / "run", card={"win rate": "71 %"})
    env = make_env()
    loaded = PPO.load(folder, env)
    assert_same(agent, loaded)
    assert loaded.hyperparameters == agent.hyperparameters
    assert loaded.seed == agent.seed
    assert PPO.load(folder, env, learning_rate=0.5).hyperparameters.learning_rate == 0.5
    observation, _ = env.reset(options={"index": 2})
    assert loaded.predict(observation) == agent.predict(observation)

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    batch = env.unwrapped.encode_prompts([2])
    written = model.generate(batch.tokens, attention_mask=batch.mask.long(), max_new_tokens=3, do_sample=False)
    greedy = []
    for _ in range(3):
        token, _ = agent.predict(observation)
        greedy.append(int(token))
        observation, _, ended, _, _ = env.step(token)
        if ended:
            break
    assert written[0, batch.tokens.shape[1] :].tolist()[: len(greedy)] == greedy
    assert tokenizer.eos_token_id == env.unwrapped.eos_token_id

    card = (folder / "README.md").read_text()
    for fact in ("| agent | ppo |", "| win rate | 71 % |", "| seed | 11 |", "| environment: kl_coef | 0.1 |"):
        assert fact in card
    assert agent.save(folder) == folder  # again, over the old files
    assert not list(folder.glob(".*"))


def test_loading_refuses_what_is_not_a_run(tmp_path: Path) -> None:
    folder = make_agent("ppo").save(tmp_path / "run")
    with pytest.raises(InputError, match='holds an agent "ppo", not "reinforce"'):
        REINFORCE.load(folder, make_env())
    with pytest.raises(InputError, match=r"has no prefgym\.json"):
        PPO.load(tmp_path, make_env())
    (folder / "prefgym.json").write_text('{"agent": "ppo"')
    with pytest.raises(InputError, match="is damaged"):
        PPO.load(folder, make_env())


def test_resume_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no checkpoint to resume from"):
        PPO.resume(tmp_path, make_env())


@pytest.mark.parametrize(
    "file", ["state.json", "state.safetensors", "model.safetensors", "value_head.safetensors", "prefgym.json"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    file: str, damage: str, short_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(short_run, tmp_path / "run")
    path = run / "checkpoints" / "iteration-000001" / file
    data = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="iteration-000001") as failure:
        PPO.resume(run, make_env())
    assert "\n" not in str(failure.value)


def test_a_checkpoint_of_other_prompts_is_refused(short_run: Path) -> None:
    with pytest.raises(InputError, match="the prompts changed"):
        PPO.resume(short_run, gym.make("Enumerable-v0", num_prompts=4))


def test_half_written_folders_of_a_killed_run_are_not_taken_for_checkpoints(short_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(short_run, tmp_path / "run")
    home = run / "checkpoints"
    shutil.copytree(home / "iteration-000001", home / ".writing-iteration-000009")
    (home / ".writing-iteration-000009" / "state.json").unlink()
    assert PPO.resume(run, make_env()).iteration == 1


def test_an_agent_goes_on_in_its_own_folder_and_sets_another_ones_aside(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent = make_agent("ppo").learn(16, output=folder, save_every=1)
        agent.save(folder)
        agent.learn(16, output=folder).save(folder)
        PPO.resume(folder, make_env()).learn(16, output=folder).save(folder)
        PPO.load(folder, make_env()).save(folder)
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match=r"run\.previous-1") as told:
        other = make_agent("ppo").learn(16, output=folder)
    assert [Path(warning.filename).name for warning in told] == [Path(__file__).name]
    other.save(folder)
    aside = tmp_path / "run.previous-1"
    assert {path.relative_to(aside): path.read_bytes() for path in aside.rglob("*") if path.is_file()} == before
    assert not (folder / "checkpoints").exists()
    with pytest.warns(UserWarning, match=r"run\.previous-2"):
        make_agent("reinforce").save(folder)
    assert not (folder / "history.jsonl").exists()


def test_a_model_is_not_saved_into_a_run(tmp_path: Path) -> None:
    agent = make_agent("ppo")
    agent.save(tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"run holds a run, whose prefgym\.json tells of other weights"):
        agent.policy.language_model.save(tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    for _ in range(2):  # a plain model folder is replaced as ever
        agent.policy.language_model.save(tmp_path / "model")


def test_every_file_of_a_run_is_as_open_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        make_agent("ppo").learn(16, output=tmp_path / "run", save_every=1).save(tmp_path / "run")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"model.safetensors", "value_head.safetensors", "state.safetensors"} <= {path.name for path in files}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
