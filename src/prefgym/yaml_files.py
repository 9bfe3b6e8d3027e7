"""YAML 1.2 as settings need it: scalars of the core schema, text keys, and bounded size.

PyYAML scans the text; what its scalars mean is decided here, because PyYAML reads YAML 1.1, in which ``1:30`` is 90,
``0777`` is 511, ``no`` is false and ``1e-4`` is text. A value is built while it is read, so that the bounds on depth
and on nodes, with aliases expanded, stop a text before it costs anything.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .errors import InputError
from .paths import is_text, read_bytes, shortened

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 30
MAX_DIGITS = 40
_CHARACTERS_OF_A_NODE = 20  # a long text counts as several nodes, or many aliases of it would grow large

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_RARE_LINE_END = re.compile("[\x85\u2028\u2029]")

_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, Callable[[Any], bool]] = {
    f"{_TAG}null": lambda value: value is None,
    f"{_TAG}bool": lambda value: isinstance(value, bool),
    f"{_TAG}int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    f"{_TAG}float": lambda value: isinstance(value, float),
}


def scalar(text: str) -> Any:
    """The value of a plain scalar: None, a boolean, an exact integer, a float, or the text itself.

    >>> [scalar(text) for text in ("~", "TRUE", "yes", "0777", "0x1f", "1e-4", "1:30", "2020-01-01", ".inf")]
    [None, True, 'yes', 777, 31, 0.0001, '1:30', '2020-01-01', inf]

    Raises:
        ValueError: a whole number of more than ``MAX_DIGITS`` digits.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of {len(text)} digits is too long")
        return int(text, 0 if text[1:2] in ("o", "x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def load_yaml_file(path: Path) -> Any:
    """The single document in a file, None if it is empty.

    Raises:
        InputError: a missing or too large file, or as for :func:`load_yaml`; the message names file and line.
        MachineError: a file that the machine does not allow reading.
    """
    content = read_bytes(path, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes, which is more than settings need.")
    try:
        return load_yaml(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path} is not a YAML file: it is not UTF-8 text (line {line}).") from None


def load_yaml(text: str, origin: str) -> Any:
    """The single document in ``text``, None if there is none.

    Args:
        text: from a file or an option.
        origin: the file or the option, as messages name it.

    Raises:
        InputError: broken YAML, a duplicate or non-text key, a tag, a second document, a reference to what contains it,
            or more nodes or levels than allowed.
    """
    try:
        return _Reader(text, origin).document()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InputError(f"{origin} is not valid YAML at line {line}: it holds the character {_code(error)}.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{origin} is not valid YAML at line {line}: {error.problem or error.context}.") from None


def dump_yaml(value: Any) -> str:
    """A document that :func:`load_yaml`, and any YAML 1.1 reader too, reads back to the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _code(error: yaml.reader.ReaderError) -> str:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    return f"U+{code:04X}"


@dataclass
class _Open:
    """A collection whose end has not been read; ``key`` is that of a mapping's next value."""

    value: Any
    nodes_before: int
    anchor: str | None = None
    height: int = 1
    key: str | None = None


@dataclass
class _Anchored:
    """What aliases stand for, with its size and number of levels; unfinished while being read."""

    value: Any = None
    nodes: int = 0
    height: int = 0
    finished: bool = False


class _Reader:
    """Builds the value of one document from the events of PyYAML's parser, without recursion."""

    def __init__(self, text: str, origin: str) -> None:
        self.origin = origin
        self.loader = yaml.SafeLoader(text)
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.nodes = 0
        self.result: Any = None

    def document(self) -> Any:
        """The document's value."""
        documents = 0
        for event in self._events():
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(line, "a second document begins there; settings are one document")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event, line)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self.result

    def _events(self) -> Iterator[Any]:
        while True:
            try:
                if not self.loader.check_event():
                    return
                event = self.loader.get_event()
            except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF", which is not a character
                self._refuse(self.loader.line + 1, "it holds an escape that is not a character")
            yield event

    def _refuse(self, line: int, reason: str) -> NoReturn:
        raise InputError(f"{self.origin} is not valid YAML at line {line}: {reason}.")

    def _scalar(self, event: Any, line: int) -> None:
        text = _joined_surrogates(event.value)
        if not is_text(text):
            self._refuse(line, "a text holds half of a surrogate pair or a NUL, which no text may")
        self._count(1 + len(text) // _CHARACTERS_OF_A_NODE, line)
        if self._awaits_key():
            self._check_tag(event, line, ())
            self._set_key(text, line, plain=event.implicit[0])
            return
        value: Any = text
        self._check_tag(event, line, (*_TAGGED, f"{_TAG}str"))
        if (event.implicit[0] and event.tag is None) or event.tag in _TAGGED:
            try:
                value = scalar(text)
            except ValueError as error:
                self._refuse(line, str(error))
            if event.tag in _TAGGED and not _TAGGED[event.tag](value):
                self._refuse(line, f"{shortened(text)} is not what its tag says")
        if event.anchor is not None:
            nodes = 1 + len(text) // _CHARACTERS_OF_A_NODE
            self.anchors[event.anchor] = _Anchored(value, nodes, 0, finished=True)
        self._place(value)

    def _begin(self, event: Any, line: int) -> None:
        if self._awaits_key():
            self._refuse(line, "a key is a list or a mapping; keys are text")
        if len(self.open) >= MAX_DEPTH:
            self._refuse(line, f"it is nested more than {MAX_DEPTH} levels deep")
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, line, (f"{_TAG}map" if is_map else f"{_TAG}seq",))
        before = self.nodes
        self._count(1, line)
        self.open.append(_Open({} if is_map else [], before, event.anchor))
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored()

    def _end(self) -> None:
        closed = self.open.pop()
        if self.open:
            self.open[-1].height = max(self.open[-1].height, closed.height + 1)
        if closed.anchor is not None:
            nodes = self.nodes - closed.nodes_before
            self.anchors[closed.anchor] = _Anchored(closed.value, nodes, closed.height, finished=True)
        self._place(closed.value)

    def _alias(self, event: Any, line: int) -> None:
        anchored, alias = self.anchors.get(event.anchor), shortened(f"*{event.anchor}")
        if anchored is None:
            self._refuse(line, f"{alias} stands for nothing, as there is no such anchor before it")
        if not anchored.finished:
            self._refuse(line, f"{alias} is inside of what it stands for")
        if self._awaits_key():
            self._refuse(line, f"a key is the alias {alias}; write it out")
        self._count(anchored.nodes, line)
        if len(self.open) + anchored.height > MAX_DEPTH:
            self._refuse(line, f"it is nested more than {MAX_DEPTH} levels deep")
        if self.open:
            self.open[-1].height = max(self.open[-1].height, anchored.height + 1)
        self._place(copy.deepcopy(anchored.value))

    def _check_tag(self, event: Any, line: int, known: tuple[str, ...]) -> None:
        if event.tag not in (None, "!", *known):
            self._refuse(line, f"the tag {shortened(event.tag.replace(_TAG, '!!'))} is not used in settings")

    def _count(self, nodes: int, line: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._refuse(line, f"it holds more than {MAX_NODES:,} values, aliases counted as what they stand for")

    def _awaits_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].value, dict) and self.open[-1].key is None

    def _set_key(self, text: str, line: int, plain: bool) -> None:
        if not text and plain:
            self._refuse(line, "a value has no key")
        if text in self.open[-1].value:
            self._refuse(line, f"the key {shortened(text)} is given twice in the same mapping")
        self.open[-1].key = text

    def _place(self, value: Any) -> None:
        if not self.open:
            self.result = value
            return
        top = self.open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key], top.key = value, None


def _joined_surrogates(text: str) -> str:
    r"""Join a character that is escaped as two halves, as in JSON (``"\ud83d\ude00"``), into one."""
    if text.isascii() or is_text(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would be something else in YAML 1.2 or 1.1; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape the rarer line breaks, which PyYAML would write as they are and read back as spaces."""
        style = '"' if _RARE_LINE_END.search(data) else None
        return self.represent_scalar(f"{_TAG}str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Dumper.add_implicit_resolver(f"{_TAG}int", re.compile(f"({_INT.pattern})$"), list("-+0123456789"))
_Dumper.add_implicit_resolver(f"{_TAG}float", re.compile(f"({_FLOAT.pattern})$"), list("-+.0123456789"))
