"""Code that a run folder names runs only if this account made the run, or the user says so."""

import json
import shutil

import pytest
import yaml

from prefgym.trust import named_code

EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
def f(prompts, completions, **columns):
    return [0.0] * len(prompts)
class A:
    pass
"""


@pytest.fixture
def shared(finished_run, tmp_path):
    """``shared("env.reward", "f")``: a run that came from elsewhere, whose config names code of its own."""

    def make(key: str, attribute: str):
        folder = tmp_path / "shared"
        shutil.copytree(finished_run, folder)
        (folder / "evil.py").write_text(EVIL)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        section, name = key.split(".")
        config[section][name] = f"{folder}/evil.py:{attribute}"
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    return make


@pytest.mark.parametrize("key", ["env.reward", "evaluation.judge"])
def test_evaluating_a_shared_run_runs_no_code_of_its_config(shared, refused, run, key):
    folder = shared(key, "f")
    for words in (
        ["evaluate", folder],
        ["compare", folder, "--output", folder.parent / "c"],
        ["train", "--resume", "--output", folder],
    ):
        line = refused(*words)
        assert f"would run code ({key}: {folder}/evil.py:f)" in line
        assert f"--trust {folder}" in line
        assert not (folder / "ran").exists()
    refused("evaluate", folder, "--trust", folder.parent)
    assert not (folder / "ran").exists()
    assert run("evaluate", folder, "--trust", folder, "--evaluation.prompts", "2").code == 0
    assert (folder / "ran").exists()


def test_playing_and_resuming_a_shared_run_run_none_either(shared, refused, monkeypatch, tmp_path):
    folder = shared("env.reward", "f")
    assert "would run code" in refused("play", folder)
    other = shutil.copytree(folder, tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["agent"]["name"], config["env"]["reward"] = f"{folder}/evil.py:A", None
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    assert "agent.name" in refused("train", "--resume", "--output", other)
    assert not (folder / "ran").exists()


def test_what_the_user_names_runs(shared, run, tmp_path, train_flags):
    folder = shared("env.reward", "f")
    mine = tmp_path / "mine.py"
    mine.write_text("def f(prompts, completions, **columns): return [1.0] * len(prompts)\n")
    assert run("evaluate", folder, "--env.reward", f"{mine}:f", "--evaluation.prompts", "2").code == 0
    assert not (folder / "ran").exists()


def test_a_run_of_this_account_is_gone_on_with_unasked_until_its_code_changes(
    run, refused, train_flags, tmp_path, monkeypatch
):
    mine = tmp_path / "mine.py"
    mine.write_text("def f(prompts, completions, **columns): return [1.0] * len(prompts)\n")
    flags = [*train_flags, "--evaluation.prompts", "0", "--agent.total_episodes", "8", "--env.reward", f"{mine}:f"]
    assert run("train", *flags, "--output", tmp_path / "run").code == 0
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")
    assert run("evaluate", moved, "--evaluation.prompts", "2").code == 0
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(mine, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")  # the same bytes in a folder of somebody else, with other files beside
    config = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(config.replace(f"{mine}:f", "mine.py:f"))
    assert "would run code" in refused("evaluate", moved)
    (moved / "config.yaml").write_text(config)
    mine.write_text(EVIL)
    assert "would run code" in refused("evaluate", moved)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("reward", "named"),
    [
        (None, []),
        ("gold", []),
        ("embedded", []),
        ("owner/model", []),
        ("runs/reward", []),
        ({"models": ["a/b", "c/d"], "combine": "worst"}, []),
        ("evil.py:f", ["evil.py:f"]),
        ("runs/x/evil.py:f", ["runs/x/evil.py:f"]),
        ("os:system", ["os:system"]),
        ("os.system", ["os.system"]),
        (["gold", "os.system"], ["os.system"]),
        ({"a": "os.system", "b": {"function": "evil.py:f", "weight": 0}}, ["os.system", "evil.py:f"]),
        ({"a": {"function": ["os.system"]}}, ["os.system"]),
        ({"models": "os.system"}, ["os.system"]),
    ],
)
def test_every_way_to_name_code(reward, named):
    assert named_code({"env.reward": reward}).get("env.reward", []) == named
    assert named_code({"evaluation.judge": json.loads(json.dumps(reward))}).get("evaluation.judge", []) == named


@pytest.mark.parametrize(
    ("command", "key"),
    [
        *(
            (command, key)
            for command in ("train", "compare")
            for key in ("config", "trust", "resume", "accept_changes")
        ),
        *(("play", key) for key in ("config", "trust", "accept_changes")),
    ],
)
def test_a_config_file_cannot_say_what_is_for_the_command_line(command, key, refused, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"{key}: true\n")
    told = refused(command, "--config", "mine.yaml")
    flag = key.replace("_", "-")
    assert told.endswith(f"mine.yaml: {key} is given on the command line only, as --{flag}; remove it from the file.")


@pytest.mark.parametrize("command", ["evaluate", "play"])
def test_a_shared_run_cannot_trust_itself(command, shared, refused):
    folder = shared("env.reward", "f")
    with (folder / "config.yaml").open("a") as file:
        file.write(f"trust: [{folder}]\n")
    assert "trust is given on the command line only" in refused(command, folder)
    assert not (folder / "ran").exists()


def test_a_shared_run_does_not_say_where_a_command_writes(finished_run, run, monkeypatch, tmp_path):
    folder = shutil.copytree(finished_run, tmp_path / "shared")
    with (folder / "config.yaml").open("a") as file:
        file.write(f"output: {tmp_path / 'elsewhere'}\noverwrite: true\nlimit: 1\n")
    result = run("sample", folder, "--env.max_new_tokens", 2)
    assert (result.code, len(result.out.splitlines())) == (0, 6)
    assert not (tmp_path / "elsewhere").exists()
