"""``prefgym sft`` and ``prefgym reward`` go on after a stop, a kill or a full disk, to the same end."""

import json
import os
import shlex
import shutil
import signal
import threading
import time

import pytest

from prefgym.commands import reward
from prefgym.models import supervised_checkpoint
from prefgym.models.supervised import SupervisedTrainer
from prefgym.output import PARTS
from prefgym.rewards import kept_folds, training
from prefgym.storage.events import EVENTS, read_events
from prefgym.storage.lock import LOCK

OPTIONS = ("--training.batch_size", 8, "--training.epochs", 2, "--data.held_out", 0.25, "--training.save_every", 2)
TIMES = ("seconds", "runtime", "per_second")


@pytest.fixture(scope="module")
def words(model_folder, tmp_path_factory):
    """The words of each command but for its output."""
    folder = tmp_path_factory.mktemp("data")
    pairs = [{"instruction": f"Say {i}.", "output": f"number {i}"} for i in range(32)]
    votes = [{"prompt": f"What {i % 16}?", "chosen": f"please {i}", "rejected": f"just {i}"} for i in range(32)]
    for name, rows in (("pairs", pairs), ("votes", votes)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = ("--model", model_folder, *OPTIONS)
    return {
        "sft": ("sft", "--data.pairs", folder / "pairs.jsonl", *common),
        "reward": ("reward", "--data.comparisons", folder / "votes.jsonl", "--folds", 2, *common),
    }


@pytest.fixture(scope="module")
def untouched(words, tmp_path_factory):
    """What each command gives that nothing happened to."""
    from prefgym.cli import main

    told = {}
    for command, given in words.items():
        folder = tmp_path_factory.mktemp("untouched") / command
        assert main([str(word) for word in (*given, "--output", folder)]) == 0
        told[command] = ends(folder)
    return told


def ends(folder):
    """Everything that must be the same."""
    points = [
        (value.tag, event.step, None if value.tag.endswith(TIMES) else value.SerializeToString())
        for event in read_events(folder / "tensorboard" / EVENTS)
        for value in event.summary.value
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("seconds")
    report = [line for line in (folder / "report.md").read_text().splitlines() if "seconds" not in line]
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    names = [name for name in names if not name.startswith("checkpoints")]
    return (folder / "model.safetensors").read_bytes(), metrics, sorted(points, key=str), report, names


def mtimes(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")])


@pytest.fixture
def at(monkeypatch):
    """``at(owner, name, call, what)``: the ``call``-th call of ``owner.name`` does ``what`` first."""

    def arrange(owner, name, call, what):
        plain, calls = getattr(owner, name), []

        def arranged(*args, **kwargs):
            calls.append(None)
            if len(calls) == call:
                what()
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, arranged)
        return calls

    return arrange


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("command", "call", "steps"), [("sft", 5, 8), ("reward", 8 + 5, 6)])
def test_a_stop_says_what_is_saved_and_the_command_goes_on(
    command, call, steps, run, words, untouched, at, tmp_path, monkeypatch
):
    folder = tmp_path / "my run"
    at(SupervisedTrainer, "training_step", call, sigterm)
    result = run(*words[command], "--output", folder)
    assert result.code == 143
    line = result.err.splitlines()[-1]
    assert (
        f"stopped by SIGTERM after 4 of {steps} steps, which are saved; step 5 will be repeated. Continue with" in line
    )
    monkeypatch.undo()
    refused = run(*words[command], "--output", folder)
    assert refused.code == 2
    assert f"--resume --output {shlex.quote(str(folder))} continues it" in refused.err
    typed = shlex.split(line.partition("Continue with: prefgym ")[2])
    assert typed[0] == command
    trained = at(SupervisedTrainer, "training_step", -1, None)
    assert run(*typed).code == 0
    assert len(trained) == steps - 4  # no step again, and no fold
    assert ends(folder) == untouched[command]
    before = mtimes(folder)
    finished = run(*typed)
    assert finished.code == 0
    assert f"{folder} is finished" in finished.out
    assert mtimes(folder) == before
    (folder / LOCK).touch()  # of a process that was killed at its very end
    assert "is finished" in run(*typed).out
    assert not (folder / LOCK).exists()


def test_a_fold_is_measured_once_but_a_damaged_one_again(run, words, untouched, at, tmp_path, monkeypatch):
    folder, damaged = tmp_path / "reward", tmp_path / "damaged"
    at(training, "train_preference_model", 2, sigterm)
    line = run(*words["reward"], "--output", folder).err.splitlines()[-1]
    assert "after 1 of 2 folds of the cross-validation, which are saved; fold 2 will be repeated. Continue with" in line
    assert [path.name for path in (folder / PARTS).iterdir()] == ["fold-1.json"]
    monkeypatch.undo()
    shutil.copytree(folder, damaged)
    part = damaged / PARTS / "fold-1.json"
    part.write_text(part.read_text().replace("0.", "1.", 1))
    trained = at(training, "train_preference_model", -1, None)
    assert run("reward", "--resume", "--output", folder).code == 0
    assert len(trained) == 1 + 1  # fold 2, and the model itself
    assert not (folder / PARTS).exists()
    with pytest.warns(UserWarning, match="fold-1.json. is damaged; its fold is measured again"):
        assert run("reward", "--resume", "--output", damaged).code == 0
    assert len(trained) == 2 + 3
    assert ends(folder) == ends(damaged) == untouched["reward"]


KILLED = {
    "before anything but the config": ("sft", SupervisedTrainer, "training_step", 1),
    "in dropping an old checkpoint": ("sft", supervised_checkpoint, "discard", 1),
    "after training": ("sft", SupervisedTrainer, "_finalize_training", 1),
    "in the writing of a fold": ("reward", kept_folds, "write_text", 2),
    "before its parts are gone": ("reward", reward, "discard_parts", 1),
}


@pytest.mark.parametrize("where", KILLED)
def test_a_killed_run_goes_on(where, run, words, untouched, at, tmp_path, monkeypatch):
    command, owner, name, call = KILLED[where]
    folder, killed = tmp_path / command, tmp_path / "killed"
    at(owner, name, call, lambda: shutil.copytree(folder, killed))  # what is on the disk at that moment
    assert run(*words[command], "--output", folder).code == 0
    monkeypatch.undo()
    if where in ("before anything but the config",):
        again = shutil.copytree(killed, tmp_path / "again")
        assert run(*words[command], "--output", again).code == 0
        assert ends(again) == untouched[command]
    assert run(command, "--resume", "--output", killed).code == 0
    assert ends(killed) == untouched[command]


def test_other_options_and_other_data_are_refused(run, refused, words, at, tmp_path, monkeypatch):
    data = tmp_path / "pairs.jsonl"
    shutil.copy(words["sft"][2], data)
    folder = tmp_path / "sft"
    at(SupervisedTrainer, "training_step", 5, sigterm)
    assert run(*words["sft"], "--data.pairs", data, "--output", folder).code == 143
    monkeypatch.undo()
    for key, value, was in (
        ("training.epochs", 4, "2.0"),
        ("training.learning_rate", 1e-3, "0.0005"),
        ("seed", 1, "0"),
    ):
        line = refused("sft", "--resume", "--output", folder, f"--{key}", value)
        assert f"where {key} is {was}, not" in line
        assert "leave it out, or start a new run" in line
    assert "was written by prefgym sft, not by reward" in refused("reward", "--resume", "--output", folder)
    assert "--resume needs --output DIR" in refused("sft", "--resume")
    data.write_text(data.read_text().replace("number 3", "number 4"))
    before = mtimes(folder / "checkpoints")
    result = run("sft", "--resume", "--output", folder)
    assert result.code == 2
    assert "the examples changed since" in result.err
    assert "--accept-changes" in result.err
    assert mtimes(folder / "checkpoints") == before
    assert run("sft", "--resume", "--output", folder, "--accept-changes", "--seed", 0).code == 0
    (folder / "report.html").unlink()
    (folder / "config.yaml").write_text("")
    assert "is not the config of a run" in refused("sft", "--resume", "--output", folder)


def test_changed_comparisons_are_refused_before_a_fold_is_used(run, words, at, tmp_path, monkeypatch):
    data = tmp_path / "votes.jsonl"
    shutil.copy(words["reward"][2], data)
    folder = tmp_path / "reward"
    at(training, "train_preference_model", 2, sigterm)
    run(*words["reward"], "--data.comparisons", data, "--output", folder)
    monkeypatch.undo()
    data.write_text(data.read_text().replace("please 3", "please 4"))
    result = run("reward", "--resume", "--output", folder)
    assert result.code == 2
    assert "the examples changed since" in result.err.splitlines()[-1]
    trained = at(training, "train_preference_model", 2, sigterm)
    assert run("reward", "--resume", "--output", folder, "--accept-changes").code == 143
    assert len(trained) == 2  # fold 1 again


def test_a_sigterm_at_any_moment_saves_the_step_within_ten_seconds(run, words, tmp_path):
    folder, sent = tmp_path / "sft", []

    def stop_after_a_checkpoint():
        deadline = time.monotonic() + 120
        while not list(folder.glob("checkpoints/step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        sent.append(time.monotonic())
        sigterm()

    given = [*words["sft"], "--training.epochs", 100, "--training.save_every", 5, "--output", folder]
    threading.Thread(target=stop_after_a_checkpoint, daemon=True).start()
    result = run(*given)
    assert time.monotonic() - sent[0] < 10
    assert result.code == 143
    line = result.err.splitlines()[-1]
    done = int(line.partition(" after ")[2].split()[0])
    assert f"step {done + 1} will be repeated" in line or f"evaluation after step {done} will" in line
    assert supervised_checkpoint.checkpoints(folder)[-1].name == f"step-{done:06d}"
    assert "Traceback" not in result.err
