"""``prefgym benchmark`` from files to a report, on tiny models, made-up tasks and the real files."""

import copy
import json
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytest.importorskip("lm_eval")

import yaml

from prefgym.commands import benchmark
from prefgym.data.benchmarks import FORMULATIONS
from prefgym.models.language_model import LanguageModel

ROW = {"score", "random", "normalised", "low", "high", "n"}
SHORT = ("--max-new-tokens", 4)


@pytest.fixture(scope="session")
def suites(tmp_path_factory) -> Path:
    """A small folder of each kind."""
    home = tmp_path_factory.mktemp("suites")
    for split in ("dev", "test"):
        (home / "mmlu" / split).mkdir(parents=True)
        rows = [f'"Number {i},\nwhat is it?",1,2,3,4,{"ABCD"[i % 4]}' for i in range(6)]
        (home / "mmlu" / split / f"law_{split}.csv").write_text("\r\n".join(rows), newline="")
    (home / "mmlu" / "dev" / "art_dev.csv").write_text("Q?,1,2,3,4,A")
    options = [{f"o{j}": int(j == 0) for j in range(2 + i % 3)} for i in range(6)]
    chosen = [{"input": f"  {i}  ", "target_scores": scores} for i, scores in enumerate(options)]
    grade = {"metrics": ["multiple_choice_grade"], "preferred_score": "multiple_choice_grade"}
    learned = {"metrics": ["bleurt"], "preferred_score": "bleurt"}
    same = [{"input": "a", "target_scores": {"b": 1, "c": 1}}]
    metrics = ["exact_str_match", "bleu", "rouge", "bleurt"]
    written = [{"input": f"{i} + 1", "target": [f"{i + 1}", "a number"]} for i in range(3)]
    for name, task in {
        "sums": {"metrics": metrics, "preferred_score": "exact_str_match", "examples": written},
        "counts": {**grade, "examples": chosen},
        "learned": {**learned, "examples": chosen},
        "same": {**grade, "examples": same},
    }.items():
        (home / "bigbench" / name).mkdir(parents=True)
        (home / "bigbench" / name / "task.json").write_text(json.dumps(task))
    (home / "bbh").mkdir()
    (home / "bbh" / "sums.json").write_text(json.dumps({"examples": [{"input": "1 + 1", "target": "2"}] * 3}))
    (home / "natural").mkdir()
    instances = [{"input": f"{i}", "output": ["one", "uno"]} for i in range(3)]
    task = {"Definition": "Say it.", "Positive Examples": [{"input": "2", "output": "two"}], "Instances": instances}
    (home / "natural" / "task1.json").write_text(json.dumps(task))
    return home


@pytest.fixture(scope="session")
def other_folder(language_model, tmp_path_factory) -> Path:
    """Another model than that of ``model_folder``."""
    model = language_model.copy()
    for parameter in model.model.parameters():
        parameter.data = parameter.data.flip(0)
    folder = tmp_path_factory.mktemp("models") / "other"
    LanguageModel(model.model, model.tokenizer, "other").save(folder)
    return folder


def everything(suites: Path) -> tuple[object, ...]:
    flags = {"mmlu": "mmlu", "bigbench": "bigbench", "bbh": "bbh", "natural-instructions": "natural"}
    return tuple(word for flag, folder in flags.items() for word in (f"--{flag}", suites / folder))


def test_one_model_on_every_kind_of_file(run, model_folder, suites, tmp_path):
    folder = tmp_path / "report"
    result = run("benchmark", model_folder, *everything(suites), *SHORT, "--shots", 2, "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    tasks = metrics["tasks"]
    names = ["mmlu/law", "bigbench/counts", "bigbench/sums", "bbh/sums", "natural-instructions/task1"]
    assert list(tasks) == names
    for row in [*tasks.values(), *metrics["suites"].values(), metrics["average"], metrics["average_of_suites"]]:
        assert row.keys() >= ROW
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1
        assert row["normalised"] <= 1
    assert [tasks[name]["random"] for name in names] == pytest.approx([1 / 4, (1 / 2 + 1 / 3 + 1 / 4) / 3, 0, 0, 0])
    assert [tasks[name]["n"] for name in names] == [6, 6, 3, 3, 3]
    assert [tasks[name]["shots"] for name in names] == [2, 2, 2, 0, 1]
    assert metrics["suites"].keys() == {"mmlu", "bigbench", "bbh", "natural-instructions"}
    assert tasks["natural-instructions/task1"]["metrics"].keys() == {"exact_match"}
    assert tasks["bigbench/sums"]["metrics"].keys() == {"bleu", "rouge1", "rouge2", "rougeLsum"}
    assert "bigbench/sums: not measured: bleurt" in result.out
    unscored = {"mmlu/art", "bigbench/learned", "bigbench/same"}
    assert metrics["unscored"].keys() == unscored
    report = (folder / "report.md").read_text()
    for name in [*names, *unscored]:
        assert name in result.out
        assert name in report
    assert "there are 1 demonstrations to show, not 2" in result.out
    assert "expect random guessing" in report.splitlines()[0]
    assert "## Not scored" in report
    for file in ("report.html", "scores.png", "normalised.png"):
        assert (folder / file).stat().st_size > 5000
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["models"] == [str(model_folder)]
    assert config["shots"] == 2
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 21
    assert "\nQ:   0  \n  choice: o" in rows[6]["prompt"]
    assert rows[6]["prompt"].endswith("\nA: ")
    assert rows[6]["right"] == ["o0"]
    for name in names:
        scores = [row["scores"][str(model_folder)] for row in rows if row["task"] == name]
        assert sum(scores) / len(scores) == pytest.approx(tasks[name]["score"])
    events = EventAccumulator(str(next((folder / "tensorboard").iterdir()))).Reload()
    (point,) = events.Scalars("benchmark/score/mmlu/law")
    assert point.value == pytest.approx(tasks["mmlu/law"]["score"])


def test_two_models_have_a_before_an_after_and_a_gain(run, model_folder, other_folder, suites, tmp_path):
    folder, flags = tmp_path / "both", ("--mmlu", suites / "mmlu", "--bigbench", suites / "bigbench", *SHORT)
    result = run("benchmark", model_folder, other_folder, *flags, "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    first, second = metrics["models"].values()
    assert list(metrics["models"]) == [str(model_folder), str(other_folder)]
    gains = metrics["gains"][str(other_folder)]
    for name, row in gains["tasks"].items():
        assert row["before"] == pytest.approx(first["tasks"][name]["score"])
        assert row["after"] == pytest.approx(second["tasks"][name]["score"])
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["gain"] == pytest.approx(row["after"] - row["before"])
    expected = second["average"]["normalised"] - first["average"]["normalised"]
    assert gains["average"]["normalised_gain"] == pytest.approx(expected)
    for text in ("before", "after", "normalised gain"):
        assert text in result.out
        assert text in (folder / "report.md").read_text()
    alone = tmp_path / "alone"
    assert run("benchmark", other_folder, *flags, "--output", alone, "--batch-size", 3).code == 0
    assert json.loads((alone / "metrics.json").read_text())["tasks"] == second["tasks"]


def test_options_are_chosen_by_letter_and_by_their_text(run, model_folder, suites, tmp_path):
    flags = ("--mmlu", suites / "mmlu", "--bigbench", suites / "bigbench", *SHORT)
    folder = tmp_path / "both"
    result = run("benchmark", model_folder, *flags, "--formulation", "both", "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    again = ["mmlu (cloze)/law", "bigbench (cloze)/counts"]
    assert list(metrics["tasks"]) == ["mmlu/law", again[0], "bigbench/counts", again[1], "bigbench/sums"]
    law = metrics["tasks"][again[0]]
    assert (law["metric"], law["random"], law["longest_option"]) == ("acc_norm", 0.25, 0.25)
    assert law["metrics"].keys() == {"acc", "acc_bytes"}
    assert "longest_option" not in metrics["tasks"]["mmlu/law"]
    page = (folder / "report.md").read_text()
    for text in (result.out, page):
        assert again[0] in text
        assert "longest option" in text
        assert "all tasks asked again (cloze)" in text
    assert "arXiv:2406.08446" in page
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    asked = next(row for row in rows if row["task"] == again[0])
    assert asked["prompt"].endswith("Question: Number 0,\nwhat is it?\nAnswer:")
    assert asked["right"] == ["1"]
    plain = tmp_path / "plain"
    assert run("benchmark", model_folder, *flags, "--output", plain).code == 0
    before = json.loads((plain / "metrics.json").read_text())
    assert before["tasks"] == {name: row for name, row in metrics["tasks"].items() if name not in again}
    assert before["average"] == metrics["average"]


def test_models_are_asked_through_their_chat_template(run, refused, model_folder, language_model, suites, tmp_path):
    tokenizer = copy.deepcopy(language_model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}"
    chat = tmp_path / "chat"
    LanguageModel(language_model.model, tokenizer, "chat").save(chat)
    flags = ("--mmlu", suites / "mmlu", "--shots", 1, "--apply-chat-template", "--output")
    result = run("benchmark", chat, *flags, tmp_path / "report")
    assert result.code == 0, result.err
    page = (tmp_path / "report" / "report.md").read_text()
    assert "through each model's chat template." in page.splitlines()[0]
    assert "each demonstration a turn of the user and one of the assistant" in page
    line = refused("benchmark", chat, model_folder, *flags, tmp_path / "none")
    assert f"{model_folder} has no chat template; leave apply_chat_template out" in line
    assert not (tmp_path / "none").exists()


def test_a_run_folder_and_the_embedded_models_can_be_asked(run, finished_run, suites, tmp_path):
    flags = ("--mmlu", suites / "mmlu", "--limit", 2, "--output", tmp_path / "report")
    result = run("benchmark", finished_run, "embedded/pretrained", *flags)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert [figures["tasks"]["mmlu/law"]["n"] for figures in metrics["models"].values()] == [2, 2]


def test_a_prompt_too_long_for_the_model_is_told(run, model_folder, tmp_path):
    (tmp_path / "bbh").mkdir()
    examples = [{"input": "word " * 200, "target": "a"}, {"input": "short", "target": "b"}]
    (tmp_path / "bbh" / "long.json").write_text(json.dumps({"examples": examples}))
    result = run("benchmark", model_folder, "--bbh", tmp_path, *SHORT, "--output", tmp_path / "report")
    assert result.code == 0, result.err
    told = f"1 of 2 prompts exceed the context of {model_folder}, and lost their beginning"
    assert told in result.out
    assert told in (tmp_path / "report" / "report.html").read_text()
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["tasks"]["bbh/long"]["cut"] == 1


REAL = {
    "--mmlu": ("mmlu", 4, 25),
    "--bigbench": ("bigbench", 4, 0),
    "--bbh": ("bigbench/bbh", 8, 0),
    "--natural-instructions": ("natural-instructions", 11, 0),
}


def test_all_the_real_files_run_through(run, real_data, model_folder, tmp_path):
    folders = [word for flag, (folder, *_) in REAL.items() for word in (flag, real_data / folder)]
    folder = tmp_path / "report"
    result = run("benchmark", model_folder, *folders, "--limit", 3, "--shots", 1, *SHORT, "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["tasks"]) == sum(scored for _, scored, _ in REAL.values())
    assert len(metrics["unscored"]) == sum(unscored for *_, unscored in REAL.values())
    assert {row["n"] for row in metrics["tasks"].values()} == {3}
    dates = metrics["tasks"]["bigbench/task_json/date_understanding"]
    assert 1 / 6 <= dates["random"] <= 1 / 5
    assert metrics["tasks"]["mmlu/formal_logic"]["random"] == 0.25
    assert metrics["tasks"]["bbh/navigate"]["random"] == 0
    draft = "natural-instructions/task142_odd-man-out_classification_no_category"
    assert draft in metrics["tasks"]


# bad input


@pytest.fixture
def refuses(refused, model_folder, tmp_path):
    """``refuses("--mmlu", folder)`` -> the one line on stderr; no folder may be left."""

    def call(*words: object) -> str:
        line = refused("benchmark", model_folder, *words, "--output", tmp_path / "out" / "report")
        assert not (tmp_path / "out").exists()
        return line

    return call


def test_something_must_be_named(refused, refuses, suites):
    assert "Name at least one model" in refused("benchmark", "--mmlu", suites / "mmlu")
    assert "Name at least one benchmark" in refuses()
    assert "is named twice" in refused("benchmark", "embedded/start", "embedded/start", "--mmlu", suites / "mmlu")
    assert 'no option "--mmmlu". Did you mean "--mmlu"?' in refuses("--mmmlu", suites / "mmlu")
    assert "limit is 0, but must be at least 1" in refuses("--mmlu", suites / "mmlu", "--limit", 0)


def test_a_folder_or_a_model_that_is_not_there_is_named(refused, refuses, suites, tmp_path):
    assert 'Did you mean "mmlu"?' in refuses("--mmlu", suites / "mmmlu")
    assert "holds no benchmark file" in refuses("--bbh", suites / "mmlu")
    missing = refused("benchmark", tmp_path / "none", "--mmlu", suites / "mmlu", "--output", tmp_path / "out")
    assert f'There is no model folder "{tmp_path / "none"}"' in missing
    assert not (tmp_path / "out").exists()


def test_broken_files_are_named_with_line_or_key(refuses, tmp_path):
    (tmp_path / "test").mkdir()
    rows = tmp_path / "test" / "law_test.csv"
    rows.write_text("Q?,1,2,3,4,A\nQ?,1,2,3,B\n")
    assert f"Line 2 of {rows} has 5 values" in refuses("--mmlu", tmp_path)
    rows.write_text("Q?,1,2,3,4,A\nQ?,1,2,3,4,X\n")
    assert f'Line 2 of {rows} has the answer "X", not one of A, B, C, D.' in refuses("--mmlu", tmp_path)
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"metrics": ["multiple_choice_grade"], "examples": [{"target_scores": {"a": 1}}]}))
    assert f'{task}: examples[0] has no "input"' in refuses("--bigbench", tmp_path)
    task.write_text(json.dumps({"metrics": ["exact_string_match"], "examples": [{"input": "a", "target": "b"}]}))
    assert f'{task}: metrics names the metric "exact_string_match"' in refuses("--bigbench", tmp_path)
    task.write_text("{")
    assert f"Broken JSON at line 1 of {task}" in refuses("--bigbench", tmp_path)


def test_nothing_to_score_is_no_success(refuses, tmp_path):
    row = {"metrics": ["bleurt"], "examples": [{"input": "a", "target": "b"}]}
    (tmp_path / "task.json").write_text(json.dumps(row))
    line = refuses("--bigbench", tmp_path)
    assert f'None of these tasks can be scored; bigbench/{tmp_path.name}: its preferred score is "bleurt"' in line


def test_a_budget_that_leaves_no_room_is_refused(refuses, suites):
    assert "lower --max-new-tokens 128" in refuses("--bbh", suites / "bbh")


def test_without_the_harness_one_sentence_tells_how_to_install_it(refuses, suites, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert 'needs the package lm-eval: pip install "prefgym[eval]"' in refuses("--mmlu", suites / "mmlu")


def test_help_teaches(run):
    result = run("benchmark", "--help")
    assert result.code == 0
    assert next(one.choices for one in benchmark.OPTIONS if one.key == "formulation") == FORMULATIONS
    for text in ("--natural-instructions DIR", "random guess", "prefgym[eval]", "--limit", "--shots", "--batch-size"):
        assert text in result.out


def test_a_report_is_replaced_only_when_asked(run, refused, model_folder, suites, tmp_path):
    flags = ("benchmark", model_folder, "--mmlu", suites / "mmlu", "--limit", 1, "--output", tmp_path / "report")
    assert run(*flags).code == 0
    assert "already holds a run" in refused(*flags)
    assert run(*flags, "--overwrite").code == 0


def test_an_interrupted_benchmark_goes_on_with_the_tasks_that_are_left(model_folder, other_folder, suites, tmp_path):
    from prefgym.config import COMMAND_LINE, resolve
    from prefgym.evaluation.benchmarks import harness

    flags = {"mmlu": str(suites / "mmlu"), "bigbench": str(suites / "bigbench"), "max_new_tokens": 4}
    config = resolve(benchmark.OPTIONS, [(COMMAND_LINE, flags)])
    suite = benchmark._read(config)
    asked, run_tasks = [], harness.run_tasks
    with pytest.MonkeyPatch.context() as patch:

        def counted(model, tasks, **options):
            if stop and len(asked) == stop:
                raise KeyboardInterrupt
            asked.extend(task.name for task in tasks)
            return run_tasks(model, tasks, **options)

        patch.setattr(harness, "run_tasks", counted)
        stop = 2
        with pytest.raises(KeyboardInterrupt):
            benchmark._ask(str(model_folder), suite, config, tmp_path / "parts")
        stop = 0
        for name in (model_folder, other_folder):
            whole = benchmark._ask(str(name), suite, config, tmp_path / f"whole-{name.name}")
            asked.clear()
            found = benchmark._ask(str(name), suite, config, tmp_path / "parts")
            assert len(asked) == len(suite.tasks) - (2 if name == model_folder else 0)
            assert list(found) == list(whole) == [task.name for task in suite.tasks]
            for task, result in whole.items():
                assert found[task].scores.tobytes() == result.scores.tobytes()
                assert (found[task].said, found[task].shots, found[task].cut) == (result.said, result.shots, result.cut)
        asked.clear()
        other = resolve(benchmark.OPTIONS, [(COMMAND_LINE, {**flags, "shots": 1})])
        benchmark._ask(str(model_folder), suite, other, tmp_path / "parts")
        assert len(asked) == len(suite.tasks)


def test_models_of_any_name_have_folders_of_their_own():
    from prefgym.commands.benchmark import folder_names

    names = [
        "../../up",
        "/etc/passwd",
        "a\x00b",
        "\ud83d",
        "日本",
        "x" * 400,
        "x" * 401,
        "..",
        "",
        "A",
        "a",
        "a\nb",
        "CON:",
    ]
    found = folder_names(names)
    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert name.isascii()
        assert len(name) < 100
        assert name.strip(".") == name
        assert not set(name) & set("/\\\x00\n:")
