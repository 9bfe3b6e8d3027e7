"""``prefgym label``, fed with lines as from a pipe, and with a model in a person's place."""

import io
import json
import re

import numpy as np
import pytest

from prefgym.data.comparisons import load_comparisons
from prefgym.data.label_file import LabelFile
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.ai_feedback import LanguageModelAnnotator
from prefgym.rewards.preference_model import PreferenceModel

ROWS = [{"prompt": f"Question {i}?", "first": f"please {i}", "second": f"just {i}"} for i in range(8)]


@pytest.fixture
def typed(monkeypatch):
    """``typed("1", "t")``: the lines that standard input will give, then its end."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def file(write_rows):
    return write_rows("pairs.jsonl", ROWS)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "labels.jsonl"


def screens(out):
    """What was shown as 1 and as 2, in order."""
    return re.findall(r"\n1\n  (.+)\n\n2\n  (.+)\n", out)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]


def questions(out):
    """Both texts as they were shown, whatever line breaks they hold."""
    return re.findall(r"\n1\n(.*?)\n1, 2, t, s, u, q> ", out, re.DOTALL)


def names(line, *words):
    for word in words:
        assert str(word) in line, line


def test_answers_name_the_text_that_was_shown_and_the_file_keeps_its_order(run, typed, file, output):
    typed("1", "2", "t", *"12121")
    result = run("label", file, "--output", output)
    assert result.code == 0, result.err
    shown, rows = screens(result.out), rows_of(output)
    assert len(shown) == len(rows) == 8
    assert [{key: row[key] for key in ROWS[0]} for row in rows] == ROWS
    assert {row["annotator"] for row in rows} == {"human"}
    for row, texts, answer in zip(rows, shown, ["1", "2", "t", *"12121"], strict=True):
        if answer == "t":
            assert row["label"] == "tie"
        else:
            assert row[row["label"]] == texts[int(answer) - 1]
    swapped = [texts == (row["second"], row["first"]) for row, texts in zip(rows, shown, strict=True)]
    assert set(swapped) == {True, False}
    assert "0 of 8 labelled" in result.out
    assert "7 of 8 labelled" in result.out
    assert "8 labelled now (1 of them ties), 0 skipped; 8 of 8 by human; 8 in" in result.out


def test_the_seed_decides_which_is_shown_first(run, typed, file, output):
    def shown(seed):
        typed(*["s"] * 8)
        return screens(run("label", file, "--output", output, "--seed", seed).out)

    assert shown(0) == shown(0) != shown(1)
    assert not output.exists()


def test_a_stopped_session_goes_on_and_skipped_pairs_come_again(run, typed, file, output):
    typed("1", "s", "2", "q")
    first = run("label", file, "--output", output)
    assert "2 labelled now (0 of them ties), 1 skipped; 2 of 8 by human" in first.out
    typed("1", "t")
    second = run("label", file, "--output", output)
    assert "2 of 8 labelled" in second.out
    assert [row["prompt"] for row in rows_of(output)] == [f"Question {i}?" for i in (0, 2, 1, 3)]
    assert screens(second.out)[0] == screens(first.out)[1]
    typed("1")
    other = run("label", file, "--output", output, "--name", "Bob", "--limit", 1)
    assert "1 of 1 by Bob; 5 in" in other.out
    typed()
    assert "0 labelled now" in run("label", file, "--output", output, "--limit", 4).out


def test_undo_takes_back_answers_and_skips(run, typed, file, output):
    typed("u", "1", "2", "s", "u", "u", "t", "u", "u", "1", "q")
    result = run("label", file, "--output", output)
    assert result.code == 0
    assert "nothing to undo" in result.out
    (row,) = rows_of(output)
    assert row["prompt"] == "Question 0?"
    shown = screens(result.out)
    order = [int(re.search(r"\d", texts[0])[0]) for texts in shown]
    assert order == [0, 1, 2, 3, 2, 1, 2, 1, 0, 1]


def test_nonsense_is_told_and_help_is_there(run, typed, file, output):
    typed("3", "?", "1", "q")
    out = run("label", file, "--output", output).out
    assert 'not "3"' in out
    assert out.count("Which of the two responses is better?") == 2
    assert len(screens(out)) == 2
    assert len(rows_of(output)) == 1


def test_ctrl_c_ends_in_one_line_and_keeps_what_was_said(run, file, output, monkeypatch):
    read = iter(["1", "2"])

    def interrupted(prompt):
        try:
            return next(read)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("builtins.input", interrupted)
    result = run("label", file, "--output", output)
    assert result.code == 130
    assert result.err.startswith("prefgym label: you left; 2 labelled now")
    assert len(result.err.splitlines()) == 1
    assert len(rows_of(output)) == 2


def test_what_is_labelled_trains_a_reward(run, typed, model_folder, write_rows, output, tmp_path):
    rows = [{**row, "prompt": f"Question {i % 6}?"} for i, row in enumerate(ROWS * 3)]
    rows = [{**row, "first": f"{row['first']} {i}", "second": f"{row['second']} {i}"} for i, row in enumerate(rows)]
    file = write_rows("many.jsonl", rows)
    for name in ("Ann", "Bob"):
        typed(*["t" if i % 6 == 5 else "1" for i in range(24)])
        assert run("label", file, "--output", output, "--name", name).code == 0
    flags = ("--model", model_folder, "--folds", 2, "--training.epochs", 1, "--output", tmp_path / "reward")
    result = run("reward", "--data.comparisons", output, *flags)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "reward" / "metrics.json").read_text())
    assert metrics["agreement"]["n"] == 24
    assert metrics["agreement"]["mean"] == pytest.approx((20 + 4 / 2) / 24)
    crossed = metrics["cross_validation"]
    assert {name: rate["n"] for name, rate in crossed["by_annotator"].items()} == {"Ann": 24, "Bob": 24}
    assert sum(c.tie for c in load_comparisons(output)) == 8


def test_two_responses_of_a_run_to_each_prompt(run, typed, finished_run, write_rows, posts, output):
    file = write_rows("posts.jsonl", [*posts[:5], posts[0]])
    typed("1", "s", "2", "q")
    first = run("label", file, "--run", finished_run, "--output", output)
    assert first.code == 0, first.err
    assert "0 of 5 labelled" in first.out
    rows = rows_of(output)
    assert [row["prompt"] for row in rows] == [posts[0]["prompt"], posts[2]["prompt"]]
    assert all(row["first"] != row["second"] for row in rows)
    typed("1")
    second = run("label", file, "--run", finished_run, "--output", output)
    assert "2 of 5 labelled" in second.out
    assert questions(second.out)[0] == questions(first.out)[1]
    limited = run("label", file, "--run", finished_run, "--output", output.with_name("x.jsonl"), "--limit", 2)
    assert "0 of 2 labelled" in limited.out
    assert questions(limited.out)[0] == questions(first.out)[0]


@pytest.mark.parametrize("kind", ["language model", "preference model"])
def test_a_model_in_a_persons_place(run, kind, model_folder, preference_folder, file, output, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    folder = model_folder if kind == "language model" else preference_folder
    question = "{prompt} A: {first} B: {second}\\nBest:"
    flags = ("--annotator", folder, "--output", output, "--question", question, "--data.template", "{prompt} ->")
    assert run("label", file, *flags, "--limit", 3).code == 0
    result = run("label", file, *flags)
    assert result.code == 0, result.err
    assert "5 labelled now" in result.out
    rows = rows_of(output)
    texts = [[row[key] for row in ROWS] for key in ("prompt", "first", "second")]
    if kind == "language model":
        annotator = LanguageModelAnnotator(LanguageModel.load(folder), question.replace("\\n", "\n"))
        expected = annotator(*texts)
    else:
        prompts = [f"{prompt} ->" for prompt in texts[0]]
        answers = [[f" {text}" for text in side] for side in texts[1:]]
        expected = PreferenceModel.load(folder).probability(prompts, *answers)
    assert np.array([row["probability"] for row in rows]) == pytest.approx(expected, abs=1e-5)
    assert [row["label"] for row in rows] == ["first" if p > 0.5 else "second" for p in expected]
    assert {row["annotator"] for row in rows} == {str(folder)}
    wide = output.with_name("ties.jsonl")
    assert run("label", file, *flags[:2], "--output", wide, "--tie", 0.49).code == 0
    assert {row["label"] for row in rows_of(wide)} == {"tie"}


# Bad input.


def test_what_cannot_be_labelled(refused, file, output, write_rows, tmp_path, typed):
    typed()
    names(refused("label"), "prefgym label FILE")
    names(refused("label", tmp_path / "pair.jsonl"), 'Did you mean "pairs.jsonl"?')
    posts = write_rows("posts.jsonl", [{"prompt": "p"}])
    names(refused("label", posts, "--output", output), '"first"', "--run RUN")
    names(refused("label", file, "--output", file), "file that is read")
    names(refused("label", file, "--output", tmp_path), "is a folder")
    names(refused("label", file, "--output", tmp_path / "labels.csv"), "labels.jsonl")
    names(refused("label", file, "--output", posts), "something else", '"first"')
    names(refused("label", file, "--tie", 0.5), "--tie", "below 0.5")
    names(refused("label", file, "--anotator", "x"), 'Did you mean "--annotator"?')
    names(refused("label", posts, "--run", tmp_path / "no"), "no run folder")
    assert not output.exists()


def test_a_model_that_cannot_judge(refused, file, output, tmp_path, model_folder):
    names(refused("label", file, "--annotator", tmp_path / "nowhere", "--output", output), "no model folder")
    flags = ("--annotator", model_folder, "--output", output)
    names(refused("label", file, *flags, "--question", "{prompt}"), "{first} exactly once")
    names(refused("label", file, *flags, "--device", "warp"), "warp")
    assert not output.exists()


def test_no_standard_input(refused, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    names(refused("label", file), "standard input", "--annotator")


def test_undo_to_the_beginning_keeps_a_file_of_the_user(run, typed, file, output):
    own = json.dumps({**ROWS[0], "label": "tie", "annotator": "Ann", "note": "mine"}, indent=None, sort_keys=True)
    output.write_text(own, encoding="utf-8")  # without a line break at its end
    typed("1", "2", "u", "u", "q")
    assert run("label", file, "--output", output).code == 0
    assert output.read_text(encoding="utf-8") == own
    typed("1", "q")
    assert run("label", file, "--output", output).code == 0
    assert output.read_text(encoding="utf-8").startswith(own + "\n{")
    assert len(load_comparisons(output)) == 2


def test_a_second_session_on_one_file_is_refused(run, typed, file, output, tmp_path):
    typed("1", "2")
    with LabelFile(output):
        result = run("label", file, "--output", output)
    assert result.code == 2
    assert re.fullmatch(r"prefgym label: Another prefgym label is writing to .*; end it first, .*\n", result.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl"]


@pytest.mark.parametrize("line", ["\udcff\udcfe", "\x1b[2J\x07", "\0", "x" * 100_000])
def test_what_cannot_be_meant_is_told_in_letters_that_can_be_printed(run, typed, file, output, line):
    typed(line, "1", "q")
    result = run("label", file, "--output", output)
    assert result.code == 0, result.err
    assert "Type 1, 2, t (tie), s (skip), u (undo) or q (quit), not" in result.out
    assert "\x1b" not in result.out
    result.out.encode("utf-8")
    assert len(rows_of(output)) == 1


def test_a_name_with_half_a_character_is_refused(run, typed, file, output):
    typed("1")
    result = run("label", file, "--output", output, "--name", "\udcff")
    assert result.code == 2
    assert "is not UTF-8 text" in result.err
    assert not output.exists()


@pytest.mark.parametrize("kind", ["lock", "note"])
def test_a_file_of_the_user_with_a_name_of_ours_is_told_and_stays(refused, typed, file, output, tmp_path, kind):
    own = tmp_path / f".labels.jsonl.prefgym-{kind}"
    own.write_text("12\n")
    output.write_text(json.dumps({**ROWS[0], "label": "tie", "annotator": "Ann"}))
    before = output.read_bytes()
    typed("1", "q")
    names(refused("label", file, "--output", output), own, "prefgym did not write it; move it elsewhere.")
    assert own.read_text() == "12\n"
    assert output.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl", "labels.jsonl", own.name}
