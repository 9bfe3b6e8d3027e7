"""Output to the terminal: no control characters from anybody's data, and no character that it cannot show."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .data.plain_text import visible

SPELLED = {
    **{
        "α": "alpha",
        "β": "beta",
        "γ": "gamma",
        "θ": "theta",
        "μ": "mu",
        "π": "pi",
        "σ": "sigma",
        "φ": "phi",
        "χ": "chi",
    },
    **{
        "Δ": "Delta",
        "Σ": "sum",
        "√": "sqrt",
        "∇": "grad",
        "‖": "||",
        "±": "+-",
        "×": "x",
        "·": "*",
        "−": "-",
        "²": "^2",
    },
    **{"½": "1/2", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "→": "->", "…": "...", "–": "-", "—": "-"},
    **{"’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " "},
}
"""How characters of our own sentences are written where an encoding lacks them; all others are escaped."""

MOVES = re.compile(r"\n*(?:\x1b\[A)*")
"""What progress bars write to reach their own line, in a write of its own."""


def printable(text: str, stream: Any = None) -> str:
    """The text as a stream (by default standard error) can show it: control and unencodable characters replaced.

    >>> printable("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    stream = sys.stderr if stream is None else stream
    return _sayable(visible(text), getattr(stream, "encoding", None) or "utf-8")


def _sayable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        pass
    except LookupError:
        encoding = "ascii"
    return "".join(_spelled(character, encoding) for character in text)


def _spelled(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return SPELLED.get(character) or character.encode("ascii", "backslashreplace").decode("ascii")
    return character


class Plain:
    """A text stream that shows only what is printable, and otherwise behaves as the stream itself.

    Args:
        stream: the stream to write to.
        bars: let the cursor moves of progress bars pass.
    """

    def __init__(self, stream: Any, bars: bool = False) -> None:
        self._stream, self._bars = stream, bars

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text; gives its number of characters."""
        self._stream.write(self._bar(text) if self._bars else printable(text, self._stream))
        return len(text)

    def _bar(self, text: str) -> str:
        """The text with the carriage returns around it."""
        if MOVES.fullmatch(text):
            return text
        line = text.strip("\r")
        before, _, behind = text.partition(line) if line else (text, "", "")
        return f"{before}{printable(line, self._stream)}{behind}"

    def writelines(self, lines: Any) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)


@contextmanager
def plain_output() -> Iterator[None]:
    """Inside it, all output is printable, whatever its content and the encoding.

    At its end everything is flushed, so that a full disk or a closed pipe raises here (``OSError``) and is not lost
    when the interpreter exits. What the stream still holds then is dropped.
    """
    output, errors = sys.stdout, sys.stderr
    shown, told = (None if _gone(stream) else stream for stream in (output, errors))
    if shown is not None:
        sys.stdout = Plain(shown)
    if told is not None:
        sys.stderr = Plain(told, bars=True)
    try:
        yield
    except BaseException:
        with suppress(OSError, ValueError):
            _finish(shown)
        raise
    else:
        _finish(shown)
    finally:
        sys.stdout, sys.stderr = output, errors


def _gone(stream: Any) -> bool:
    return stream is None or getattr(stream, "closed", False)


def _finish(stream: Any) -> None:
    """Flush the stream; if that fails, discard its buffer, or the interpreter would try again."""
    if _gone(stream):
        return
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        raise
