"""Instruction pairs for supervised fine-tuning: a prompt as the model reads it, and the response it should write."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from . import presets
from .tables import Table, read_table
from .templates import Template, is_conversation, render_conversation, render_instruction


class Pair(NamedTuple):
    """A rendered prompt and its response; the two are read one after the other, with nothing between."""

    prompt: str
    response: str


def load_pairs(
    source: str | Path,
    *,
    instruction_column: str = "instruction",
    input_column: str = "input",
    output_column: str = "output",
    template: Template | None = None,
    split: str | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> list[Pair]:
    """Read pairs from columns ``instruction``, ``input`` (may be missing or empty) and ``output``.

    Without an instruction column, columns ``prompt`` and ``completion``, or a column ``messages`` that ends with the
    assistant's turn, are read as they are.

    Args:
        source: local file, hub id or preset.
        instruction_column: column of the instruction, or of the post when ``template`` is one for posts.
        input_column: column of what the instruction is about.
        output_column: column of the response.
        template: text around the prompt; by default instructions get ``render_instruction``, prompts nothing.
        split: ``"train"``, ``"validation"``, ``"test"`` (see ``Table.rows_of_split``) or ``None`` for all.
        seed: another division of the same prompts.
        limit: at most this many pairs.

    Raises:
        InputError: an unreadable source, a missing column, an empty prompt or response, a value that is not text.
    """
    preset = presets.find(source)
    if preset is not None and "output" in preset.columns:
        instruction_column = preset.column("instruction", instruction_column, "instruction")
        input_column = preset.column("input", input_column, "input")
        output_column = preset.column("output", output_column, "output")
        if preset.kind == "prompts":
            template = template or preset.template
    table = read_table(source, split=split)
    if table.has(instruction_column) or instruction_column != "instruction":
        pairs = _from_instructions(table, instruction_column, input_column, output_column, template)
    elif table.has("messages"):
        pairs = _from_messages(table, template)
    elif table.has("prompt") and table.has("completion"):
        texts = zip(table.texts("prompt"), table.texts("completion"), strict=True)
        pairs = [_pair(prompt, completion, template) for prompt, completion in texts]
    else:
        table.require(instruction_column, "Map it with --data.instruction_column, or give prompt and completion.")
    groups = [pair.prompt for pair in pairs]
    return [pairs[index] for index in table.rows_of_split(split, groups, seed)][:limit]


def _from_instructions(
    table: Table, instruction_column: str, input_column: str, output_column: str, template: Template | None
) -> list[Pair]:
    instructions = table.texts(instruction_column, hint="Map it with --data.instruction_column.")
    outputs = table.texts(output_column, hint="Map it with --data.output_column.")
    inputs = [""] * len(table)
    if input_column != "input" or table.has(input_column):
        values = table.column(input_column, "Map it with --data.input_column.")
        inputs = [table.as_text(value or "", i, input_column, allow_empty=True) for i, value in enumerate(values)]
    pairs = []
    for instruction, about, output in zip(instructions, inputs, outputs, strict=True):
        if template is None:
            pairs.append(Pair(render_instruction(instruction, about), " " + output.strip()))
        else:
            text = f"{instruction}\n\n{about}" if about.strip() else instruction
            pairs.append(_pair(text, output, template))
    return pairs


def _from_messages(table: Table, template: Template | None) -> list[Pair]:
    pairs = []
    for index, messages in enumerate(table.column("messages")):
        if not is_conversation(messages) or len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise InputError(
                f'Column "messages" at {table.where(index)} must be a list of messages, '
                '{"role": ..., "content": ...}, that ends with the assistant\'s.'
            )
        prompt = table.as_text(render_conversation(messages[:-1]), index, "messages")
        pairs.append(_pair(prompt, table.as_text(messages[-1]["content"], index, "messages"), template))
    return pairs


def _pair(prompt: str, response: str, template: Template | None) -> Pair:
    if template is not None:
        return Pair(template.render(prompt), template.render_response(response))
    gap = "" if prompt[-1:].isspace() or response[:1].isspace() else " "
    return Pair(prompt, gap + response)
