"""Showing users' text: control characters made visible, one line, nothing that Markdown takes for markup."""

from __future__ import annotations

import json
import re
from typing import Any

_CONTROL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # C0 except tab and new line: escape sequences begin here
    "\x7f-\x9f"  # DEL and C1
    "\u202a-\u202e\u2066-\u2069"  # what changes the writing direction
    "\ud800-\udfff"  # half a character, which no encoding can hold
    "]"
)
_BEGINS = re.compile(r"#|[-+>]\s|---|===|~~~|\[[^\]]*\]:|\d+[.)]\s")
"""What starts a heading, a list, a quotation, a rule, a code block or a link definition."""


def visible(text: str) -> str:
    r"""The text with every control character escaped; tabs and line breaks stay.

    >>> visible("a\x1b[31m\tb\r\nc\u202e")
    'a\\x1b[31m\tb\nc\\u202e'
    """
    return _CONTROL.sub(lambda match: _escaped(match[0]), text.replace("\r\n", "\n"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_line(value: Any) -> str:
    r"""JSON in one line, readable but for control characters, which are escaped so that any terminal shows JSON.

    >>> print(json_line({"a": "é\x7f\u202e"}))
    {"a": "é\u007f\u202e"}
    """
    return _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=False))


def one_line(text: str) -> str:
    r"""The text in one line.

    >>> one_line(" a\n  b\x00")
    'a b\\x00'
    """
    return visible(" ".join(text.split()))


def markdown(text: str) -> str:
    r"""One line in which nothing is taken for markup: a user's text may hold pipes, tags, links and headings.

    >>> markdown("# a | <b>\n`c`"), markdown("-0.5")
    ('\\# a \\| \\<b> \\`c\\`', '-0.5')
    """
    text = one_line(text)
    for mark in ("\\", "`", "*", "<", "|", "]("):
        text = text.replace(mark, f"{mark[:-1]}\\{mark[-1]}")
    if not _BEGINS.match(text):
        return text
    digits = len(text) - len(text.lstrip("0123456789"))  # in "1. " the dot is escaped
    return f"{text[:digits]}\\{text[digits:]}"


def shortened(text: str, width: int) -> str:
    """The text cut in the middle to ``width`` characters; names may differ at either end.

    >>> shortened("a very long name of a run, seed 3", 17)
    'a very l…, seed 3'
    """
    if len(text) <= width:
        return text
    behind = (width - 1) // 2
    return f"{text[: width - 1 - behind]}…{text[-behind:]}"
