"""The report of a benchmark: ``report.md`` and ``report.html``, and the tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..reports.document import Code, Heading, Paragraph, Part, Picture, Table
from ..reports.formats import difference, number, percent
from ..reports.run_report import SMALL, model_size, write_pages
from ..reports.tables import align
from .plots import normalised_averages, task_scores
from .scores import Row, Rows, by_model, summaries

Cells = tuple[list[str], list[list[str]]]
Texts = Sequence[Mapping[str, Any]]

EXPLAINED = (
    "A score is between 0 and 1: the share of right answers where a model chooses (several may be right, and an answer "
    "may get partial credit), the named metric where it writes. It chooses the option with the largest likelihood as a "
    'whole, not divided by its length, except in the cloze form. "Random" is the score of a guess among the options of '
    "each question, 0 where an answer is written. Normalised is (score − random) / (1 − random): 0 is a guess, 100 % "
    "is everything right, below 0 is worse than guessing. Brackets are 95 % intervals, for other questions of the same "
    "tasks. Averages give each task the same weight, or each suite."
)
ASKED = {
    False: "Prompts are plain text; no chat template is put around them.",
    True: "Prompts are conversations rendered by each model's chat template, as lm-evaluation-harness's "
    "apply_chat_template and fewshot_as_multiturn do: the sentence on the task is the system message, each "
    "demonstration a turn of the user and one of the assistant, and no space stands before an answer. samples.jsonl "
    "shows the same prompts as plain text.",
}
"""By whether chat templates are applied."""

CLOZE_EXPLAINED = (
    'A task named "(cloze)" does not list its options: the likelihood of each option\'s text behind the question is '
    "compared (the cloze formulation of Gu et al. 2024, OLMES, arXiv:2406.08446). The score, acc_norm, divides a "
    "log-likelihood by the option's characters, as OLMES does for MMLU; acc does not divide it, acc_bytes divides by "
    'bytes (the names are lm-evaluation-harness\'s). "Longest option" always chooses the longest text and reads no '
    "question: dividing by length favours long options, so a score shows knowledge only where it is above that too. "
    'Options that speak of others ("all of the above", "both A and B") mean little in this form.'
)
FLEXIBLE_EXPLAINED = (
    "flexible_extract is lm-evaluation-harness's search for the answer in what was written, in any place: it often "
    "finds one of the options whatever the model means, so a guess among them scores above 0 there."
)
PAIRED = (
    "Gains are paired by question, over the model named first. A gain whose interval contains 0 may be no gain. "
    "A normalised gain is divided by 1 − random."
)


def write_benchmark(folder: str | Path, metrics: Row, texts: Texts, *, title: str, config: str = "") -> Path:
    """Write the pictures, ``samples.jsonl`` (every question), ``report.md`` and ``report.html`` into ``folder``.

    Args:
        folder: files with those names are replaced, each atomically.
        metrics: as ``benchmark_metrics`` returns them, with ``seed``, ``shots``, ``limit``,
            ``apply_chat_template`` and ``unscored``.
        texts: a row per question: ``task``, ``prompt``, ``right``, and per model ``said`` and ``scores``.
        title: of the report.
        config: the resolved configuration as text.

    Returns:
        The path of ``report.html``.
    """
    folder, below = Path(folder), _models_told(metrics)
    task_scores(metrics, folder / "scores.png", below)
    normalised_averages(metrics, folder / "normalised.png", below)
    parts: list[Part] = [
        Paragraph(notice(metrics), "notice"),
        Heading(title, 1),
        Paragraph(headline(metrics), "headline"),
        Heading("Averages"),
        Table(*average_table(metrics)),
        Picture("normalised.png", "Normalised averages with 95 % intervals; a random guess is at 0"),
        *_gains(metrics),
        Heading("Tasks"),
        Table(*task_table(metrics)),
        Picture("scores.png", "Score of every task with its 95 % interval, and a line for a random guess"),
        Paragraph(f"{EXPLAINED} {ASKED[metrics['apply_chat_template']]}"),
        *_cloze(metrics),
        *_further(metrics),
        *_named("Not scored", metrics["unscored"]),
        *_named("Remarks", remarks(metrics)),
        *_samples(texts),
    ]
    return write_pages(folder, texts, title, parts, config)


def benchmark_summary(metrics: Row) -> str:
    """The tables as aligned text, and what was not scored."""
    parts = [align(*task_table(metrics)), align(*average_table(metrics))]
    if (cloze := cloze_table(metrics))[1]:
        parts.append(align(*cloze))
    if "gains" in metrics:
        parts.append(align(*gain_table(metrics, tasks=False)))
    for title, rows in (("not scored", metrics["unscored"]), ("remarks", remarks(metrics))):
        if rows:
            parts.append("\n".join([f"{title}:", *(f"  {name}: {reason}" for name, reason in rows.items())]))
    return "\n\n".join(parts)


def task_table(metrics: Row) -> Cells:
    """Header and rows, one task per row: random guess, then the score of each model."""
    models = {name: figures["tasks"] for name, figures in by_model(metrics).items()}
    return _table("metric", models, {"score": _score, "normalised": lambda row: percent(row["normalised"], 1)})


def average_table(metrics: Row) -> Cells:
    """The same for the averages."""
    models = {name: summaries(figures) for name, figures in by_model(metrics).items()}
    return _table("tasks", models, {"score": _score, "normalised": _normalised})


def _table(kind: str, models: Mapping[str, Rows], columns: Mapping[str, Callable[[Row], str]]) -> Cells:
    first = next(iter(models.values()))
    header = ["", kind, "questions", "random"]
    header += [title if len(models) == 1 else f"{name}: {title}" for title in columns for name in models]
    rows = []
    for task, row in first.items():
        cells = [show(of_model[task]) for show in columns.values() for of_model in models.values()]
        rows.append([task, str(row[kind]), f"{row['n']:,}", percent(row["random"], 1), *cells])
    return header, rows


def gain_table(metrics: Row, tasks: bool = True) -> Cells:
    """Header and rows: the averages, then the tasks; before, after, and the gains of each model over the first."""
    rows = []
    for name, gains in metrics["gains"].items():
        for task, row in {**summaries(gains), **(gains["tasks"] if tasks else {})}.items():
            rows.append(
                [
                    f"{task}: {name}" if len(metrics["gains"]) > 1 else task,
                    percent(row["before"], 1),
                    percent(row["after"], 1),
                    difference(_as_interval(row, "gain", "low", "high"), share=True),
                    difference(_as_interval(row, "normalised_gain", "normalised_low", "normalised_high"), share=True),
                ]
            )
    return ["", "before", "after", "gain", "normalised gain"], rows


def cloze_table(metrics: Row) -> Cells:
    """Header and rows: each task in its cloze form, random guess and longest option, then the ways of comparing."""
    models = {name: figures["tasks"] for name, figures in by_model(metrics).items()}
    first = next(iter(models.values()))
    asked = [task for task, row in first.items() if "longest_option" in row]
    ways = list(first[asked[0]]["metrics"]) if asked else []
    header = ["", "random", "longest option"]
    header += [way if len(models) == 1 else f"{name}: {way}" for way in ["acc_norm", *ways] for name in models]
    rows = []
    for task in asked:
        cells = [_score(of_model[task]) for of_model in models.values()]
        cells += [percent(of_model[task]["metrics"][way], 1) for way in ways for of_model in models.values()]
        told = (first[task]["random"], first[task]["longest_option"])
        rows.append([task, *(percent(share, 1) for share in told), *cells])
    return header, rows


def headline(metrics: Row) -> str:
    """The result in a few sentences."""
    sentences = []
    for name, figures in by_model(metrics).items():
        row = figures["average"]
        sentences.append(
            f"{name} scores {percent(row['score'], 1)} on average where a random guess scores "
            f"{percent(row['random'], 1)}: {_normalised(row)} normalised, over {row['tasks']} tasks and {row['n']:,} "
            "questions."
        )
        if "average_cloze" in figures:
            row = figures["average_cloze"]
            sentences.append(
                f"Asked again in the cloze form, it scores {percent(row['score'], 1)} where a random guess scores "
                f"{percent(row['random'], 1)}: {_normalised(row)} normalised, over {row['tasks']} tasks."
            )
    for name, gains in metrics.get("gains", {}).items():
        row = _as_interval(gains["average"], "normalised_gain", "normalised_low", "normalised_high")
        sentences.append(f"{name} minus {next(iter(metrics['models']))}: {difference(row, share=True)}, normalised.")
    if metrics["unscored"]:
        count = len(metrics["unscored"])
        sentences.append(f"{count} task{'s' if count > 1 else ''} could not be scored; they are named below.")
    return " ".join(sentences)


def notice(metrics: Row) -> str:
    """The report's first line: models, how they were asked, and what models of that size cannot do."""
    limit = "all questions" if metrics["limit"] is None else f"the first {metrics['limit']} questions of each task"
    told = f"{_models_told(metrics)}. Asked {limit}, with {metrics['shots']} demonstrations, seed {metrics['seed']}"
    told += ", through each model's chat template." if metrics["apply_chat_template"] else ", as plain text."
    for name, figures in by_model(metrics).items():
        if not figures["model"]["keeps_white_space"]:
            told += f" The tokenizer of {name} does not keep white space, so it cannot see pictures made of letters."
    if any(figures["model"]["parameters"] < SMALL for figures in by_model(metrics).values()):
        told += (
            " A model this small knows nothing beyond the text it was trained on: expect random guessing. Its figures "
            "show that the measurement is right, not what language models can do."
        )
    return told


def remarks(metrics: Row) -> dict[str, str]:
    """What a reader must know about single tasks, by task."""
    found: dict[str, str] = {}
    for name, figures in by_model(metrics).items():
        for task, row in figures["tasks"].items():
            told = []
            if row["cut"]:
                told.append(
                    f"{row['cut']} of {row['n']} prompts exceed the context of {name}, and lost their beginning"
                )
            if row["shots"] < metrics["shots"]:
                told.append(f"there are {row['shots']} demonstrations to show, not {metrics['shots']}")
            if row["left_out"]:
                told.append(f"{row['left_out']} examples of the file have no {row['metric']}, and were left out")
            if row["unmeasured"]:
                told.append(f"not measured: {', '.join(row['unmeasured'])}")
            if told:
                found[task] = "; ".join(dict.fromkeys([*filter(None, [found.get(task)]), *told]))
    return found


def _cloze(metrics: Row) -> list[Part]:
    header, rows = cloze_table(metrics)
    return [Heading("Cloze form"), Table(header, rows), Paragraph(CLOZE_EXPLAINED)] if rows else []


def _further(metrics: Row) -> list[Part]:
    """The other metrics of written answers."""
    models = {name: figures["tasks"] for name, figures in by_model(metrics).items()}
    rows = [
        [task, metric, *(percent(of_model[task]["metrics"][metric], 1) for of_model in models.values())]
        for task, row in next(iter(models.values())).items()
        if "longest_option" not in row
        for metric in row["metrics"]
    ]
    if not rows:
        return []
    told = [Paragraph(FLEXIBLE_EXPLAINED)] if any(metric == "flexible_extract" for _, metric, *_ in rows) else []
    return [Heading("Further metrics"), Table(["", "metric", *models], rows), *told]


def _gains(metrics: Row) -> list[Part]:
    if "gains" not in metrics:
        return []
    return [Heading("Gains"), Table(*gain_table(metrics)), Paragraph(PAIRED)]


def _named(title: str, rows: Mapping[str, str]) -> list[Part]:
    if not rows:
        return []
    return [Heading(title), Table(["task", "reason"], [[name, told] for name, told in rows.items()], prose=("reason",))]


def _samples(texts: Texts) -> list[Part]:
    """The first question of the first task of every suite."""
    shown: dict[str, Mapping[str, Any]] = {}
    for row in texts:
        shown.setdefault(str(row["task"]).partition("/")[0], row)
    parts: list[Part] = [
        Heading("Samples"),
        Paragraph("The first question of each suite, not selected; samples.jsonl has all of them."),
    ]
    for row in shown.values():
        answers = [[name, text, number(row["scores"][name])] for name, text in row["said"].items()]
        rows = [["right", " / ".join(row["right"]), ""], *answers]
        parts += [Heading(str(row["task"]), 3), Code(row["prompt"]), Table(["", "answer", "score"], rows, ("answer",))]
    return parts


def _models_told(metrics: Row) -> str:
    return "; ".join(f"{name}: {model_size(figures['model'])}" for name, figures in by_model(metrics).items())


def _score(row: Row) -> str:
    return f"{percent(row['score'], 1)} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def _normalised(row: Row) -> str:
    return f"{percent(row['normalised'], 1)} [{100 * row['normalised_low']:.0f}, {100 * row['normalised_high']:.0f}]"


def _as_interval(row: Row, mean: str, low: str, high: str) -> dict[str, float]:
    return {"mean": row[mean], "low": row[low], "high": row[high]}
