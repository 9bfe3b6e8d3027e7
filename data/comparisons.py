"""Comparisons: for one prompt, which of two responses is preferred, or neither."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import InputError, nearest
from ..numbers import takes_numbers
from . import presets
from .conversations import Message
from .tables import Table, read_table
from .templates import Template
from .text_pairs import two_texts

FIRST, SECOND, TIE = "first", "second", "tie"
LABEL_MAP: Mapping[str, str] = {"1": FIRST, "2": SECOND, "0": TIE, FIRST: FIRST, SECOND: SECOND, TIE: TIE}
_HINT = "Map the columns: chosen_column and rejected_column, or first_column, second_column and label_column."


@dataclass(frozen=True)
class Comparison:
    """A judgement of two responses to one prompt.

    Attributes:
        prompt: the prompt.
        chosen: the preferred response; the first of the two in a tie.
        rejected: the other response.
        tie: neither is preferred.
        margin: by how much ``chosen`` should score higher (Bradley-Terry margin).
        group: rows with the same group are never split up; ``None``: the prompt is the group.
        annotator: who judged; ``None``: unknown.
        systems: who wrote ``chosen`` and ``rejected``; ``None``: unknown.
        conversation: the messages of the prompt, of ``chosen`` and of ``rejected``, where the data hold conversations.
    """

    prompt: str
    chosen: str
    rejected: str
    tie: bool = False
    margin: float = 0.0
    group: str | None = None
    annotator: str | None = None
    systems: tuple[str, str] | None = None
    conversation: tuple[list[Message], list[Message], list[Message]] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def split_group(self) -> str:
        """The group, or else the prompt: all comparisons that share it are on the same side of a split."""
        return self.prompt if self.group is None else self.group

    def render(self, template: Template) -> Comparison:
        """The same comparison with the prompt inside ``template`` and responses that begin with one space."""
        return replace(
            self,
            prompt=template.render(self.prompt),
            chosen=template.render_response(self.chosen),
            rejected=template.render_response(self.rejected),
            group=self.split_group,
        )


@takes_numbers
def load_comparisons(
    source: Any,
    *,
    prompt_column: str = "prompt",
    chosen_column: str = "chosen",
    rejected_column: str = "rejected",
    first_column: str | None = None,
    second_column: str | None = None,
    label_column: str | None = None,
    label_map: str | Mapping[Any, str] | None = None,
    group_column: str | None = None,
    annotator_column: str | None = None,
    system_column: str | None = None,
    split: str | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> list[Comparison]:
    """Read comparisons, as ``chosen`` and ``rejected`` or as two texts and a label.

    Responses may be conversations. Without a prompt column the prompt is the beginning that both responses share.
    ``label_column`` may name several annotators (``annotator1,annotator2``): each gives a separate comparison. If
    nothing is mapped and ``chosen`` is missing, the columns ``first``, ``second`` and ``label`` are used, as written by
    ``prefgym label``.

    Args:
        source: local file, hub id or preset; or data handed over in Python (see ``load_prompts``).
        prompt_column: column of the prompt, or several columns (``instruction,input``).
        chosen_column: column of the preferred response.
        rejected_column: column of the other response.
        first_column: column of the first of two texts.
        second_column: column of the second.
        label_column: column that says which is preferred.
        label_map: what a label means: a mapping, or text such as ``"true=second,false=first,Equally Good=tie"``.
            Case is ignored. Default: 1 is first, 2 is second, 0 is a tie, and these words themselves.
        group_column: column whose equal values must stay on one side of a split, if that is not the prompt.
        annotator_column: column that says who judged; ``annotator`` if there is one. Several label columns are several
            annotators with these names.
        system_column: two columns, of who wrote the first and the second text, or the chosen and the rejected one
            (``model_a,model_b``).
        split: ``"train"``, ``"validation"``, ``"test"`` (see ``Table.rows_of_split``) or ``None`` for all.
        seed: a different seed splits the same prompts differently.
        limit: at most this many comparisons.

    Raises:
        InputError: an unreadable source, a missing column, an empty prompt, a value that is not text, equal texts
            without a tie, a label that is not in the map.
    """
    preset = presets.find(source)
    if preset is not None:
        prompt_column = preset.column("prompt", prompt_column, "prompt")
        if label_column is None and "label" in preset.columns:
            first_column, second_column = preset.columns["first"], preset.columns["second"]
            label_column, label_map = preset.columns["label"], label_map or preset.label_map
    table = read_table(source, split=split, what="comparisons")
    if chosen_column == "chosen" and not table.has("chosen") and {FIRST, SECOND, "label"} <= set(table.columns):
        first_column, second_column = first_column or FIRST, second_column or SECOND
        label_column = label_column or "label"
    if first_column or second_column or label_column:
        if not (first_column and second_column and label_column):
            raise InputError("Two texts and a label need all of first_column, second_column and label_column.")
        columns, labels = (first_column, second_column), _labels(table, label_column, label_map)
    else:
        columns, labels = (chosen_column, rejected_column), [[FIRST]] * len(table)
    prompts, firsts, seconds, conversations = two_texts(table, prompt_column, *columns, _HINT)
    judges = _annotators(table, label_column, annotator_column)
    groups = prompts if group_column is None else _groups(table, group_column, prompts)
    systems = _systems(table, system_column)
    margins = table.column("margin", optional=True) if "margin" in table.columns else [0.0] * len(table)

    comparisons = []
    for i in table.rows_of_split(split, groups, seed):
        margin = _margin(table, margins[i], i)
        for label, judge in zip(labels[i], judges[i], strict=True):
            if firsts[i].strip() == seconds[i].strip() and label != TIE:
                names = " and ".join(f'"{name}"' for name in columns)
                raise InputError(f"Columns {names} are equal at {table.where(i)}; remove the row or label it a tie.")
            chosen, rejected, talk, wrote = firsts[i], seconds[i], conversations[i], systems[i]
            if label == SECOND:
                chosen, rejected, talk = rejected, chosen, talk and (talk[0], talk[2], talk[1])
                wrote = wrote and wrote[::-1]
            told = (label == TIE, margin, groups[i], judge, wrote, talk)
            comparisons.append(Comparison(prompts[i], chosen, rejected, *told))
    return comparisons[:limit]


def parse_label_map(label_map: str | Mapping[Any, str]) -> dict[str, str]:
    """A label map from a mapping, from JSON, or from text of the form ``label=meaning,label=meaning``.

    >>> parse_label_map("true=second,false=first,Equally Good=tie")
    {'true': 'second', 'false': 'first', 'equally good': 'tie'}

    Raises:
        InputError: the text has another form, or a meaning is not ``first``, ``second`` or ``tie``.
    """
    if isinstance(label_map, str):
        try:
            if label_map.lstrip().startswith("{"):
                label_map = dict(json.loads(label_map))
            else:
                label_map = dict(item.rsplit("=", 1) for item in label_map.split(",") if item.strip())  # type: ignore[misc]
        except ValueError:
            raise InputError(f'Cannot read label_map "{label_map}"; write it as "1=first,2=second,0=tie".') from None
    parsed = {_label_key(label): str(meaning).strip().lower() for label, meaning in label_map.items()}
    for meaning in parsed.values():
        if meaning not in (FIRST, SECOND, TIE):
            near = nearest(meaning, (FIRST, SECOND, TIE))
            raise InputError(f'label_map: a label means first, second or tie, not "{meaning}".{near}')
    return parsed


def _labels(table: Table, label_column: str, label_map: str | Mapping[Any, str] | None) -> list[list[str]]:
    """The meanings of each row's labels, one per label column."""
    meanings = parse_label_map(label_map) if label_map else LABEL_MAP
    rows: list[list[str]] = [[] for _ in range(len(table))]
    for name in _label_columns(table, label_column):
        for index, value in enumerate(table.column(name, "Map it with --data.label_column.")):
            meaning = meanings.get(_label_key(value))
            if meaning is None:
                raise InputError(
                    f'Label {value!r} in column "{name}" at {table.where(index)} is outside '
                    f'{", ".join(meanings)}; say what it means with label_map, such as "1=first,2=second,0=tie".'
                )
            rows[index].append(meaning)
    return rows


def _label_columns(table: Table, label_column: str) -> list[str]:
    return [label_column] if label_column in table.columns else [name.strip() for name in label_column.split(",")]


def _annotators(table: Table, label_column: str | None, annotator_column: str | None) -> list[list[str | None]]:
    """Who gave each label of each row."""
    names = _label_columns(table, label_column) if label_column else []
    if len(names) > 1:
        return [list(names)] * len(table)
    if annotator_column is not None:
        values = table.column(annotator_column, "Map it with --data.annotator_column.")
    elif "annotator" in table.columns:
        values = table.column("annotator", optional=True)  # not requested, so a row may lack it
    else:
        values = [None] * len(table)
    return [[None if value is None else str(value)] for value in values]


def _systems(table: Table, names: str | None) -> Sequence[tuple[str, str] | None]:
    """Who wrote the two texts of each row."""
    if names is None:
        return [None] * len(table)
    columns = [name.strip() for name in names.split(",")]
    if len(columns) != 2:
        raise InputError(
            f'system_column "{names}" must name two columns, of who wrote either text, such as "model_a,model_b".'
        )
    return list(zip(*(names_in(table, name) for name in columns), strict=True))


def names_in(table: Table, column: str) -> list[str]:
    """The name in every row of a column, of whoever wrote a text.

    Raises:
        InputError: no such column, or a row without a name.
    """
    names = table.column(column, "Map it with --data.system_column.")
    for index, name in enumerate(names):
        if name is None or not str(name).strip():
            raise InputError(f'Column "{column}" at {table.where(index)} does not say who wrote the text.')
    return [str(name).strip() for name in names]


def _groups(table: Table, column: str, prompts: list[str]) -> list[str]:
    """The group of each row, the prompt where it names none."""
    values = zip(table.column(column), prompts, strict=True)
    return [prompt if value is None else str(value) for value, prompt in values]


def _label_key(value: Any) -> str:
    """One spelling for 1, 1.0 and "1", and for True and "true"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _margin(table: Table, value: Any, index: int) -> float:
    try:
        margin = 0.0 if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        margin = math.nan
    if not math.isfinite(margin):
        raise InputError(f'Column "margin" at {table.where(index)} holds {value!r}, not a finite number.')
    return margin
