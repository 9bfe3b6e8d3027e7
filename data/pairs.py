"""Instruction pairs for supervised fine-tuning: a prompt as the model reads it, and the response it should write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..numbers import takes_numbers
from ..paths import user_path
from . import presets
from .conversations import COLUMNS, Message
from .files import format_of, read_object
from .folders import data_files, saved_dataset, split_of
from .given import is_source
from .progress import progress_bar
from .prompts import instruction_prompts
from .tables import Table, read_table
from .task_files import TaskFile, is_task, parse_task
from .templates import Template, render_conversation, render_instruction

_POSTS_FROM = 1_000_000  # after the posts used for prompts in reinforcement learning
_COUNTS = {"train": 8000}
_COUNT = 500


class Pair(NamedTuple):
    """A rendered prompt and its response, which directly follows it.

    task: the name of the task, ``""`` if the data do not say.
    demonstrations: how many the prompt contains.
    conversation: the messages of both, where the data hold a conversation; the last is the response.
    """

    prompt: str
    response: str
    task: str = ""
    demonstrations: int = 0
    conversation: tuple[Message, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """How rows become pairs; the attributes are arguments of ``load_pairs``."""

    instruction_column: str = "instruction"
    input_column: str = "input"
    output_column: str = "output"
    task_column: str | None = None
    template: Template | None = None
    demonstrations: int = 0
    fits: Callable[[str, str], bool] = lambda prompt, response: True
    skip_empty: bool = False

    @property
    def by_default(self) -> bool:
        """Whether no column was named."""
        return (self.instruction_column, self.input_column, self.output_column) == ("instruction", "input", "output")


@takes_numbers
def load_pairs(
    source: Any,
    *,
    split: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    task_limit: int | None = None,
    **options: Any,
) -> list[Pair]:
    """Read pairs from any source meant for fine-tuning.

    - columns ``instruction``, ``input`` (may be missing or empty) and ``output``; or, as in self-instruct, a list of
      inputs and outputs in a column ``instances``;
    - without an instruction column, columns ``prompt`` and ``completion``, or a column ``messages`` (or
      ``conversations``, as in ShareGPT) that ends with the assistant's turn, as they are;
    - a task file of Natural Instructions (``task_files``), with one pair per right output;
    - a folder: every data file below it is a task, unless all are Parquet or named after splits;
    - ``embedded-instructions``, or ``embedded-instructions:who,when``: ``instruction_pairs``.

    Args:
        source: local file or folder, hub id or preset; or data handed over in Python (see ``load_prompts``).
        split: ``"train"``, ``"validation"``, ``"test"`` (see ``Table.rows_of_split``) or ``None`` for all.
        seed: a different seed splits the same prompts differently.
        limit: at most this many pairs.
        task_limit: at most this many of each task, from the beginning.
        **options: ``instruction_column`` (or that of the post when ``template`` is one for posts), ``input_column``
            with what the instruction is about, ``output_column``, ``task_column`` (by default ``task``, if there is
            one); ``template``, the text around the prompt, by default ``render_instruction`` for instructions and
            nothing for prompts; ``demonstrations``, how many positive examples of a task its prompts show; as many of
            them are kept as ``fits(prompt, response)`` allows; ``skip_empty`` leaves out instructions without an answer
            instead of refusing them (the published Alpaca file has some).

    Raises:
        InputError: an unreadable source, a missing column or key, an empty prompt or response, a value that is not
            text, or an unknown family.
    """
    name, _, families = str(source if is_source(source) else "").partition(":")
    if name == presets.EMBEDDED_INSTRUCTIONS and not user_path(source).exists():
        pairs = instruction_pairs(families.split(",") if families else None, split or "train", limit)
        return list(_limited(pairs, task_limit))
    table, rows = _read(source, Reading(**options), split)
    kept = table.rows_of_split(split, [row[0].prompt if row else "" for row in rows], seed)
    return list(_limited((pair for index in kept for pair in rows[index]), task_limit))[:limit]


@takes_numbers
def instruction_pairs(
    families: Sequence[str] | None = None, split: str = "train", count: int | None = None, start: int = 0
) -> list[Pair]:
    """Instructions about embedded posts with their answers, cycling through the families; ``task`` is the family.

    Args:
        families: names of ``world.instructions.FAMILIES``; by default ``SEEN``, so that ``UNSEEN`` stay unseen.
        split: ``"train"`` (posts that no embedded model and no prompt of reinforcement learning has seen),
            ``"validation"`` or ``"test"``.
        count: how many; 8,000 of train and 500 of each other by default.
        start: how many posts to skip first.

    Raises:
        InputError: an unknown split or family, no family, or a count below 1.
    """
    start += _POSTS_FROM if split == "train" else 0
    count = _COUNTS.get(split, _COUNT) if count is None else count
    rows = instruction_prompts(split, count, start, families)
    return [Pair(row["prompt"], " " + row["reference"], row["family"]) for row in rows]


def _limited(pairs: Sequence[Pair] | Iterator[Pair], most: int | None) -> Iterator[Pair]:
    """The first ``most`` pairs of each task."""
    taken: dict[str, int] = {}
    for pair in pairs:
        taken[pair.task] = taken.get(pair.task, 0) + 1
        if most is None or taken[pair.task] <= most:
            yield pair


def _read(source: Any, reading: Reading, split: str | None) -> tuple[Table, list[list[Pair]]]:
    """The rows of a source and the pairs of each."""
    if not is_source(source):
        table = read_table(source, split=split, what="pairs")
        return table, _from_table(table, reading)
    path = user_path(source)
    if path.is_dir() and saved_dataset(path) is None:
        files = data_files(path) or []
        shards = all(format_of(file) == ".parquet" or split_of(file, file.parent) for file in files)
        if not shards:
            return _from_files(path, files, reading)
    value = read_object(path) if path.is_file() and reading.by_default else None
    if value is not None and is_task(value):
        rows = list(_from_task(parse_task(value, path), reading))
        return Table([{}] * len(rows), str(path)), rows
    preset = presets.find(source)
    if preset is not None and "output" in preset.columns:
        reading = _of_preset(preset, reading)
    table = read_table(source, split=split)
    return table, _from_table(table, reading)


def _from_table(table: Table, reading: Reading) -> list[list[Pair]]:
    """The pairs of each row."""
    if table.has(reading.instruction_column) or reading.instruction_column != "instruction":
        return _from_instructions(table, reading)
    if table.has("messages"):
        return [[pair] for pair in _from_messages(table, "messages", reading)]
    if table.has("prompt") and table.has("completion"):
        return [[pair] for pair in _from_completions(table, reading)]
    for column in COLUMNS:
        if table.has(column):
            return [[pair] for pair in _from_messages(table, column, reading)]
    table.require(reading.instruction_column, "Map it with --data.instruction_column, or give prompt and completion.")
    raise AssertionError("a missing column is an error")


def _from_files(folder: Path, files: Sequence[Path], reading: Reading) -> tuple[Table, list[list[Pair]]]:
    """The pairs of a folder, each file of which is a task."""
    rows = []
    for path in progress_bar("reading files", len(files), items=files, unit="file", many=100):
        for pairs in _read(path, reading, None)[1]:
            rows.append([pair._replace(task=pair.task or Path(path.name.removesuffix(".gz")).stem) for pair in pairs])
    return Table([{}] * len(rows), str(folder)), rows


def _of_preset(preset: presets.Preset, reading: Reading) -> Reading:
    """Its columns, if the user named none, and its template, if prompts are read."""
    columns = {
        f"{name}_column": preset.column(name, getattr(reading, f"{name}_column"), name)
        for name in ("instruction", "input", "output")
    }
    template = reading.template or (preset.template if preset.kind == "prompts" else None)
    task = reading.task_column or preset.columns.get("task")
    return Reading(**{**vars(reading), **columns, "template": template, "task_column": task})


def _from_task(task: TaskFile, reading: Reading) -> Iterator[list[Pair]]:
    """For each instance, a pair with every right output: they share the prompt."""
    shown = [(example.input, example.outputs[0]) for example in task.examples]
    for given, outputs in task.instances:
        yield [_instructed(reading, task.definition, given, output, task.name, shown) for output in outputs]


def _from_instructions(table: Table, reading: Reading) -> list[list[Pair]]:
    instructions = table.texts(reading.instruction_column, hint="Map it with --data.instruction_column.")
    tasks = _tasks(table, reading)
    return [
        [_instructed(reading, instruction, given, output, task) for given, output in cases]
        for instruction, task, cases in zip(instructions, tasks, _cases(table, reading), strict=True)
    ]


def _cases(table: Table, reading: Reading) -> Iterator[list[tuple[str, str]]]:
    """The inputs of each row's instruction, with their outputs."""
    output_column, input_column = reading.output_column, reading.input_column
    if output_column == "output" and not table.has("output") and table.has("instances"):
        for index, instances in enumerate(table.column("instances")):
            yield _several(table, index, instances, reading)
        return
    outputs = table.texts(output_column, allow_empty=True, hint="Map it with --data.output_column.")
    inputs: list[Any] = [""] * len(table)
    if input_column != "input" or table.has(input_column):
        inputs = table.column(input_column, "Map it with --data.input_column.", optional=input_column == "input")
    for index, case in enumerate(zip(inputs, outputs, strict=True)):
        yield _answered(table, index, [case], reading, input_column, output_column)


def _several(table: Table, index: int, instances: Any, reading: Reading) -> list[tuple[str, str]]:
    """The inputs and outputs in a column ``instances``."""
    if not isinstance(instances, list) or not instances or not all(isinstance(case, Mapping) for case in instances):
        raise InputError(
            f'Column "instances" at {table.where(index)} must be a list of {{"input": ..., "output": ...}}, '
            "with at least one."
        )
    cases = [(case.get("input"), case.get("output")) for case in instances]
    return _answered(table, index, cases, reading, "instances.input", "instances.output")


def _answered(
    table: Table, index: int, cases: Sequence[tuple[Any, Any]], reading: Reading, input_name: str, output_name: str
) -> list[tuple[str, str]]:
    """The inputs and outputs of row ``index`` as texts, without those that lack an output."""
    kept = []
    for given, output in cases:
        about = table.as_text(given or "", index, input_name, allow_empty=True)
        answer = table.as_text(output, index, output_name, allow_empty=True)
        if answer.strip():
            kept.append((about, answer))
        elif not reading.skip_empty:
            raise InputError(
                f"Empty {output_name} at {table.where(index)}; fill it in, remove the row, or leave out all such rows "
                "with --data.skip_empty."
            )
    return kept


def _tasks(table: Table, reading: Reading) -> list[str]:
    """The task of each row, ``""`` where it names none."""
    name = reading.task_column or "task"
    if reading.task_column is None and "task" not in table.columns:
        return [""] * len(table)
    tasks = table.column(name, "Map it with --data.task_column.", optional=reading.task_column is None)
    return ["" if task is None else str(task) for task in tasks]


def _instructed(
    reading: Reading, instruction: str, given: str, output: str, task: str, shown: Sequence[tuple[str, str]] = ()
) -> Pair:
    """The pair for an instruction and its input, after as many demonstrations as fit."""
    if reading.template is not None:
        return _pair(f"{instruction}\n\n{given}" if given.strip() else instruction, output, task, reading.template)
    response = " " + output.strip()
    for count in range(min(reading.demonstrations, len(shown)), -1, -1):
        prompt = render_instruction(instruction, given, shown[:count])
        if count == 0 or reading.fits(prompt, response):
            break
    return Pair(prompt, response, task, count)


def _from_messages(table: Table, column: str, reading: Reading) -> Iterator[Pair]:
    for index, (cell, task) in enumerate(zip(table.column(column), _tasks(table, reading), strict=True)):
        messages = table.messages(cell, index, column)
        yield _answer_in(messages or [], table, index, column, task, reading)


def _from_completions(table: Table, reading: Reading) -> Iterator[Pair]:
    """Pairs of a prompt and a completion, each a text or messages."""
    cells = zip(table.column("prompt"), table.column("completion"), _tasks(table, reading), strict=True)
    for index, (asked, said, task) in enumerate(cells):
        said_in = table.messages(said, index, "completion")
        if said_in is None:
            prompt, response = table.as_text(asked, index, "prompt"), table.as_text(said, index, "completion")
            yield _pair(prompt, response, task, reading.template)
            continue
        asked_in = table.messages(asked, index, "prompt")
        if asked_in is None:
            asked_in = [{"role": "user", "content": table.as_text(asked, index, "prompt")}]
        messages = table.messages([*asked_in, *said_in], index, "completion")
        yield _answer_in(messages or [], table, index, "completion", task, reading)


def _answer_in(messages: list[Message], table: Table, index: int, column: str, task: str, reading: Reading) -> Pair:
    """The pair in a conversation: its last message is the response."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise InputError(
            f'Column "{column}" at {table.where(index)} must be a list of messages, '
            '{"role": ..., "content": ...}, that ends with the assistant\'s.'
        )
    prompt = table.as_text(render_conversation(messages[:-1]), index, column)
    response = table.as_text(messages[-1]["content"], index, column)
    return _pair(prompt, response, task, reading.template)._replace(conversation=tuple(messages))


def _pair(prompt: str, response: str, task: str, template: Template | None) -> Pair:
    if template is not None:
        return Pair(template.render(prompt), template.render_response(response), task)
    gap = "" if prompt[-1:].isspace() or response[:1].isspace() else " "
    return Pair(prompt, gap + response, task)
