"""The prompts an environment draws from: a user's posts, or posts and instructions of the embedded world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from ..errors import InputError, nearest
from ..numbers import takes_numbers
from . import presets
from .conversations import Message
from .given import has_splits, is_source
from .tables import Table, read_table
from .templates import render_instruction

if TYPE_CHECKING:
    from .world import Post

# The embedded models learned from posts with lower indices; the prompts of reinforcement learning start here, and those
# of instruction pairs (pairs.py) a million later, so none is shared.
_EMBEDDED = {"train": (1_000_000, 20_000), "validation": (0, 500), "test": (0, 500)}


Split: TypeAlias = str | None
"""``"train"``, ``"validation"``, ``"test"``, or ``None`` for everything."""


class PromptSet(Sequence[dict[str, Any]]):
    """Prompts, each a dict: ``"prompt"`` (raw text), ``"reference"`` (text or ``None``), and any other columns.

    ``"references"`` is the list of all human texts where there may be several; ``"reference"`` is the first of them.
    Where the data hold a conversation as the prompt, ``"conversation"`` is the list of its messages,
    ``{"role": ..., "content": ...}``, and ``"prompt"`` the same as plain text.

    Args:
        rows: mappings with at least ``"prompt"``.
        name: of the prompts, for reports.
        synthetic: whether they were generated rather than written by people.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], name: str = "prompts", synthetic: bool = False) -> None:
        self._rows = rows
        self.name = name
        self.synthetic = synthetic

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> PromptSet: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | PromptSet:
        if isinstance(index, slice):
            return PromptSet(_Selected(self._rows, range(len(self))[index]), self.name, self.synthetic)
        return {"reference": None, **self._rows[index]}

    def __repr__(self) -> str:
        return f"PromptSet({self.name!r}, {len(self)} prompts{', synthetic' if self.synthetic else ''})"


@takes_numbers
def load_prompts(
    source: Any,
    prompt_column: str = "prompt",
    reference_column: str = "reference",
    split: str | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> PromptSet:
    """Read prompts from a local file, a hub id, a preset of ``presets.PRESETS`` (its columns are then known), or data.

    Data handed over in Python may be a list of texts, of conversations or of dicts, a dict of columns, a DataFrame of
    pandas or Polars, an Arrow table, or a ``Dataset`` or ``DatasetDict`` (its ``split``) of ``datasets``.

    ``split=None`` reads everything (for a hub data set, its train split); ``Table.rows_of_split`` explains splits. Rows
    with the same prompt are never in two splits.

    Args:
        source: the file, hub id, preset or data.
        prompt_column: column of the post; a conversation (list of messages) is rendered as text.
        reference_column: column of the human text; the default ``"reference"`` may be missing, and so may its values.
            A list of texts in it, or several columns (``a,b,c``), are several references; empty ones are left out.
        split: ``"train"``, ``"validation"``, ``"test"`` or ``None``.
        seed: a different seed splits the same prompts differently.
        limit: at most this many prompts.

    Raises:
        InputError: an unreadable source, a missing column, an empty prompt, an unknown split.
    """
    return load_prompt_splits(source, [split], prompt_column, reference_column, seed, limit)[split]


@takes_numbers
def load_prompt_splits(
    source: Any,
    splits: Sequence[Split],
    prompt_column: str = "prompt",
    reference_column: str = "reference",
    seed: int = 0,
    limit: int | None = None,
) -> dict[Split, PromptSet]:
    """Several splits by name, each as from ``load_prompts``; a local file is read once.

    Raises:
        InputError: as for ``load_prompts``.
    """
    preset = presets.find(source)
    if preset is not None:
        prompt_column = preset.column("prompt", prompt_column, "prompt")
        reference_column = preset.column("reference", reference_column, "reference")
    found: dict[Split, PromptSet] = {}
    rows: _PromptRows | None = None
    for split in splits:
        if rows is None or rows.table.hub_splits:  # the splits of a hub data set are separate tables
            rows = _prompt_rows(read_table(source, split=split, what="prompts"), prompt_column, reference_column)
        kept = rows.table.rows_of_split(split, rows.prompts, seed)[:limit]
        name = str(source) if is_source(source) else "prompts"
        found[split] = PromptSet(_Selected(rows, kept), name if split is None else f"{name} ({split})")
    return found


def _prompt_rows(table: Table, prompt_column: str, reference_column: str) -> _PromptRows:
    cells = table.cells(prompt_column, "Map it with --data.prompt_column.")
    prompts = [table.as_text(cell, index, prompt_column) for index, cell in enumerate(cells)]
    conversations = {
        index: messages for index, cell in enumerate(cells) if (messages := table.messages(cell, index, prompt_column))
    }
    references: list[list[str]] | None = None
    if reference_column != "reference" or table.has(reference_column):
        references = _references(table, reference_column)
    return _PromptRows(table, prompts, references, conversations)


def _references(table: Table, column: str) -> list[list[str]]:
    """The references of every row, of one column or of several."""
    names = [column] if column in table.columns else [name.strip() for name in column.split(",")]
    cells = [table.column(name, "Map it with --data.reference_column.", optional=True) for name in names]
    found: list[list[str]] = [[] for _ in range(len(table))]
    for name, values in zip(names, cells, strict=True):
        for index, value in enumerate(values):
            texts = _texts_of(value, may_lack=len(names) > 1)
            found[index] += [table.as_text(text, index, name) for text in texts]
    return found


def _texts_of(value: Any, may_lack: bool) -> list[Any]:
    """The texts in a cell: those of a list of texts that are not empty, or else its value."""
    value = value.tolist() if hasattr(value, "tolist") else value
    listed = isinstance(value, list) and all(text is None or isinstance(text, str) for text in value)
    texts = value if listed else [value]
    empty = [text is None or ((listed or may_lack) and isinstance(text, str) and not text.strip()) for text in texts]
    return [text for text, out in zip(texts, empty, strict=True) if not out]


@takes_numbers
def embedded_prompts(split: str = "train", count: int | None = None, start: int = 0) -> PromptSet:
    """Posts of the embedded world, generated on demand.

    Each row also has ``facts`` (dict from slot to value), ``distractors`` (list of (slot, value) mentioned beside the
    point) and ``post_index``.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``; the last two are held-out combinations of facts.
        count: how many posts; 20,000 of train and 500 of each other by default.
        start: how many posts of the split to skip first.

    Raises:
        InputError: an unknown split, or a count below 1.
    """
    return _of_posts(_summary_row, "embedded world", split, count, start)


@takes_numbers
def instruction_prompts(
    split: str = "train", count: int | None = None, start: int = 0, families: Sequence[str] | None = None
) -> PromptSet:
    """Instructions about posts of the embedded world, one per post, cycling through the families.

    Each row has the instruction with its post as ``"prompt"`` (in the text of ``render_instruction``), the answer as
    ``"reference"``, every accepted answer as ``"references"``, the ``options`` to choose from (none where an answer
    has to be written), and ``family`` and ``post_index``. It has no hidden facts: the gold preference judges summaries,
    which answers are not.

    Args:
        split: as in ``embedded_prompts``; the posts are the same.
        count: as there.
        start: as there.
        families: names of ``world.instructions.FAMILIES``; by default ``SEEN``, those that are not held out.

    Raises:
        InputError: an unknown split or family, no family, or a count below 1.
    """
    from .world.instructions import FAMILIES, SEEN

    families, known = list(SEEN if families is None else families), ", ".join(FAMILIES)
    if not families:
        raise InputError(f"Instructions need at least one family; there are {known}.")
    for name in families:
        if name not in FAMILIES:
            raise InputError(
                f'No family of instructions is called "{name}"; there are {known}.{nearest(name, FAMILIES)}'
            )
    return _of_posts(partial(_instruction_row, families), "embedded instructions", split, count, start)


def _of_posts(
    make: Callable[[Post], Mapping[str, Any]], name: str, split: str, count: int | None, start: int
) -> PromptSet:
    """The rows that ``make`` makes of embedded posts."""
    if split not in _EMBEDDED:
        raise InputError(f'Unknown split "{split}"; use train, validation or test.{nearest(split, _EMBEDDED)}')
    first, default = _EMBEDDED[split]
    count = default if count is None else count
    if count < 1 or start < 0:
        raise InputError(
            f"A prompt set needs a count of at least 1 and a start of at least 0, got {count} and {start}."
        )
    return PromptSet(_PostRows(make, split, range(first + start, first + start + count)), f"{name} ({split})", True)


def resolve_prompts(prompts: Any, split: str | None = "train") -> PromptSet:
    """A ``PromptSet`` from what a user may give: ``None`` (embedded), what ``load_prompts`` reads, or itself.

    Of what is handed over in Python all rows are taken, or those of the split where it has splits.

    Raises:
        InputError: as for ``load_prompts``.
    """
    if isinstance(prompts, PromptSet):
        return prompts
    if prompts is None:
        return embedded_prompts(split or "train")
    return load_prompts(prompts, split=split if is_source(prompts) or has_splits(prompts) else None)


class _Selected(Sequence[Mapping[str, Any]]):
    """Some rows of a sequence of rows, by index."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> None:
        self._rows, self._indices = rows, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[self._indices[index]]


class _PromptRows(Sequence[Mapping[str, Any]]):
    """Rows of a table with the mapped columns called ``prompt`` and ``reference``.

    A prompt that is a conversation is text there, and under ``conversation`` the list of its messages. Where any row
    has several references, all have the list of theirs under ``references``.
    """

    def __init__(
        self,
        table: Table,
        prompts: list[str],
        references: list[list[str]] | None,
        conversations: Mapping[int, list[Message]],
    ) -> None:
        self.table, self.prompts, self._references = table, prompts, references
        self._several = any(len(texts) > 1 for texts in references or ())
        self._conversations = conversations

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        texts = [] if self._references is None else self._references[index]
        row = {**self.table.rows[index], "prompt": self.prompts[index], "reference": texts[0] if texts else None}
        if self._several:
            row["references"] = list(texts)
        messages = self._conversations.get(index)
        return row if messages is None else {**row, "conversation": messages}


class _PostRows(Sequence[Mapping[str, Any]]):
    """Posts of the embedded world as rows, each generated on demand."""

    def __init__(self, make: Callable[[Post], Mapping[str, Any]], split: str, indices: range) -> None:
        self._make, self._split, self._indices = make, split, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        from .world import post

        return self._make(post(self._split, self._indices[index]))


def _summary_row(made: Post) -> dict[str, Any]:
    return {
        "prompt": made.text,
        "reference": made.reference,
        "facts": made.facts.as_dict(),
        "distractors": list(made.distractors),
        "post_index": made.index,
    }


def _instruction_row(families: Sequence[str], made: Post) -> dict[str, Any]:
    from .world.instructions import task

    family = families[made.index % len(families)]
    instruction, answers, options = task(made, family)
    return {
        "prompt": render_instruction(instruction, made.text),
        "reference": answers[0],
        "references": list(answers),
        "options": list(options),
        "family": family,
        "post_index": made.index,
    }
