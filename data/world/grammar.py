"""Alternation grammars: short templates that expand to many sentences.

    {a|b|c}   one of the alternatives (an empty one leaves it out)
    [name]    one of the lines of the rule `name`
    <slot>    the words given for a slot when the template is expanded

Templates are compiled once; expanding draws uniformly at every choice. The grammar knows nothing about posts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Rules = Mapping[str, Sequence[str]]
Draw = Callable[[], float]

_PIECES = re.compile(r"[{}|]|\[\w+\]|<\w+>|[^{}|\[\]<>]+")
_SPACE = re.compile(r"^\s+|\s+(?=[\s,.;:?!]|$)")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.?!] ))[a-z]")
_ARTICLE = re.compile(r"\ba\(n\) (?=(.))")


@dataclass(frozen=True)
class Slot:
    """A place in a template for the words of a slot."""

    name: str


@dataclass(frozen=True)
class Choice:
    """Alternatives, each a sequence of literal text, slots and further choices."""

    options: tuple[Sequence_, ...]


Sequence_ = tuple["str | Slot | Choice", ...]


def compile_rule(options: Sequence[str], rules: Rules) -> Choice:
    """A choice among templates, every `[name]` resolved through `rules`.

    Raises KeyError for an unknown name and ValueError for a brace that opens or closes nothing.
    """
    return Choice(tuple(_parse(option, rules) for option in options))


def _parse(template: str, rules: Rules) -> Sequence_:
    stack: list[list[list[str | Slot | Choice]]] = [[[]]]
    for piece in _PIECES.findall(template):
        if piece == "{":
            stack.append([[]])
        elif piece == "|" and len(stack) > 1:
            stack[-1].append([])
        elif piece == "}" and len(stack) > 1:
            options = stack.pop()
            stack[-1][-1].append(Choice(tuple(tuple(option) for option in options)))
        elif piece in "{}|":
            raise ValueError(f"stray {piece!r} in the template {template!r}")
        elif piece[0] == "[":
            stack[-1][-1].append(compile_rule(rules[piece[1:-1]], rules))
        elif piece[0] == "<":
            stack[-1][-1].append(Slot(piece[1:-1]))
        else:
            stack[-1][-1].append(piece)
    if len(stack) > 1:
        raise ValueError(f"a brace is not closed in the template {template!r}")
    return tuple(stack[0][0])


def expand(choice: Choice, draw: Draw, slots: Mapping[str, str]) -> str:
    """One expansion, not yet tidied; `draw()` is uniform in [0, 1)."""
    pieces: list[str] = []
    _collect(choice, draw, slots, pieces)
    return "".join(pieces)


def _collect(choice: Choice, draw: Draw, slots: Mapping[str, str], pieces: list[str]) -> None:
    options = choice.options
    for item in options[int(draw() * len(options))]:
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, Slot):
            pieces.append(slots[item.name])
        else:
            _collect(item, draw, slots, pieces)


def tidy(text: str) -> str:
    """Single spaces, none before punctuation, "a(n)" decided, a capital at the start of each sentence."""
    text = _SPACE.sub("", text)
    text = _ARTICLE.sub(lambda match: "an " if match.group(1) in "aeiouAEIOU" else "a ", text)
    return _SENTENCE_START.sub(lambda match: match.group().upper(), text)
