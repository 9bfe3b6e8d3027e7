"""What a user can get wrong: one sentence that names it, exit code 2, no folder left behind."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

POSTS = [{"prompt": f"My dog {i} ate my shoe. What now?", "reference": f"Dog {i} ate a shoe."} for i in range(12)]


@pytest.fixture
def refuses_to_train(refused, train_flags, tmp_path):
    """``refuses_to_train("--seed", -1)`` -> the one line on stderr; no folder may be left."""

    def call(*words: object) -> str:
        folder = tmp_path / "out" / "run"
        line = refused("train", *train_flags, "--output", folder, *words)
        assert not folder.parent.exists()
        return line

    return call


@pytest.fixture
def refuses_comparisons(refused, model_folder, tmp_path):
    """``refuses_comparisons(rows)`` -> the one line on stderr of ``prefgym reward`` on these rows."""

    def call(rows: list[dict] | str, *words: object) -> str:
        file, folder = tmp_path / "pairs.jsonl", tmp_path / "reward"
        file.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
        line = refused("reward", "--data.comparisons", file, "--model", model_folder, "--output", folder, *words)
        assert not folder.exists()
        return line

    return call


def names(line: str, *words: object) -> None:
    for word in words:
        assert str(word) in line, line


# Files.


def test_missing_file(refuses_to_train, tmp_path):
    (tmp_path / "posts.jsonl").write_text("{}\n")
    names(refuses_to_train("--data.prompts", tmp_path / "post.jsonl"), "post.jsonl", 'Did you mean "posts.jsonl"?')
    names(refuses_to_train("--data.prompts", "nowhere/posts.jsonl"), "nowhere/posts.jsonl")


def test_empty_file(refuses_to_train, tmp_path):
    for content in ("", "\n \n"):
        (tmp_path / "posts.jsonl").write_text(content)
        names(refuses_to_train("--data.prompts", tmp_path / "posts.jsonl"), "posts.jsonl", "empty")


def test_broken_json_names_the_line(refuses_to_train, tmp_path):
    rows = [json.dumps(row) for row in POSTS]
    rows[6] = '{"prompt": "broken'
    (tmp_path / "posts.jsonl").write_text("\n".join(rows))
    names(refuses_to_train("--data.prompts", tmp_path / "posts.jsonl"), "posts.jsonl", "line 7")


def test_missing_column_names_the_nearest(refuses_to_train, write_rows):
    file = write_rows("posts.jsonl", [{"promt": row["prompt"]} for row in POSTS])
    line = refuses_to_train("--data.prompts", file)
    names(line, file, '"prompt"', 'Did you mean "promt"?', "--data.prompt_column")
    names(refuses_to_train("--data.prompts", file, "--data.prompt_column", "post"), '"post"', "promt")


def test_a_reward_without_its_column(refuses_to_train, write_rows):
    file = write_rows("posts.jsonl", [{"prompt": row["prompt"], "refrence": "x"} for row in POSTS])
    flags = ("--data.prompts", file, "--env.reward", "my_reward.py:score")
    Path(file.parent / "my_reward.py").write_text("def score(prompts, completions, refrences): return []\n")
    line = refuses_to_train(*flags[:3], f"{file.parent / 'my_reward.py'}:score")
    names(line, '"score"', '"refrences"', 'Did you mean "refrence"?')


def test_empty_prompt_names_the_line(refuses_to_train, write_rows):
    rows = [*POSTS[:4], {"prompt": "  ", "reference": "x"}, *POSTS[4:]]
    names(refuses_to_train("--data.prompts", write_rows("posts.jsonl", rows)), "line 5", "posts.jsonl", "prompt")


def test_too_few_prompts_to_hold_some_out(refuses_to_train, write_rows):
    file = write_rows("posts.jsonl", POSTS[:1])
    names(refuses_to_train("--data.prompts", file), "1 distinct prompts")
    names(refuses_to_train("--data.prompts", file, "--data.held_out", "1"), "data.held_out", "below 1")


# Budgets and numbers.


def test_template_plus_budget_that_does_not_fit_the_context(refuses_to_train):
    line = refuses_to_train("--env.max_prompt_tokens", 120, "--env.max_new_tokens", 20)
    names(line, "max_prompt_tokens=120", "max_new_tokens=20", "128")
    names(refuses_to_train("--env.max_prompt_tokens", 3), "template", "max_prompt_tokens=3")
    names(refuses_to_train("--env.template", "no place"), "{prompt}", "no place")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("env.max_new_tokens", 0, "at least 1"),
        ("env.kl_coef", -0.1, "at least 0"),
        ("env.temperature", 0, "above 0"),
        ("agent.learning_rate", -1e-4, "above 0"),
        ("agent.warmup", 1, "below 1"),
        ("agent.total_episodes", 0, "at least 1"),
        ("agent.samples_per_prompt", 3, "multiple"),
        ("evaluation.prompts", -1, "at least 0"),
    ],
)
def test_numbers_out_of_range_name_their_key(refuses_to_train, option, value, said):
    names(refuses_to_train(f"--{option}", value), option.rpartition(".")[2], said)


# Names.


def test_unknown_key_agent_and_preset_name_the_nearest(refuses_to_train, tmp_path):
    names(refuses_to_train("--env.kl_cof", 1), "--env.kl_cof", 'Did you mean "--env.kl_coef"?')
    names(refuses_to_train("--agent.name", "poo"), '"poo"', "ppo, reinforce", 'Did you mean "ppo"?')
    names(refuses_to_train("--agent.name", "mine.py:Mine"), 'no file "mine.py"')
    names(refuses_to_train("--agent.name", "prefgym.agents.PPPO"), 'has no class "PPPO"', 'Did you mean "PPO"?')
    names(refuses_to_train("--agent.name", "prefgym.agents.LMPolicy"), "is not an agent", "PolicyGradient")
    names(refuses_to_train("--config", "tldr-pro"), '"tldr-pro"', 'Did you mean "tldr-ppo"?')
    names(refuses_to_train("--config", tmp_path / "none.yaml"), "none.yaml", "does not exist")
    (tmp_path / "mine.yaml").write_text("agent:\n  learning_rte: 1\n")
    names(refuses_to_train("--config", tmp_path / "mine.yaml"), "mine.yaml", 'Did you mean "agent.learning_rate"?')
    names(refuses_to_train("--env.kl_estimator", "k4"), "k1, k2, k3, exact")
    names(refuses_to_train("--agent.lr_schedule", "linaer"), 'Did you mean "linear"?')
    names(refuses_to_train("--agent.optimizer", "adamw"), 'agent.optimizer "adamw"', 'Did you mean "AdamW"?')
    names(refuses_to_train("--env.device", "gpu"), "gpu")


def test_a_device_that_this_machine_has_not(run, train_flags, tmp_path):
    result = run("train", *train_flags, "--output", tmp_path / "run", "--env.device", "cuda:99")
    assert result.code == 3
    names(result.err, "cuda:99", "cannot be used")
    assert not (tmp_path / "run").exists()


def test_environments_that_do_not_fit(refuses_to_train):
    names(refuses_to_train("--env.id", "Enumerable-v0"), "Enumerable-v0", "Summarize-v0, Instruct-v0")
    names(refuses_to_train("--env.id", "Instruct"), 'Did you mean "Instruct-v0"?')
    instruct = ("--env.id", "Instruct-v0", "--env.max_prompt_tokens", 100)
    names(refuses_to_train(*instruct, "--env.reward", "gold"), '"gold" needs the column "facts"')
    names(refuses_to_train(*instruct, "--evaluation.judge", "gold"), "evaluation.judge", "embedded posts only")


# Model folders.


def test_model_folder_that_is_not_there(refuses_to_train, tmp_path):
    names(refuses_to_train("--env.model", tmp_path / "nothing"), "nothing")


def test_model_folder_without_weights(refuses_to_train, model_folder, tmp_path):
    bare = shutil.copytree(model_folder, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    names(refuses_to_train("--env.model", bare), "bare", "no weights")


def test_model_folder_with_pickle_weights_only(refuses_to_train, model_folder, tmp_path):
    pickled = shutil.copytree(model_folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    names(refuses_to_train("--env.model", pickled), "pickled", "pickle", "safetensors")


def test_model_folder_with_another_vocabulary(refuses_to_train, model_folder, tmp_path):
    other = shutil.copytree(model_folder, tmp_path / "other")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(other)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(30)])
    tokenizer.save_pretrained(other)
    rows = load_file(other / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    names(refuses_to_train("--env.model", other), "other", "vocabulary", rows, rows + 30)


# Rewards.

REWARDS = {
    "raises": ("def reward(prompts, completions): raise OSError('no\\nservice')", ["OSError", "no service", "prompt "]),
    "nan": ("def reward(prompts, completions): return [float('nan')] * len(prompts)", ["nan", "prompt "]),
    "none": ("def reward(prompts, completions): return [None] * len(prompts)", ["None", "prompt "]),
    "count": ("def reward(prompts, completions): return [1.0]", ["1 values for 4", "prompt "]),
    "bytes": ("def reward(prompts, completions): return [b'1'] * len(prompts)", ["b'1'", "prompt "]),
    "exit": ("import sys\ndef reward(prompts, completions): sys.exit(0)", ["SystemExit", "prompt ", "0"]),
    "midway": ("def reward(prompts, completions):\n    yield 1.0\n    raise KeyError('a')", ["KeyError", "prompt "]),
    "syntax": ("def reward(:", ["SyntaxError"]),
    "exit at import": ("raise SystemExit(0)", ["SystemExit: 0", "could not be imported"]),
}


@pytest.mark.parametrize("kind", REWARDS)
def test_a_reward_that_fails_stops_before_training(run, train_flags, kind, tmp_path):
    code, words = REWARDS[kind]
    (tmp_path / f"{kind}.py").write_text(code + "\n")
    out = tmp_path / "out" / "run"
    result = run("train", *train_flags, "--output", out, "--env.reward", f"{tmp_path / kind}.py:reward")
    assert result.code == 4
    assert len(result.err.splitlines()) == 1, result.err
    assert not out.parent.exists()
    names(result.err, *words)


def test_a_reward_that_is_nowhere(refuses_to_train, tmp_path):
    names(refuses_to_train("--env.reward", "goldd"), '"goldd"', 'Did you mean "gold"?')
    names(refuses_to_train("--env.reward", "nowhere.py:score"), "nowhere.py")
    names(refuses_to_train("--env.reward", "nowhere:score"), "nowhere")
    (tmp_path / "mine.py").write_text("def rewards(prompts, completions): return []")
    names(refuses_to_train("--env.reward", f"{tmp_path}/mine.py:reward"), '"reward"', 'Did you mean "rewards"?')
    names(refuses_to_train("--env.reward", "{a: {function: gold, wieght: 1}}"), "wieght", 'Did you mean "weight"?')


def test_a_judge_that_is_nowhere_is_refused_before_training(refuses_to_train):
    names(refuses_to_train("--evaluation.judge", "goldd"), '"goldd"', 'Did you mean "gold"?')


# Output folders.


def test_an_output_folder_that_holds_something(refused, train_flags, finished_run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    names(refused("train", *train_flags, "--output", finished_run), finished_run, "already holds a run", "--overwrite")
    assert before == {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    (tmp_path / "thesis.tex").write_text("years of work")
    names(refused("train", *train_flags, "--output", tmp_path, "--overwrite"), tmp_path, "holds other files")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    names(refused("train", *train_flags, "--output", tmp_path / "thesis.tex"), "thesis.tex", "is a file")
    names(refused("train", *train_flags, "--output", tmp_path / "thesis.tex" / "run"), "thesis.tex")


def test_resuming_what_cannot_be_resumed(refused, finished_run, tmp_path):
    names(refused("train", "--resume"), "--resume", "--output")
    names(refused("train", "--resume", "--output", tmp_path / "none"), "none", "holds no run")
    run = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "iteration-000001")  # or it would be gone on with
    last = run / "checkpoints" / "iteration-000002"
    for name in ("state.json", "state.safetensors", "model.safetensors", "prefgym.json"):
        whole = (last / name).read_bytes()
        (last / name).write_bytes(whole[: len(whole) // 2])
        names(refused("train", "--resume", "--output", run), "iteration-000002", "checkpoint")
        (last / name).write_bytes(whole)
    (last / "state.safetensors").unlink()
    names(refused("train", "--resume", "--output", run), "iteration-000002")
    (run / "config.yaml").write_text("")
    names(refused("train", "--resume", "--output", run), "config.yaml", "not the config of a run")


# Comparisons and pairs.

COMPARISON = {"prompt": "Which?", "chosen": "this", "rejected": "that"}


def test_comparisons_that_are_none(refuses_comparisons):
    names(refuses_comparisons(""), "pairs.jsonl", "empty")
    names(refuses_comparisons('{"prompt": 1}\n{'), "pairs.jsonl", "line 2")
    names(refuses_comparisons([{"prompt": "a", "chose": "b", "rejected": "c"}]), '"chosen"', 'Did you mean "chose"?')
    names(refuses_comparisons([COMPARISON, {**COMPARISON, "prompt": ""}]), "line 2", "prompt")
    names(refuses_comparisons([COMPARISON, {**COMPARISON, "chosen": "that "}]), "line 2", '"chosen"', '"rejected"')


def test_a_label_outside_its_range(refuses_comparisons):
    flags = ("--data.first_column", "a", "--data.second_column", "b", "--data.label_column", "label")
    rows = [{"prompt": "p", "a": "x", "b": "y", "label": 1}, {"prompt": "q", "a": "x", "b": "y", "label": 3}]
    names(refuses_comparisons(rows, *flags), "3", "label", "line 2")
    names(refuses_comparisons(rows, *flags, "--data.label_map", "1=first,3=secnd"), "secnd", 'Did you mean "second"?')
    names(refuses_comparisons(rows, *flags[:4]), "label_column")


def test_too_few_comparisons_to_cross_validate(refuses_comparisons):
    names(refuses_comparisons([COMPARISON]), "2 prompts", "--folds 0")


def test_commands_need_their_data(refused, model_folder, tmp_path):
    names(refused("reward"), "--data.comparisons")
    names(refused("sft"), "--data.pairs")
    names(refused("evaluate"), "prefgym evaluate RUN")
    names(refused("sample", "a", "b"), "prefgym sample RUN")
    names(refused("evaluate", tmp_path / "none"), "none", "no run folder")
    (tmp_path / "sub").mkdir()
    names(refused("sample", tmp_path / "sub"), "sub", "config.json")


def test_pairs_that_are_none(refused, write_rows, model_folder, tmp_path):
    def refuse(rows: list[dict], *words: object) -> str:
        flags = ("--data.pairs", write_rows("pairs.jsonl", rows), "--model", model_folder)
        line = refused("sft", *flags, "--output", tmp_path / "sft", *words)
        assert not (tmp_path / "sft").exists()
        return line

    names(refuse([{"instrution": "a", "output": "b"}]), '"instruction"', 'Did you mean "instrution"?')
    names(refuse([{"instruction": "a", "output": "b"}, {"instruction": "a", "output": ""}]), "line 2", "output")
    names(refuse([{"instruction": "a", "output": "word " * 200}]), "pair 1", "pairs.jsonl", "128 tokens")
    names(refuse([{"instruction": "a", "output": "b"}], "--data.held_out", 1), "data.held_out")
    names(refuse([{"instruction": "a", "output": "b"}], "--training.learning_rate", 0), "training.learning_rate")
    names(refuse([{"instruction": "a", "output": "b"}], "--training.warmup", 1), "training.warmup", "below 1")


def test_sampling_does_not_write_over_a_file(refused, finished_run, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    names(refused("sample", finished_run, "--output", tmp_path / "out.jsonl"), "out.jsonl", "--overwrite")
    names(refused("sample", finished_run, "--output", tmp_path), "is a folder")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
