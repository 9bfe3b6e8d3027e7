"""``prefgym compare``: finished runs and agents to train, side by side."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from prefgym.agents.monitor import Monitor
from prefgym.cli import main
from prefgym.commands import compare as compare_command
from prefgym.config import preset_names

INTERVAL = {"mean", "low", "high"}


@pytest.fixture(scope="module")
def flags(train_flags) -> list[str]:
    """The training flags for ``compare``: the episodes of two iterations, judged on six posts."""
    return [*train_flags, "--seeds", "2"]


@pytest.fixture(scope="module")
def compared(flags, tmp_path_factory) -> Path:
    """PPO and REINFORCE, two seeds each; tests only read it."""
    folder = tmp_path_factory.mktemp("compare") / "out"
    words = ["compare", "--config", "tldr-ppo", "tldr-reinforce", *flags, "--output", str(folder)]
    assert main(words) == 0
    return folder


@pytest.fixture
def no_training(monkeypatch):
    """Training anything is an error."""

    def refuse(config):
        raise AssertionError(f"{config['output']} was trained again")

    monkeypatch.setattr(compare_command, "train", refuse)


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_every_agent_is_trained_with_the_same_seeds_and_budget(compared):
    metrics = metrics_of(compared)
    for agent, algorithm in (("tldr-ppo", "ppo"), ("tldr-reinforce", "reinforce")):
        assert metrics["agents"][agent]["seeds"] == [0, 1]
        assert metrics["agents"][agent]["episodes"] == 16
        for seed in (0, 1):
            saved = json.loads((compared / agent / f"seed-{seed}" / "prefgym.json").read_text())
            assert (saved["agent"], saved["seed"], saved["num_episodes"]) == (algorithm, seed, 16)
    assert set(metrics["runs"]) == {f"{agent}, seed {seed}" for agent in metrics["agents"] for seed in (0, 1)}
    assert (metrics["episodes"], metrics["prompts"], metrics["judge"]) == (16, 6, "gold")
    assert metrics["seconds"] > 0


def test_metrics_hold_every_run_every_agent_and_the_difference(compared):
    metrics = metrics_of(compared)
    assert {"start", "references", *metrics["runs"]} <= set(metrics["policies"])
    for agent in metrics["agents"].values():
        for way in ("sampled", "greedy"):
            for key in ("gold_score", "preference_score", "kl", "win_rate_vs_references", "win_rate_vs_start"):
                assert set(agent[way][key]) == INTERVAL
    [pair] = metrics["differences"]
    assert (pair["a"], pair["b"], pair["seeds"]) == ("tldr-ppo", "tldr-reinforce", [0, 1])


def test_the_folder_holds_everything_to_look_at(compared):
    names = {path.name for path in compared.iterdir()}
    assert {"config.yaml", "metrics.json", "report.md", "report.html", "frontier.png", "tensorboard"} <= names
    assert "Training seeds: 0, 1" in (compared / "report.md").read_text()
    config = yaml.safe_load((compared / "config.yaml").read_text())
    assert config["compare"] == {"runs": [], "configs": ["tldr-ppo", "tldr-reinforce"], "seeds": [0, 1]}
    assert config["agent"]["total_episodes"] == 16


def test_the_same_command_again_trains_nothing_and_finds_the_same(run, compared, flags, no_training, tmp_path):
    folder = shutil.copytree(compared, tmp_path / "again")
    result = run("compare", "--config", "tldr-ppo", "tldr-reinforce", *flags, "--output", folder)
    assert result.code == 0, result.err
    old, new = metrics_of(compared), metrics_of(folder)
    assert new["policies"] == old["policies"]
    assert new["agents"] == old["agents"]
    assert "tldr-ppo − tldr-reinforce" in result.out
    assert str(folder / "report.html") in result.out


def rounded(figures):
    """What is left when texts are scored in other batches, which rounds otherwise."""
    return {
        name: rounded(value) if isinstance(value, dict) else round(value, 5) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def test_an_interrupted_comparison_goes_on_and_ends_the_same(run, compared, train_flags, monkeypatch, tmp_path):
    words = ["compare", "--config", "tldr-ppo", *train_flags, "--seeds", "2", "--output", tmp_path / "out"]
    log, logged = Monitor.log, []

    def stop(self, rollout, scalars):
        logged.append(scalars["iteration"])
        if len(logged) == 4:  # the second iteration of the second run
            raise KeyboardInterrupt
        log(self, rollout, scalars)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "log", stop)
        stopped = run(*words)
    assert stopped.code == 130
    assert "the same command continues" in stopped.err
    assert not (tmp_path / "out" / "metrics.json").exists()
    resumed = run(*words)
    assert resumed.code == 0, resumed.err
    assert "run 1 of 1 to train" in resumed.out
    new, old = (metrics_of(folder)["policies"] for folder in (tmp_path / "out", compared))
    for seed in (0, 1):
        assert rounded(new[f"tldr-ppo, seed {seed}"]) == rounded(old[f"tldr-ppo, seed {seed}"])


def test_finished_runs_that_differ_in_the_seed_are_one_agent(run, compared, no_training, tmp_path):
    runs = [compared / agent / f"seed-{seed}" for agent in ("tldr-ppo", "tldr-reinforce") for seed in (0, 1)]
    result = run("compare", *runs, "--evaluation.prompts", 6, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    new, old = metrics_of(tmp_path / "out"), metrics_of(compared)
    assert {name: agent["seeds"] for name, agent in new["agents"].items()} == {
        "tldr-ppo": [0, 1],
        "tldr-reinforce": [0, 1],
    }
    assert new["differences"] == old["differences"]
    assert new["policies"]["tldr-ppo/seed-1"] == old["policies"]["tldr-ppo, seed 1"]
    assert new["runs"]["tldr-ppo/seed-1"]["episodes"] == 16


def test_a_finished_run_beside_a_config_to_train(run, finished_run, flags, tmp_path):
    (tmp_path / "mine.yaml").write_text("agent:\n  name: reinforce\n  baseline: none\n")
    words = ("--config", tmp_path / "mine.yaml", *flags[:-1], "1", "--seed", 0, "--output", tmp_path / "out")
    result = run("compare", finished_run, *words)
    assert result.code == 0, result.err
    metrics = metrics_of(tmp_path / "out")
    assert list(metrics["agents"]) == ["finished", "mine"]
    [pair] = metrics["differences"]
    assert (pair["seeds"], pair["over"]) == ([0], "prompts")
    theirs = json.loads((finished_run / "metrics.json").read_text())["policies"]["trained"]
    assert rounded(metrics["policies"]["finished"]) == rounded(theirs)  # the same prompts, decoded alike


def test_a_plain_model_folder_can_be_compared(run, finished_run, model_folder, tmp_path):
    result = run("compare", finished_run, model_folder, "--evaluation.prompts", 4, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    metrics = metrics_of(tmp_path / "out")
    assert metrics["policies"]["tiny"]["kl"] == pytest.approx(0, abs=1e-4)  # it is the start policy itself
    assert metrics["agents"]["tiny"]["seeds"] == [None]


def test_help_teaches_the_grammar(run):
    result = run("compare", "--help")
    assert result.code == 0
    for word in ("RUN...", "--config NAME...", "--seeds", "seed by seed", *preset_names()):
        assert word in result.out


# Bad input.


@pytest.fixture
def refuses(refused, flags, tmp_path):
    """``refuses("--config", ...)`` -> the one line on stderr; nothing may be left."""

    def call(*words: object) -> str:
        line = refused("compare", "--evaluation.prompts", 2, *words, "--output", tmp_path / "new" / "out")
        assert not (tmp_path / "new").exists()
        return line

    return call


def names(line: str, *words: object) -> None:
    for word in words:
        assert str(word) in line, line


def test_unknown_runs_and_configs_name_the_nearest(refuses, finished_run, tmp_path):
    names(refuses(finished_run.with_name("finishd")), "finishd", 'Did you mean "finished"?')
    names(refuses("--config", "tldr-pop"), '"tldr-pop"', 'Did you mean "tldr-ppo"?')
    names(refuses("--config", "tldr-ppo", "--agent.learning_rte", 1), 'Did you mean "--agent.learning_rate"?')
    names(refuses(), "prefgym compare RUN...")
    names(refuses(finished_run, finished_run), "named twice")


def test_runs_of_different_environments_are_not_compared(refuses, finished_run, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["env"]["max_new_tokens"] = 9
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    names(refuses(finished_run, other), other, finished_run, "env.max_new_tokens is 9, not 6", "--env.max_new_tokens")
    config["env"]["id"] = "Instruct-v0"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    names(refuses(finished_run, other), "env.id is Instruct-v0, not Summarize-v0", "--env.id")


def test_folders_that_are_no_runs_are_named(refuses, finished_run, preference_folder, tmp_path):
    names(refuses(finished_run, preference_folder), preference_folder, "language model")
    (tmp_path / "empty").mkdir()
    names(refuses(finished_run, tmp_path / "empty"), "empty", "config.json")
    other = shutil.copytree(finished_run, tmp_path / "other")
    (other / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes()[:1000])
    config = yaml.safe_load((other / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump(config | {"seed": 9}))
    names(refuses(finished_run, other), other, "does not hold the bytes that were written")
    (other / "config.yaml").write_text("env: [")
    names(refuses(finished_run, other), other / "config.yaml", "not valid YAML")


def test_a_difference_that_the_command_line_decides_is_none(run, finished_run, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["env"] |= {"max_new_tokens": 9, "kl_coef": 0.7}
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    words = ("--env.max_new_tokens", 7, "--evaluation.prompts", 2, "--output", tmp_path / "out")
    result = run("compare", finished_run, other, *words)
    assert result.code == 0, result.err
    rows = metrics_of(tmp_path / "out")["policies"]
    assert rows["finished"] == rows["other"]


def test_the_same_agent_with_the_same_seed_twice(refuses, finished_run, tmp_path):
    twin = shutil.copytree(finished_run, tmp_path / "twin")
    names(refuses(finished_run, twin), finished_run, twin, "same seed")


def test_what_only_an_agent_knows_tells_recipes_apart(run, finished_run, tmp_path):
    runs = []
    for name, temper in (("calm", 1), ("wild", 2)):
        runs.append(shutil.copytree(finished_run, tmp_path / name))
        config = yaml.safe_load((runs[-1] / "config.yaml").read_text())
        config["agent"]["temper"] = temper  # an option of an agent from outside the package
        (runs[-1] / "config.yaml").write_text(yaml.safe_dump(config))
    result = run("compare", *runs, "--evaluation.prompts", 2, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert set(metrics_of(tmp_path / "out")["agents"]) == {"calm", "wild"}


def test_unequal_budgets_are_refused_before_training(refuses, flags, tmp_path):
    (tmp_path / "long.yaml").write_text("agent:\n  total_episodes: 99999\n")
    (tmp_path / "short.yaml").write_text("agent:\n  total_episodes: 64\n")
    line = refuses("--config", tmp_path / "long.yaml", tmp_path / "short.yaml")
    names(line, "long trains for 100032 episodes and short for 64", "--agent.total_episodes")


def test_options_of_training_need_something_to_train(refuses, finished_run):
    names(refuses(finished_run, "--seeds", 2), "--seeds", "--config")
    names(refuses(finished_run, "--agent.learning_rate", 1), "--agent.learning_rate", "--config")
    line = refuses("--config", "tldr-reinforce", "--agent.clip_range", 0.1)
    names(line, "--agent.clip_range", "none of these agents")
    names(refuses("--config", "tldr-ppo", "--seeds", 0), "seeds", "at least 1")
    names(refuses(finished_run, "--evaluation.prompts", 0), "evaluation.prompts is 0")


def test_two_configs_of_one_name(refuses, tmp_path):
    (tmp_path / "tldr-ppo.yaml").write_text("agent:\n  name: ppo\n")
    names(refuses("--config", "tldr-ppo", tmp_path / "tldr-ppo.yaml"), 'Two configs are called "tldr-ppo"')


def test_a_run_of_another_vocabulary(refuses, finished_run, preference_folder, tmp_path):
    names(refuses(finished_run, "embedded"), "vocabulary")


def test_a_trained_run_with_other_settings_is_not_taken_for_the_one_asked_for(refused, compared, flags, no_training):
    before = (compared / "metrics.json").read_bytes()
    words = ("--config", "tldr-ppo", *flags, "--env.kl_coef", 0.7, "--output", compared)
    names(refused("compare", *words), "env.kl_coef is 0.1, not 0.7", "--overwrite")
    assert (compared / "metrics.json").read_bytes() == before


def test_an_output_folder_of_something_else(refused, finished_run, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    names(refused("compare", finished_run, "--output", tmp_path), tmp_path, "holds other files")
    names(refused("compare", finished_run, "--output", finished_run), finished_run, "by prefgym train, not by compare")
    names(refused("compare", finished_run, "--output", tmp_path / "thesis.tex"), "is a file")


def test_a_reward_that_fails_in_training_leaves_nothing(run, flags, tmp_path):
    code = "calls = []\ndef score(prompts, completions):\n    calls.append(1)\n"
    code += "    return [float('nan') if len(calls) > 1 else 1.0] * len(prompts)\n"  # the first call tries the reward
    (tmp_path / "tiring.py").write_text(code)
    words = (*flags, "--env.reward", f"{tmp_path / 'tiring.py'}:score", "--output", tmp_path / "new" / "out")
    result = run("compare", "--config", "tldr-ppo", *words)
    assert result.code == 4
    names(result.err.splitlines()[-1], "nan", "prompt ")
    assert "Traceback" not in result.err
    assert not (tmp_path / "new").exists()


def test_a_config_with_the_name_of_a_yardstick_is_refused_before_it_is_trained(refused, tmp_path):
    (tmp_path / "start.yaml").write_text("agent.total_episodes: 8\n")
    told = refused("compare", "--config", tmp_path / "start.yaml", "--seeds", 1, "--output", tmp_path / "out")
    assert '"start"' in told
    assert not (tmp_path / "out").exists()


def test_a_damaged_history_is_found_before_anything_is_written(refused, finished_run, tmp_path):
    damaged = tmp_path / "run"
    shutil.copytree(finished_run, damaged)
    (damaged / "history.jsonl").write_text("NaN\n")
    told = refused("compare", damaged, "--evaluation.prompts", "2", "--output", tmp_path / "out")
    assert "history.jsonl" in told
    assert not (tmp_path / "out").exists()
