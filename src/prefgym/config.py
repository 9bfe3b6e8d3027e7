"""Typed options: defaults, then a YAML preset or file, then the command line. An unknown key's error names the nearest.

An option's key is dotted (``env.kl_coef``). On the command line it is ``--env.kl_coef 0.1``; in YAML it is
``kl_coef: 0.1`` under ``env:``. This module knows nothing of what the options mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from textwrap import wrap
from typing import Any

from .errors import InputError, nearest
from .files import write_text
from .paths import is_text, shortened, user_path
from .yaml_files import dump_yaml, load_yaml, load_yaml_file, scalar

COMMAND_LINE = "command line"
PRESETS = "configs"
FOR = "command"
"""The key of a file that says which command it is for."""
LARGEST = 2**63 - 1
"""The largest integer for any option: a torch generator takes no larger seed, a tensor no larger index."""

_A_KIND = {int: "a whole number", float: "a number", bool: "true or false", str: "text", object: "a value"}


@dataclass(frozen=True)
class Option:
    """One setting: its dotted key, type, default and a sentence that explains it.

    Attributes:
        key: such as ``env.kl_coef``.
        kind: ``int``, ``float``, ``str``, ``bool``, or ``object`` for anything that YAML can say.
        default: the value when nothing is given.
        help: what it does.
        choices: the only allowed values.
        minimum: the smallest value.
        maximum: the largest value; by default ``LARGEST`` for integers.
        above: the value must be larger than this.
        below: the value must be smaller than this.
        optional: whether "none" is a value; it is where the default is ``None``.
        several: whether it takes all words up to the next option, as a list.
        only_typed: whether it is given on the command line alone, and a file must not say it.
    """

    key: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    optional: bool = False
    several: bool = False
    only_typed: bool = False

    def check(self, value: Any, origin: str) -> Any:
        """Return ``value`` as this option's type, or raise :class:`InputError` naming ``origin`` and the key."""
        if value is None:
            if self.takes_none:
                return None
            raise InputError(f"{origin}: {self.key} must be {_A_KIND[self.kind]}, but nothing was given.")
        value = self._convert(value, origin)
        if self.choices is not None and value not in self.choices:
            known = ", ".join(self.choices)
            shown = shortened(value)
            raise InputError(f"{origin}: {self.key} is {shown}, not one of {known}.{nearest(value, self.choices)}")
        if self.minimum is not None and value < self.minimum:
            raise InputError(f"{origin}: {self.key} is {_shown(value)}, but must be at least {self.minimum:g}.")
        maximum = LARGEST if self.maximum is None and self.kind is int else self.maximum
        if maximum is not None and value > maximum:
            raise InputError(f"{origin}: {self.key} is {_shown(value)}, but must be at most {maximum}.")
        if self.above is not None and not value > self.above:
            raise InputError(f"{origin}: {self.key} is {_shown(value)}, but must be above {self.above:g}.")
        if self.below is not None and not value < self.below:
            raise InputError(f"{origin}: {self.key} is {_shown(value)}, but must be below {self.below:g}.")
        return value

    @property
    def takes_none(self) -> bool:
        """Whether "none" is a value."""
        return self.optional or self.default is None

    def read(self, text: str) -> Any:
        """The value that ``text`` on the command line stands for, not yet checked."""
        if self.takes_none and text.lower() in {"none", "null"}:
            return None
        if self.kind is str:
            return text
        if self.kind is object:
            return load_yaml(text, f"--{self.key}")
        try:
            return scalar(text.strip())
        except ValueError as error:
            raise InputError(f"--{self.key} must be {_A_KIND[self.kind]}, but {error}.") from None

    def _convert(self, value: Any, origin: str) -> Any:
        """``value`` as this option's type; whole numbers stay exact."""
        if self.kind is object:
            return value
        fits = isinstance(value, self.kind) and not (self.kind is int and isinstance(value, bool))
        if fits and (self.kind is not float or math.isfinite(value)):
            return self.kind(value)
        number = _number(value) if self.kind in (int, float) else None
        if number is not None and (self.kind is float or number == int(number)):
            return self.kind(number)
        quotes = "; put it in quotes" if self.kind is str and isinstance(value, bool | int | float) else ""
        raise InputError(f"{origin}: {self.key} is {_shown(value)}, but must be {_A_KIND[self.kind]}{quotes}.")


class Config(dict[str, Any]):
    """Resolved options, flat, by dotted key."""

    def section(self, name: str) -> dict[str, Any]:
        """Every key ``name.key``, without the prefix."""
        prefix = name + "."
        return {key[len(prefix) :]: value for key, value in self.items() if key.startswith(prefix)}

    def without(self, options: Iterable[Option]) -> Config:
        """The same without some options."""
        left_out = {option.key for option in options}
        return Config({key: value for key, value in self.items() if key not in left_out})

    def to_yaml(self) -> str:
        """The options as a YAML file with sections; ``read_yaml`` reads it back."""
        tree: dict[str, Any] = {}
        for key, value in self.items():
            node = tree
            *sections, leaf = key.split(".")
            for section in sections:
                node = node.setdefault(section, {})
            node[leaf] = value
        return dump_yaml(tree)

    def save(self, path: Path) -> None:
        """Write ``to_yaml``."""
        write_text(path, self.to_yaml())


def preset_names(command: str = "train") -> list[str]:
    """The names of a command's presets that come with the package."""
    return sorted(path.stem for path in _preset_folder().glob("*.yaml") if _command_of(path) == command)


def find_preset(name_or_path: str, command: str = "train") -> Path:
    """The YAML file of a command that ``name_or_path`` means: a path, or a preset's name.

    Raises:
        InputError: there is none, or it is another command's.
    """
    path = _find_file(name_or_path, command)
    if (other := _command_of(path)) != command:
        raise InputError(f"--config {name_or_path} is for prefgym {other}, not for prefgym {command}.")
    return path


def _command_of(path: Path) -> str:
    """The command that a file says it is for; ``train`` if it does not say."""
    tree = load_yaml_file(path)
    return str(tree.get(FOR, "train")) if isinstance(tree, Mapping) else "train"


def _find_file(name_or_path: str, command: str) -> Path:
    path = user_path(name_or_path)
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"} and not path.exists():
        raise InputError(f"The config file {name_or_path} does not exist.")
    names = preset_names(command)
    ours = {file.stem: file for file in _preset_folder().glob("*.yaml")}
    if name_or_path in ours:
        return ours[name_or_path]
    if path.exists():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"--config {name_or_path} is {kind}; name a YAML file, or a preset.")
    known = ", ".join(names)
    raise InputError(f'There is no preset "{name_or_path}"; presets are {known}.{nearest(name_or_path, names)}')


def read_yaml(path: Path, options: Sequence[Option]) -> dict[str, Any]:
    """The mapping in ``path``, flattened to dotted keys; the value of an option that takes a mapping stays one.

    Raises:
        InputError: it is no mapping, gives a key twice, or says what is given on the command line alone.
    """
    tree = load_yaml_file(path)
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} must hold sections such as env: and agent:, not a {type(tree).__name__}.")
    values: dict[str, Any] = {}
    only_typed = {option.key for option in options if option.only_typed}
    given = {key: value for key, value in tree.items() if key != FOR}
    for key, value in _flatten(given, {option.key for option in options if option.kind is object}):
        if key in values:
            raise InputError(f'{path} gives "{key}" twice, once as a section and once with dots; remove one of them.')
        if key in only_typed:
            flag = key.replace("_", "-")
            raise InputError(f"{path}: {key} is given on the command line only, as --{flag}; remove it from the file.")
        values[key] = value
    return values


def resolve(options: Sequence[Option], sources: Iterable[tuple[str, Mapping[str, Any]]]) -> Config:
    """Lay ``sources`` (origin, flat values), later ones winning, over the defaults and check every value."""
    known = {option.key: option for option in options}
    config = Config({option.key: option.default for option in options})
    for origin, values in sources:
        for key, value in values.items():
            if key in known:
                config[key] = known[key].check(value, origin)
            elif value or not any(name.startswith(f"{key}.") for name in known):  # an empty section says nothing
                raise InputError(f'{origin}: there is no option "{key}".{_suggest(key, known)}')
    return config


def parse_flags(
    arguments: Sequence[str], options: Sequence[Option], positional: list[str] | None = None
) -> dict[str, Any]:
    """Turn ``["--env.kl_coef", "0.1", "--resume"]`` into flat values; a true-or-false flag alone means true.

    Args:
        arguments: the words after the command.
        options: what they may set.
        positional: collects the words that belong to no option; without it such a word is an error.
    """
    known = {option.key: option for option in options}
    values: dict[str, Any] = {}
    words = list(arguments)
    for word in words:
        if not is_text(word):
            raise InputError(f"The word {shortened(word)} on the command line is not UTF-8 text; write it in UTF-8.")
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            if positional is None:
                raise InputError(f'Unexpected argument "{word}"; options look like --seed 1.')
            positional.append(word)
            continue
        name, given, text = word[2:].partition("=")
        option = known.get(name.replace("-", "_"))
        if option is None:
            raise InputError(f'There is no option "--{name}".{_suggest(name.replace("-", "_"), known, "--")}')
        if not given:
            alone = not words or words[0].startswith("--")
            if alone and option.kind is not bool:
                raise InputError(f"The option --{name} needs a value ({_A_KIND[option.kind]}).")
            text = "true" if alone else words.pop(0)
        if option.several:
            values[option.key] = [text]
            while words and not words[0].startswith("--"):
                values[option.key].append(words.pop(0))
            continue
        values[option.key] = option.read(text)
    return values


def describe(options: Sequence[Option]) -> str:
    """The options as help text, by section."""
    lines: list[str] = []
    section = None
    for option in options:
        head = option.key.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", f"{head or 'general'}:"]
        default = "none" if option.default is None else option.default
        choices = f" One of {', '.join(option.choices)}." if option.choices else ""
        word = "NAME..." if option.several else "VALUE" if option.kind is object else option.kind.__name__.upper()
        kind = "" if option.kind is bool else f" {word}"
        name = option.key if "." in option.key else option.key.replace("_", "-")
        lines.append(f"  --{name}{kind}  (default {default})")
        lines += wrap(option.help + choices, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _preset_folder() -> Path:
    return Path(str(files(f"{__package__}.{PRESETS}")))


def _number(value: Any) -> int | float | None:
    """A value, or the text in quotes, as a finite number; None for anything else."""
    if isinstance(value, str):
        try:
            value = scalar(value.strip())
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None


def _shown(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 and text.isprintable() else shortened(text)


def _flatten(tree: Mapping[Any, Any], whole: Set[str], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and key not in whole:
            yield from _flatten(value, whole, f"{key}.")
        else:
            yield key, value


def _suggest(key: str, known: Mapping[str, Option], dashes: str = "") -> str:
    """Name the nearest option: the same name in another section, else the nearest key, else the nearest name."""
    leaf = key.rpartition(".")[2]
    leaves = {name.rpartition(".")[2]: name for name in reversed(list(known))}
    same = [name for name in known if name.rpartition(".")[2] == leaf]
    found = get_close_matches(key, same, 1, cutoff=0) or get_close_matches(key, known, 1)
    found = found or [leaves[name] for name in get_close_matches(leaf, leaves, 1)]
    return f' Did you mean "{dashes}{found[0]}"?' if found else " See --help for the list."
