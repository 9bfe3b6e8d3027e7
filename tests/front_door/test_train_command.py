import io
import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

from prefgym.agents import PolicyGradient
from prefgym.agents.checkpoint import latest_checkpoint
from prefgym.agents.monitor import Monitor
from prefgym.commands import train as train_command
from prefgym.data.templates import INSTRUCT, SUMMARIZE
from prefgym.data.truncation import fit_prompt
from prefgym.experiment import training_seconds

POLICY_FIGURES = {
    "gold_score",
    "preference_score",
    "kl",
    "length",
    "eos_rate",
    "repetition",
    "invented_facts",
    "win_rate_vs_references",
    "win_rate_vs_start",
    "win_rate_length_controlled",
}
NO_EVALUATION = ("--evaluation.prompts", "0")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors") | load_file(run / "value_head.safetensors")


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


@pytest.fixture
def interrupted(monkeypatch):
    """``with interrupted(2): ...``: Ctrl-C arrives after the first optimiser step of the second iteration."""

    @contextmanager
    def at(iteration: int):
        step = PolicyGradient._step

        def stop(self):
            norm = step(self)
            if self.iteration == iteration - 1:
                raise KeyboardInterrupt
            return norm

        with monkeypatch.context() as patch:
            patch.setattr(PolicyGradient, "_step", stop)
            yield

    return at


def test_a_run_folder_holds_everything_to_look_at(finished_run):
    names = {path.name for path in finished_run.iterdir()}
    assert {"metrics.json", "config.yaml", "report.md", "report.html", "tensorboard", "README.md"} <= names
    assert {"config.json", "model.safetensors", "tokenizer.json", "learning_curves.png"} <= names
    assert not [name for name in names if name.startswith(".") or name.endswith(".partial")]


def test_metrics_hold_the_promised_keys(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert {"seed", "episodes", "seconds", "judge", "prompts", "policies"} <= set(metrics)
    assert (metrics["seed"], metrics["episodes"], metrics["judge"], metrics["prompts"]) == (0, 16, "gold", 6)
    assert metrics["seconds"] == pytest.approx(training_seconds(history(finished_run)))
    assert {"start", "trained", "references"} <= set(metrics["policies"])
    for row in metrics["policies"].values():
        assert set(row) >= POLICY_FIGURES
        for name in POLICY_FIGURES:
            if name.startswith("win_rate"):
                assert 0 <= row[name]["low"] <= row[name]["mean"] <= row[name]["high"] <= 1


def test_the_report_begins_with_what_so_small_a_model_cannot_do(finished_run):
    first = (finished_run / "report.md").read_text().splitlines()[0]
    for word in ("Synthetic", "6 prompts", "M parameters", "vocabulary 400", "seed 0", "cannot"):
        assert word in first
    assert "cannot" in (finished_run / "report.html").read_text()


def test_tensorboard_has_the_curves_and_the_evaluation(finished_run):
    events = EventAccumulator(str(finished_run / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"objective/kl", "objective/scores", "train/approx_kl", "time/episodes_per_second"} <= tags
    assert "evaluation/gold_score/trained" in tags
    assert [event.step for event in events.Scalars("objective/scores")] == [8, 16]


def test_the_model_card_tells_judge_and_win_rate(finished_run):
    card = (finished_run / "README.md").read_text()
    assert "| judge | gold |" in card
    assert "wins against the references" in card


def test_the_run_is_a_model_folder_that_writes_the_same_greedy_tokens(finished_run):
    model, tokenizer = (kind.from_pretrained(finished_run) for kind in (AutoModelForCausalLM, AutoTokenizer))
    rows = [json.loads(line) for line in (finished_run / "samples.jsonl").read_text().splitlines()]
    report = json.loads((finished_run / "metrics.json").read_text())
    assert len(rows) == report["prompts"]
    for row in rows:
        ids = fit_prompt(lambda text: tokenizer.encode(text), SUMMARIZE, row["prompt"], 40).ids
        written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0, len(ids) :]
        assert tokenizer.decode(written, skip_special_tokens=True).strip() == row["greedy"]["trained"]


def test_the_saved_config_trains_the_same_parameters_again(run, finished_run, tmp_path):
    result = run("train", "--config", finished_run / "config.yaml", *NO_EVALUATION, "--output", tmp_path / "again")
    assert result.code == 0
    assert same(finished_run, tmp_path / "again")
    metrics = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert (metrics["episodes"], metrics["prompts"], metrics["policies"]) == (16, 0, {})


def test_overwriting_replaces_the_old_run_whole(run, finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (folder / "leftover.txt").write_text("mine")
    (folder / "tensorboard" / "notes.txt").write_text("mine too")
    old = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = ["train", "--config", finished_run / "config.yaml", *NO_EVALUATION, "--seed", "1", "--output", folder]
    result = run(*words, "--overwrite", "--profile")
    assert result.code == 0
    shown = [line.split()[0] for line in result.out.splitlines() if line.endswith(("#", "%")) and " s " in line]
    assert shown[:6] == ["generate", "reference", "reward", "forward", "backward", "optimizer"]
    assert not (folder / "report.html").exists()
    assert not same(finished_run, folder)
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 1
    aside = tmp_path / "run.previous-1"
    assert {path.name for path in tmp_path.iterdir()} == {"run", aside.name}
    assert f"rm -r {aside}" in result.out
    for name, content in old.items():
        home = folder if name.name in ("leftover.txt", "notes.txt") else aside
        assert (home / name).read_bytes() == content, name
    assert same(finished_run, aside)
    assert "collect_rollout" in (folder / "profile.txt").read_text()


def test_a_dry_run_shows_everything_and_writes_nothing(run, train_flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = (*train_flags, "--agent.total_episodes", "24", "--evaluation.every", "2")
    result = run("train", *flags, "--dry-run", "--output", tmp_path / "run")
    assert result.code == 0
    assert list(tmp_path.iterdir()) == []
    assert "kl_coef: 0.05" in result.out
    assert "train: 20000 prompts from embedded world (train)" in result.out
    assert result.out.count("TL;DR:") == 3
    assert result.out.count("tokens of at most 40") == 3
    lines = result.out.splitlines()
    assert lines[0].startswith("dry run: reading data and models")
    last = lines[lines.index("timing pieces of an iteration ...") + 1 :]
    assert [line.split(":")[0].split()[0] for line in last] == [
        "Timed",
        "training",
        "validation",
        "evaluation",
        "memory",
    ]
    assert "generate 100 %, reference " in last[0]
    assert "3 iterations of 8 episodes" in last[1]
    assert re.search(r"about \d+ seconds, checkpoints not counted$", last[1])
    assert re.match(r"validation: 3 times \d+ prompts, about \d+ seconds in all$", last[2])
    assert "held-out prompts" in last[3]
    assert "GiB at the peak of an iteration, each minibatch in one piece" in last[4]


def test_a_dry_run_tells_the_pieces_that_a_limit_leads_to(run, train_flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = (*train_flags, *NO_EVALUATION, "--dry-run", "--agent.memory_limit")
    with pytest.warns(UserWarning, match="8 episodes is run in 1 piece,"):
        plenty = run("train", *flags, "100")
    assert plenty.code == 0
    assert "evaluation: none" in plenty.out
    little = run("train", *flags, "0.1")
    assert little.code == 2
    assert "even one episode at a time needs about" in little.err
    assert len(little.err.splitlines()) == 1


def test_an_interrupted_run_resumes_to_the_same_parameters(run, train_flags, finished_run, interrupted, tmp_path):
    folder = tmp_path / "run"
    with interrupted(2):
        stopped = run("train", *train_flags, *NO_EVALUATION, "--output", folder)
    assert stopped.code == 130
    assert f"--resume --output {folder}" in stopped.err.splitlines()[-1]
    assert not (folder / "metrics.json").exists()
    assert latest_checkpoint(folder).name == "iteration-000001"
    assert run("train", "--resume", "--output", folder).code == 0
    assert same(finished_run, folder)
    assert [row["episodes"] for row in history(folder)] == [8, 16]
    assert json.loads((folder / "metrics.json").read_text())["episodes"] == 16


def test_a_run_interrupted_in_its_first_iteration_can_be_resumed(run, train_flags, finished_run, interrupted, tmp_path):
    folder = tmp_path / "run"
    with interrupted(1):
        assert run("train", *train_flags, *NO_EVALUATION, "--output", folder).code == 130
    assert run("train", "--resume", "--output", folder).code == 0
    assert same(finished_run, folder)


def test_a_run_stopped_after_training_goes_on_to_its_report(run, train_flags, finished_run, monkeypatch, tmp_path):
    folder = tmp_path / "run"

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "evaluate_run", stop)
        assert run("train", *train_flags, "--output", folder).code == 130
    assert not (folder / "report.html").exists()
    trained = (folder / "history.jsonl").read_text()
    assert run("train", "--resume", "--output", folder).code == 0
    assert (folder / "history.jsonl").read_text() == trained
    assert same(finished_run, folder)
    mine, theirs = (json.loads((path / "metrics.json").read_text()) for path in (folder, finished_run))
    assert mine["policies"] == theirs["policies"]
    assert (folder / "report.html").is_file()


def test_resuming_a_finished_run_says_so_and_changes_nothing(run, finished_run):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    result = run("train", "--resume", "--output", finished_run)
    assert result.code == 0
    assert "is finished: 16 episodes" in result.out
    assert before == {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}


def test_resuming_accepts_the_flags_of_the_run_and_no_others(run, refused, finished_run, train_flags):
    assert run("train", *train_flags, "--resume", "--output", finished_run).code == 0
    line = refused("train", "--env.kl_coef", "0.2", "--resume", "--output", finished_run)
    assert "env.kl_coef is 0.05, not 0.2" in line


def test_a_killed_run_resumes_to_the_same_parameters(run, train_flags, finished_run, monkeypatch, tmp_path):
    """Goes on with what lies on the disk in the second iteration; tests/test_torture.py kills processes."""
    folder, killed = tmp_path / "run", tmp_path / "killed"
    log = Monitor.log

    def kill(self, rollout, scalars):
        if scalars["iteration"] == 2:
            shutil.copytree(folder, killed)
        log(self, rollout, scalars)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "log", kill)
        assert run("train", *train_flags, *NO_EVALUATION, "--output", folder).code == 0
    assert not (killed / "metrics.json").exists()
    assert run("train", "--resume", "--output", killed).code == 0
    assert same(finished_run, killed)


LATE_REWARD = """
calls = 0
def reward(prompts, completions, **columns):
    global calls
    calls += 1
    return [float("nan") if calls > 1 else 1.0] * len(prompts)
"""


def test_a_reward_that_fails_while_overwriting_leaves_the_old_run_alone(run, finished_run, train_flags, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (tmp_path / "late.py").write_text(LATE_REWARD)  # after the trial and the progress bar
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    reward = f"{tmp_path / 'late.py'}:reward"
    result = run("train", *train_flags, "--env.reward", reward, "--output", folder, "--overwrite")
    assert result.code == 4
    assert 'Reward "reward" returned nan for prompt' in result.err.splitlines()[-1]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in tmp_path.iterdir()} == {"run", "late.py"}


def test_weighted_rewards_and_another_agent(run, train_flags, tmp_path):
    reward = {"fit": {"function": "rouge_l", "weight": 2.0}, "words": {"function": "length", "weight": 0}}
    flags = [*train_flags, *NO_EVALUATION, "--agent.total_episodes", "8", "--agent.name", "reinforce"]
    result = run("train", *flags, "--env.reward", json.dumps(reward), "--output", tmp_path / "run")
    assert result.code == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["env"]["reward"] == reward
    first = history(tmp_path / "run")[0]
    penalty = first["objective/score_missing_eos_penalty"]
    assert first["objective/scores"] == pytest.approx(2 * first["objective/score_fit"] + penalty, abs=1e-5)
    assert not (tmp_path / "run" / "value_head.safetensors").exists()


def test_the_agent_of_the_readme_trains_from_a_file(run, train_flags, tmp_path):
    """One file outside the package, taken from the README, by its path; and a folder that evaluates like any other."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (code,) = [block.split("```")[0] for block in readme.split("```python") if "(PolicyGradient)" in block]
    assert len(code.strip().splitlines()) <= 30
    (tmp_path / "vanilla.py").write_text(code, encoding="utf-8")
    flags = [*train_flags, "--agent.name", f"{tmp_path}/vanilla.py:Vanilla", "--output", tmp_path / "run"]
    assert run("train", *flags, *NO_EVALUATION).code == 0
    assert json.loads((tmp_path / "run/prefgym.json").read_text())["agent"] == "vanilla"
    assert run("train", "--resume", "--output", tmp_path / "run").code == 0


def test_an_adapter_is_trained_evaluated_resumed_and_sampled(run, refused, train_flags, model_folder, tmp_path):
    folder = tmp_path / "run"
    assert run("train", *train_flags, "--agent.lora_rank", "2", "--output", folder).code == 0
    names = {"adapter_model.safetensors", "value_head.safetensors"}
    assert {file.name for file in folder.glob("*.safetensors")} == names
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["r"], settings["base_model_name_or_path"]) == (2, str(model_folder))
    assert "library_name: peft" in (folder / "README.md").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())["policies"]["trained"]
    assert run("evaluate", folder).code == 0  # merged; the samples are those of the adapter beside its base
    again = json.loads((folder / "evaluation" / "metrics.json").read_text())["policies"]["trained"]
    assert again["preference_score"] == pytest.approx(metrics["preference_score"], abs=1e-3)
    assert metrics["kl"] != 0
    assert len(run("sample", folder, "--limit", 2).out.splitlines()) == 2
    shutil.rmtree(folder / "evaluation")
    assert run("train", "--resume", "--output", folder).code == 0
    settings["base_model_name_or_path"] = str(tmp_path / "gone")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert "gone" in refused("sample", folder, "--limit", 2)


@pytest.fixture
def instruct_flags(train_flags) -> list[str]:
    """``train_flags`` in ``Instruct-v0``, with its own reward."""
    words = ("--env.id", "Instruct-v0", "--env.reward", "none", "--env.max_prompt_tokens", "100")
    return [*train_flags, *words, "--agent.total_episodes", "8"]


def test_instructions_are_trained_evaluated_sampled_and_played(run, instruct_flags, tmp_path, monkeypatch):
    """There is no gold preference here: what it would tell is null, and the report does not speak of it."""
    folder = tmp_path / "run"
    result = run("train", *instruct_flags, "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["judge"] == "rouge_l"
    assert metrics["data"] == {"name": "embedded instructions (test)", "synthetic": True}
    assert {"start", "trained", "references", "lead", "random_reference"} <= set(metrics["policies"])
    assert "oracle" not in metrics["policies"]
    for row in metrics["policies"].values():
        assert row["gold_score"] is row["preference_score"] is row["invented_facts"] is None
        assert 0 <= row["exact_match"] <= row["rouge_l"] <= 1
    assert metrics["policies"]["references"]["rouge_l"] == metrics["policies"]["references"]["exact_match"] == 1
    assert "gold" not in (folder / "report.md").read_text()
    assert [row["objective/score_exact_match"] >= 0 for row in history(folder)] == [True]
    assert run("evaluate", folder).code == 0
    again = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert again["policies"] == metrics["policies"]
    rows = [json.loads(line) for line in run("sample", folder, "--limit", 2).out.splitlines()]
    assert all(row["prompt"].startswith("### Instruction:") for row in rows)
    monkeypatch.setattr("sys.stdin", io.StringIO("e\n"))
    played = run("play", folder, "--index", 1)
    assert played.code == 0, played.err
    assert "### Response:" in played.out
    assert "rouge l" in played.out
    assert "gold" not in played.out


def test_responses_to_instructions_are_those_of_transformers_under_the_template_of_instructions(
    run, instruct_flags, tmp_path
):
    assert run("train", *instruct_flags, *NO_EVALUATION, "--output", tmp_path / "run").code == 0
    row = json.loads(run("sample", tmp_path / "run", "--greedy", "--limit", 1).out)
    model, tokenizer = (kind.from_pretrained(tmp_path / "run") for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = fit_prompt(lambda text: tokenizer.encode(text), INSTRUCT, row["prompt"], 100).ids
    written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0, len(ids) :]
    assert tokenizer.decode(written, skip_special_tokens=True).strip() == row["response"]


def test_a_training_that_diverges_says_so_in_one_line(run, train_flags, tmp_path):
    words = ("--agent.learning_rate", "1e30", "--agent.n_epochs", "2", "--output", tmp_path / "run")
    result = run("train", *train_flags, *NO_EVALUATION, *words)
    assert result.code == 1
    assert "training diverged, try a lower learning_rate" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
