"""What lies in or beside the folder of a run and is not that run's: other runs, locks, modules behind a reward."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from prefgym import output
from prefgym.errors import InputError, RewardError
from prefgym.failures import explain
from prefgym.files import write_text
from prefgym.output import new_folder
from prefgym.rewards import importing
from prefgym.rewards.importing import sources_of, with_imports
from prefgym.rewards.reward import resolve_reward
from prefgym.storage import lock
from prefgym.storage.lock import LOCK, locked
from prefgym.storage.manifest import FILES, Manifest


def finished(folder: Path) -> None:
    """A run that another process made: nothing of it is known in this one."""
    (folder / "report.html").parent.mkdir(parents=True)
    manifest = Manifest.begin(folder, "train")
    (folder / "report.html").write_text("done")
    manifest.claim(folder / "config.yaml")
    manifest.record(folder / "report.html")


def test_a_run_that_fails_leaves_a_run_that_another_process_made_in_its_folder(tmp_path):
    def fail():
        with new_folder(tmp_path / "outer", "train") as folder:
            write_text(folder / "config.yaml", "seed: 0\n")
            finished(folder / "inner")
            with (folder / FILES).open("a") as file:  # as that process does
                file.write(json.dumps({"folder": "inner"}) + "\n")
            raise RewardError("boom", 0)

    with pytest.raises(RewardError):
        fail()
    assert (tmp_path / "outer" / "inner" / "report.html").read_text() == "done"
    assert not (tmp_path / "outer" / "config.yaml").exists()
    assert Manifest.read(tmp_path / "outer" / "inner").is_whole("report.html")


def test_a_run_is_not_set_aside_while_a_part_of_it_is_written(tmp_path, monkeypatch):
    with new_folder(tmp_path / "run", "train") as folder:
        write_text(folder / "metrics.json", "{}")
        finished(folder / "evaluation")
        Manifest.read(folder).claim_folder(folder / "evaluation")
    note = {"pid": os.getppid(), "host": lock.host_name(), "command": "evaluate", "since": 0}
    (tmp_path / "run" / "evaluation" / LOCK).write_text(json.dumps(note))
    monkeypatch.setattr(lock, "system_lock", lambda channel: False)
    monkeypatch.setattr(output, "locked", lambda folder, command: locked_here(folder))
    busy = pytest.raises(InputError, match=r"evaluation is being written by process \d+")
    with busy, new_folder(tmp_path / "run", "train", overwrite=True):
        pass
    assert (tmp_path / "run" / "metrics.json").exists()
    assert (tmp_path / "run" / "evaluation" / "report.html").exists()


class locked_here:
    """The outer lock, free."""

    def __init__(self, folder: Path) -> None:
        pass

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


@pytest.mark.parametrize("kind", ["link", "dangling link", "text", "json"])
def test_a_lock_that_is_not_ours_is_neither_written_nor_removed(tmp_path, kind):
    precious, place = tmp_path / "precious", tmp_path / "run" / LOCK
    place.parent.mkdir()
    texts = {"text": "combination 1234", "json": '{"mine": 1}'}
    if "link" in kind:
        place.symlink_to(precious)
        if kind == "link":
            precious.write_text("thesis")
    else:
        place.write_text(texts[kind])
    with pytest.raises(InputError, match="not prefgym's"), locked(tmp_path / "run", "train"):
        pass
    assert place.is_symlink() == ("link" in kind)
    if kind == "link":
        assert precious.read_text() == "thesis"
    elif kind == "dangling link":
        assert not precious.exists()
    else:
        assert place.read_text() == texts[kind]


@pytest.mark.parametrize("pid", [10**23, 0, -5, True])
def test_a_lock_with_an_impossible_process_is_taken_over(tmp_path, pid):
    (tmp_path / LOCK).write_text(json.dumps({"pid": pid, "host": lock.host_name()}))
    with locked(tmp_path, "train"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_what_a_file_imports_of_the_users_own_is_a_source_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kit").mkdir()
    files = {
        "reward.py": "import json, numpy\nimport helper\ndef f():\n    from kit.inner import x\n    import not_there",
        "helper.py": "import reward\nimport deeper",
        "deeper.py": "",
        "kit/__init__.py": "from . import beside",
        "kit/inner.py": "from .beside import y\nfrom ..far import z",
        "kit/beside.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = {file.resolve().relative_to(tmp_path).as_posix() for file in sources_of("reward.py:f")}
    assert found == files.keys() - {"unused.py"}
    assert {file.name for file in sources_of("kit.inner:x")} == {"__init__.py", "inner.py", "beside.py"}
    (tmp_path / "broken.py").write_text("def (")
    assert [file.name for file in with_imports([tmp_path / "broken.py"])] == ["broken.py"]


@pytest.mark.parametrize("change", ["resume", "evaluate"])
def test_a_changed_module_behind_a_reward_is_noticed(change, run, train_flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "behind.py").write_text("def score(text):\n    return float(len(text) % 7)\n")
    (tmp_path / "reward.py").write_text(
        "import behind\ndef reward(prompts, completions):\n    return [behind.score(text) for text in completions]\n"
    )
    monkeypatch.setitem(sys.modules, "behind", None)
    del sys.modules["behind"]
    flags = [*train_flags, "--env.reward", "reward.py:reward", "--evaluation.prompts", "0"]
    assert run("train", *flags, "--output", "run").code == 0
    (tmp_path / "behind.py").write_text("def score(text):\n    return float(len(text) % 3)\n")
    if change == "evaluate":
        assert "--trust" in run("evaluate", "run", "--evaluation.prompts", "2").err
        return
    words = ("train", "--resume", "--output", "run", "--agent.total_episodes", "24", "--trust", "run")
    told = run(*words)
    assert told.code == 2
    assert "the reward changed" in told.err
    assert run(*words, "--accept-changes").code == 0


def test_accepted_changes_may_be_of_the_number_of_prompts(run, train_flags, posts, write_rows, tmp_path):
    prompts = write_rows("posts.jsonl", posts)
    flags = [*train_flags, "--data.prompts", prompts, "--evaluation.prompts", "0"]
    assert run("train", *flags, "--output", tmp_path / "run").code == 0
    write_rows("posts.jsonl", posts[:20])
    words = ("train", "--resume", "--output", tmp_path / "run", "--agent.total_episodes", "24")
    told = run(*words)
    assert told.code == 2
    assert "--accept-changes" in told.err
    assert run(*words, "--accept-changes").code == 0


@pytest.mark.parametrize("name", ["prefgym-files.jsonl", "state.json"])
def test_a_damaged_list_of_the_newest_checkpoint_falls_back_too(name, run, train_flags, tmp_path):
    flags = [*train_flags, "--evaluation.prompts", "0", "--output", tmp_path / "run"]
    assert run("train", *flags).code == 0
    newest = tmp_path / "run" / "checkpoints" / "iteration-000002"
    (newest / name).write_bytes((newest / name).read_bytes()[:10])
    with pytest.warns(UserWarning, match='iteration-000002" is damaged'):
        told = run("train", "--resume", "--output", tmp_path / "run", "--agent.total_episodes", "24")
    assert told.code == 0, told.err
    assert "resuming after 8 of 24" in told.out


@pytest.mark.parametrize("value", ["[1e308] * len(prompts)", "bytes(len(prompts))", "{p: 1.0 for p in prompts}"])
def test_numbers_that_overflow_and_what_is_no_list_are_refused(value, tmp_path):
    (tmp_path / "r.py").write_text(f"def reward(prompts, completions):\n    return {value}\n")
    reward = resolve_reward(f"{tmp_path / 'r.py'}:reward")
    for count in (1, 2):
        with pytest.raises(RewardError, match="returned"):
            reward(["a", "b"][:count], ["x", "y"][:count])


def test_a_run_stays_where_it_is_whatever_its_code_does(run, train_flags, tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    head = "import os, torch\nos.chdir(os.path.dirname(__file__))\ntorch.set_grad_enabled(False)\n"
    (home / "reward.py").write_text(
        f"{head}def f(prompts, completions):\n    os.chdir('..')\n    torch.set_grad_enabled(False)\n"
        "    torch.set_default_dtype(torch.float64)\n    return [1.0 * len(text) for text in completions]\n"
    )
    (home / "agent.py").write_text(
        f"{head}from prefgym.agents import PPO\nclass Mine(PPO):\n"
        "    def advantages(self, rollout):\n        torch.set_grad_enabled(False)\n"
        "        return super().advantages(rollout)\n"
        "    def loss(self, piece):\n        found = super().loss(piece)\n"
        "        torch.set_grad_enabled(False)\n        os.chdir('/')\n        return found\n"
    )
    code = ("--env.reward", f"{home}/reward.py:f", "--agent.name", f"{home}/agent.py:Mine")
    told = run("train", *train_flags, *code, "--evaluation.prompts", "0", "--output", "run")
    assert told.code == 0, told.err
    assert (here / "run" / "metrics.json").is_file()
    assert {file.name for file in home.iterdir()} - {"__pycache__"} == {"reward.py", "agent.py"}


@pytest.mark.parametrize(
    ("command", "name"), [("train", "win_rates.png"), ("train", "profile.txt"), ("sft", "loss.png")]
)
def test_a_users_picture_of_a_name_that_will_be_drawn_is_refused_first(command, name, tmp_path):
    with new_folder(tmp_path / "run", command) as folder:
        write_text(folder / "metrics.json", "{}")
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(InputError, match=name), new_folder(tmp_path / "run", command, overwrite=True):
        pass
    assert (tmp_path / "run" / name).read_text() == "mine"


def test_a_run_without_its_config_is_told(run, refused, train_flags, tmp_path):
    assert run("train", *train_flags, "--evaluation.prompts", "0", "--output", tmp_path / "run").code == 0
    (tmp_path / "run" / "config.yaml").unlink()
    assert "config.yaml is missing; put it back" in refused("train", "--resume", "--output", tmp_path / "run")


@pytest.mark.parametrize("kind", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EFBIG])
def test_a_refusal_of_the_system_says_what_to_do_and_no_name_of_ours(kind, tmp_path):
    error = OSError(kind, os.strerror(kind), str(tmp_path / ".prefgym-host-1-0123abcd-0.partial"))
    code, sentence = explain(error)
    assert code == 3
    assert sentence.startswith(f"{tmp_path}: {os.strerror(kind)}; ")


def test_what_prefgym_itself_imports_is_not_followed(tmp_path):
    from prefgym.rewards import functions

    assert [file.name for file in with_imports([Path(functions.__file__)])] == ["functions.py"]
    (tmp_path / "mine.py").write_text("from prefgym.rewards.functions import length\nimport torch, numpy.linalg\n")
    assert [file.name for file in with_imports([tmp_path / "mine.py"])] == ["mine.py"]


@pytest.mark.parametrize("home", ["lib/python3/dist-packages", "conda/lib/python3.11/site-packages"])
@pytest.mark.parametrize("linked", [False, True])
def test_packages_are_not_followed_wherever_they_are_installed(home, linked, tmp_path, monkeypatch):
    place = tmp_path / home / "package"
    store = tmp_path / "store" if linked else place  # as installers do that keep packages once for many environments
    store.mkdir(parents=True)
    if linked:
        place.parent.mkdir(parents=True)
        place.symlink_to(store)
    (store / "__init__.py").write_text("from . import more")
    (store / "more.py").write_text("")
    (tmp_path / "mine.py").write_text("import package.more")
    monkeypatch.setattr(sys, "path", [*sys.path, str(place.parent)])
    assert [file.name for file in with_imports([tmp_path / "mine.py"])] == ["mine.py"]


def test_folders_within_folders_are_packages_too(tmp_path):
    (tmp_path / "kit" / "tools").mkdir(parents=True)
    (tmp_path / "kit" / "tools" / "one.py").write_text("")
    (tmp_path / "mine.py").write_text("import kit.tools.one\nimport kit.tools.none.at_all")
    assert [file.name for file in with_imports([tmp_path / "mine.py"])] == ["mine.py", "one.py"]
    assert "kit" not in sys.modules


@pytest.mark.parametrize("error", [KeyError("setuptools._distutils"), AttributeError(), OSError(), RecursionError()])
def test_what_cannot_be_looked_for_is_passed_over(error, tmp_path, monkeypatch):
    def find_spec(name, places):
        raise error

    (tmp_path / "mine.py").write_text("import other")
    monkeypatch.setattr(importing.PathFinder, "find_spec", find_spec)
    assert [file.name for file in with_imports([tmp_path / "mine.py"])] == ["mine.py"]


def test_of_a_great_many_files_the_nearest_are_read(tmp_path, monkeypatch):
    for number in range(9):
        (tmp_path / f"part{number}.py").write_text(f"import part{number + 1}")
    (tmp_path / "mine.py").write_text("import part0, part5")
    monkeypatch.setattr(importing, "MOST_FILES", 4)
    found = [file.name for file in with_imports([tmp_path / "mine.py"])]
    assert found == ["mine.py", "part0.py", "part5.py", "part1.py"]
