"""Whatever a run, a reward, a task or a file is called: pictures and reports are made, without a warning."""

import copy
import dataclasses
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from prefgym.evaluation.benchmarks import plots as benchmark_plots
from prefgym.evaluation.benchmarks.scores import Result, benchmark_metrics
from prefgym.evaluation.reports import canvas
from prefgym.evaluation.reports.document import Code, Heading, Paragraph, Quote, Table, to_html, to_markdown
from prefgym.evaluation.reports.run_report import write_report
from prefgym.training_report import write_training_report

NAMES = {
    "a formula that is none": "$\\frac{$",
    "a formula": "$x^2$ and $y$",
    "money": "$5 or \\$6",
    "many lines": "a\nb\r\nc\n" * 9,
    "control characters": "\x00\x07\x1b[31m\x7f\x85\u202e",
    "half a character": "\ud83d",
    "letters that the font lacks": "日本 🦊 שלום",
    "long": "x" * 3000,
    "long words": "word " * 500,
    "nothing": "",
    "white space": " \t ",
    "an underscore": "_nolegend_",
    "braces": "{} %s {0} \\n",
}


ODD = " | ".join(NAMES.values())[:500] + "\n---\ntags: x\n| <b>`` | ![x](http://x) |\n"
"""All of it at once."""


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(params=NAMES.values(), ids=NAMES)
def name(request) -> str:
    return request.param


def check(path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert min(picture.size) > 100


def test_a_figure_with_the_name_everywhere(name, tmp_path):
    figure = canvas.figure(5, 3, name, name)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.plot([0, 1], [1, 2], label=f"see {name}")
        canvas.style(axis, name, name, name)
    left.set_yticks([1, 2], [name, "other"])
    left.annotate(name, (0, 1))
    canvas.legend(figure, left)
    right.legend()
    check(canvas.save(figure, tmp_path / "picture.png"))


def test_a_figure_is_saved_twice(tmp_path):
    figure = canvas.figure(4, 3, "$x$", "")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], label="$y$")
    axis.set_yticks([0, 1], ["$\\frac{$", "\x1b"])
    axis.legend()
    first = canvas.save(figure, tmp_path / "picture.png").read_bytes()
    assert canvas.save(figure, tmp_path / "picture.png").read_bytes() == first


def test_a_dollar_is_drawn_as_a_dollar():
    assert canvas.drawable("$x$") == "\\$x\\$"
    assert canvas.drawable("\\$x") == "\\$x"


def test_powers_of_ten_stay_numbers(tmp_path):
    figure = canvas.figure(4, 3, "", "")
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.plot([1, 1000], [0, 1])
    canvas.save(figure, tmp_path / "picture.png")
    texts = [tick.label1.get_text() for tick in axis.xaxis.get_major_ticks()]
    assert any(text.startswith(canvas.POWER) for text in texts)


def test_a_picture_of_very_many_tasks_is_not_too_tall():
    assert canvas.figure(9.5, 1900, "", "").get_size_inches()[1] * 120 < 2**16


def test_the_pictures_of_a_benchmark(tmp_path):
    tasks = {f"{ODD}/{ODD}": Result(np.array([1.0, 0.0]), np.array([0.5, 0.5]))}
    metrics = benchmark_metrics({ODD: tasks, f"{ODD}2": tasks}, {ODD: {"name": ODD}, f"{ODD}2": {"name": ODD}})
    check(benchmark_plots.task_scores(metrics, tmp_path / "scores.png", ODD))
    check(benchmark_plots.normalised_averages(metrics, tmp_path / "averages.png", ODD))


def renamed(evaluation, name: str):
    """The evaluation with its policy, its reward, its data, its judge and its model called so."""
    odd = copy.copy(evaluation)
    odd.metrics = copy.deepcopy(evaluation.metrics)
    odd.sampled, odd.greedy = dict(evaluation.sampled), dict(evaluation.greedy)
    for kind, candidates in (("policies", odd.sampled), ("greedy", odd.greedy)):
        for table in (odd.metrics[kind], candidates):
            table[name] = table.pop("trained")
    odd.metrics["data"]["name"] = odd.metrics["judge"] = odd.metrics["model"]["name"] = name
    for row in odd.metrics["policies"].values():
        row[name] = row["words_of"]
    for candidates in (odd.sampled, odd.greedy):
        for key, candidate in candidates.items():
            scores = {**candidate.scores, name: candidate.scores["words_of"]}
            candidates[key] = dataclasses.replace(candidate, scores=scores)
    return odd


def test_the_report_of_a_run(evaluation, tmp_path):
    scalars = {"objective/scores": 1.0, f"objective/score_{ODD}": 0.5, "objective/score_b": 1.0}
    history = [{"episodes": 8 * i, "objective/kl": 0.1 * i, **scalars} for i in (1, 2)]
    write_report(tmp_path, renamed(evaluation, ODD), history, title=ODD, weights={ODD: 1.0}, kl_coef=0.1, config=ODD)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"win_rates.png", "score_against_kl.png", "learning_curves.png"}
    for file in ("report.html", "report.md"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert not set(text) & {*map(chr, range(9)), "\x1b", "\x7f", "\x85", "\u202e"}


def test_the_report_of_a_supervised_run(tmp_path):
    write_training_report(tmp_path, ODD, ODD, [(ODD, ODD)], [{"step": 1, "loss": 2.0}], ODD)
    check(tmp_path / "loss.png")
    head, card = (tmp_path / "README.md").read_text(encoding="utf-8").split("\n---\n")
    assert head == "---\nlibrary_name: transformers"
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_pages_take_any_text(name, tmp_path):
    parts = [Heading(name), Paragraph(name), Quote(name), Code(name), Table(["", name], [[name, name]])]
    for text in (to_markdown(parts), to_html(name, parts, tmp_path)):
        text.encode()
        assert "\x1b" not in text
