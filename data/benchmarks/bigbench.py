"""BIG-bench: one ``task.json`` per task, with options to choose from (``target_scores``) or text to write (``target``).

Source: A. Srivastava et al., "Beyond the Imitation Game: Quantifying and extrapolating the capabilities of language
models" (2022), and the schema of its JSON tasks. Departures: options that are appended to the input are shuffled with
the task's name as seed, and an answer is compared without the white space around it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import nearest
from ...paths import user_path
from .node import Node, find_files
from .task import Example, Suite, Task, UnscorableError, stops_for

CHOSEN = ("multiple_choice_grade",)
WRITTEN = ("exact_str_match", "bleu", "rouge1", "rouge2", "rougeL", "rougeLsum")
STANDS_FOR = {"rouge": ("rougeLsum", "rouge1", "rouge2")} | {f"{name}_fmeasure": (name,) for name in WRITTEN[2:]}
NOT_COMPUTED = (
    "bleurt",
    "bleurt_diff",
    "log_likelihood",
    "expected_calibration_error",
    "multiple_choice_brier_score",
    "calibration_multiple_choice_brier_score",
    "correct_prob_mass",
    "sequence_f1",
    "macro_f1",
    "f1",
    "full",
    "custom_score",
    "difference_score",
    "numeric_match_with_0_1_relative_error",
)
"""Known BIG-bench metrics that are not computed here."""

FIRST_SENTENCE = r"[^\.\?\!\;\n]+"
"""What BIG-bench takes from a written answer if the task has neither ``output_regex`` nor ``stop_string``."""


def read_bigbench(source: str) -> Suite:
    """Read every ``task.json`` below a folder; a task is named by the folders it is in.

    The folder of a task that is a program (``task.py``) is listed as unscored: benchmark code is not run.

    Raises:
        InputError: no such folder, a file that is not JSON, a key that is missing or of the wrong type, a metric that
            BIG-bench does not have.
    """
    files = find_files(source, "**/task.json", ".")
    root = user_path(source)
    tasks: list[Task] = []
    unscored: dict[str, str] = {}
    for file in files:
        name = f"bigbench/{_name(file, root)}"
        try:
            tasks.append(_task(Node.read(file), name))
        except UnscorableError as error:
            unscored[name] = str(error)
    for file in sorted(root.glob("**/task.py")):
        if not (file.parent / "task.json").exists():
            unscored[f"bigbench/{_name(file, root)}"] = "it is a program (task.py), and benchmark code is not run"
    return Suite(tuple(tasks), unscored)


def _name(file: Path, root: Path) -> str:
    return "/".join(file.parent.relative_to(root).parts) or file.resolve().parent.name


def _task(node: Node, name: str) -> Task:
    metrics, unmeasured = _metrics(node)
    chosen = metrics[0] in CHOSEN
    key = "target_scores" if chosen else "target"
    rows = node.objects("examples")
    for row in rows:
        if not row.value.keys() & {"target_scores", "target"}:
            row.child(key)
    used = [row for row in rows if key in row.value]
    if not used:
        raise UnscorableError(f'its preferred score is "{metrics[0]}" and no example has "{key}"')
    append = node.get("append_choices_to_input", bool, True)
    examples = tuple(
        _example(node, row, chosen, f"{name} {index}" if append else None) for index, row in enumerate(used)
    )
    given = node.get("stop_string", str, None)
    task = Task(
        name,
        metrics,
        examples,
        prefix=node.get("task_prefix", str, ""),
        separator=node.get("few_shot_example_separator", str, "\n"),
        stop=stops_for(examples, [given] if given else []),
        output_regex=None if chosen else _output_regex(node, examples, given),
        left_out=len(rows) - len(used),
        unmeasured=unmeasured,
    )
    return task.in_cloze_form([_example(node, row, chosen) for row in used]) if chosen else task


def _metrics(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The preferred score and the task's other metrics of the same kind that are computed here; and the rest."""
    listed = node.texts("metrics")
    preferred = node.get("preferred_score", str, listed[0])
    known = [*CHOSEN, *WRITTEN, *STANDS_FOR, *NOT_COMPUTED]
    for key, metric in [("metrics", metric) for metric in listed] + [("preferred_score", preferred)]:
        if metric not in known:
            raise node.child(key).error(
                f'names the metric "{metric}", which BIG-bench does not have.{nearest(metric, known)}'
            )
    if preferred in NOT_COMPUTED:
        raise UnscorableError(f'its preferred score is "{preferred}", which is not computed here')
    names = dict.fromkeys(name for metric in (preferred, *listed) for name in STANDS_FOR.get(metric, (metric,)))
    kind = CHOSEN if preferred in CHOSEN else WRITTEN
    return tuple(name for name in names if name in kind), tuple(name for name in names if name not in kind)


def _example(node: Node, row: Node, chosen: bool, seed: str | None = None) -> Example:
    """One question, with its options appended in an order drawn by ``seed``; without one they are not."""
    options, worth = _options(row) if "target_scores" in row.value else ((), ())
    shown = ""
    if options and seed is not None:
        order = sorted(options)
        random.Random(seed).shuffle(order)  # in the files the right one often comes first
        mark = node.get("choice_prefix", str, "\n  choice: ")
        shown = "".join(mark + option for option in order)
    before = node.get("example_input_prefix", str, "\nQ: ")
    behind = node.get("example_output_prefix", str, "\nA: ")
    prompt = f"{before}{row.get('input', str)}{shown}{behind}"
    return Example(prompt, options, worth) if chosen else Example(prompt, answers=row.texts("target"))


def _options(row: Node) -> tuple[tuple[str, ...], tuple[float, ...]]:
    scores = row.get("target_scores", dict)
    node = row.child("target_scores")
    if not scores:
        raise node.error("is empty.")
    for option, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise node.error(f'must give a number for "{option}", not {score!r}.')
        if not option:
            raise UnscorableError(f"{node.key} has an empty option, whose likelihood means nothing")
        if not 0 <= score <= 1:
            raise UnscorableError(
                f"{node.key} gives {min(max(score, -1e300), 1e300):g}, which is not a share of a right answer (0 to 1)"
            )
    return tuple(scores), tuple(map(float, scores.values()))


def _output_regex(node: Node, examples: Sequence[Example], stop: str | None) -> str | None:
    """The task's own; otherwise BIG-bench's usual one, if every right answer survives it."""
    given = node.get("output_regex", str, None)
    if given is not None:
        try:
            re.compile(given)
        except re.error as error:
            raise node.child("output_regex").error(f"is not a regular expression: {error}.") from None
        return given
    answers = [answer.strip() for one in examples for answer in one.answers]
    whole = all(re.fullmatch(FIRST_SENTENCE, answer) for answer in answers)
    return FIRST_SENTENCE if stop is None and whole else None
