"""Typed options: defaults, then a YAML preset or file, then the command line; an unknown key names its neighbour.

An option's key is dotted (``env.kl_coef``). On the command line it is ``--env.kl_coef 0.1``; in YAML it is ``kl_coef: 0.1``
under ``env:``. This module knows nothing of what the options mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError, nearest

PRESET_FOLDER = "configs"


@dataclass(frozen=True)
class Option:
    """One setting: its dotted key, type, default and a sentence that teaches it.

    ``kind`` is ``int``, ``float``, ``str``, ``bool`` or ``object`` (anything YAML can say). ``minimum`` is inclusive, ``above``
    is exclusive. ``None`` is accepted exactly where the default is ``None``.
    """

    key: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    above: float | None = None

    def check(self, value: Any, origin: str) -> Any:
        """Return ``value`` as this option's type, or raise :class:`InputError` naming ``origin`` and the key."""
        if value is None:
            if self.default is None:
                return None
            raise InputError(f"{origin}: {self.key} needs a value ({self.kind.__name__}), got nothing.")
        value = self._convert(value, origin)
        if self.choices is not None and value not in self.choices:
            raise InputError(
                f"{origin}: {self.key} is {value!r}, which is none of {', '.join(self.choices)}.{nearest(value, self.choices)}"
            )
        if self.minimum is not None and value < self.minimum:
            raise InputError(f"{origin}: {self.key} is {value}, but must be at least {self.minimum:g}.")
        if self.above is not None and not value > self.above:
            raise InputError(f"{origin}: {self.key} is {value}, but must be above {self.above:g}.")
        return value

    def _convert(self, value: Any, origin: str) -> Any:
        wrong = InputError(f"{origin}: {self.key} is {value!r}, but must be {_A_KIND[self.kind]}.")
        if self.kind is object:
            return value
        if self.kind is str:
            return str(value)
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise wrong
        if isinstance(value, bool):
            raise wrong
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise wrong from None
        if number != number or number in (float("inf"), float("-inf")):
            raise wrong
        if self.kind is int:
            if number != int(number):
                raise wrong
            return int(number)
        return number


_A_KIND = {int: "a whole number", float: "a number", bool: "true or false", str: "text", object: "a value"}


class Config(dict[str, Any]):
    """Resolved options, flat, by dotted key; ``section("env")`` gives one section without its prefix."""

    def section(self, name: str) -> dict[str, Any]:
        """Return ``{"kl_coef": ...}`` for every key ``name.kl_coef``."""
        prefix = name + "."
        return {key[len(prefix) :]: value for key, value in self.items() if key.startswith(prefix)}

    def nested(self) -> dict[str, Any]:
        """Return the options as the nested mapping that a YAML file holds."""
        tree: dict[str, Any] = {}
        for key, value in self.items():
            node = tree
            *sections, leaf = key.split(".")
            for section in sections:
                node = node.setdefault(section, {})
            node[leaf] = value
        return tree

    def save(self, path: Path) -> None:
        """Write the options as YAML to ``path``, atomically."""
        write_text(path, yaml.safe_dump(self.nested(), sort_keys=False, allow_unicode=True))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    return sorted(path.stem for path in _preset_folder().glob("*.yaml"))


def find_preset(name_or_path: str) -> Path:
    """Return the YAML file that ``name_or_path`` means: a path, or a preset's name."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if path.is_file():
            return path
        raise InputError(f"The config file {name_or_path} does not exist.")
    packaged = _preset_folder() / f"{name_or_path}.yaml"
    if packaged.is_file():
        return packaged
    names = preset_names()
    raise InputError(f'There is no preset "{name_or_path}"; presets are {", ".join(names)}.{nearest(name_or_path, names)}')


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in ``path``, flattened to dotted keys."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{path} is not valid YAML{where}: {getattr(error, 'problem', error)}.") from None
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} must hold sections such as env: and agent:, not a {type(tree).__name__}.")
    return dict(_flatten(tree))


def resolve(options: Sequence[Option], sources: Iterable[tuple[str, Mapping[str, Any]]]) -> Config:
    """Lay ``sources`` (origin, flat values), later ones winning, over the defaults and check every value."""
    known = {option.key: option for option in options}
    config = Config({option.key: option.default for option in options})
    for origin, values in sources:
        for key, value in _rejoin(values, known).items():
            if key not in known:
                raise InputError(f'{origin}: unknown option "{key}".{_suggest(key, known)}')
            config[key] = known[key].check(value, origin)
    return config


def parse_flags(arguments: Sequence[str], options: Sequence[Option]) -> dict[str, Any]:
    """Turn ``["--env.kl_coef", "0.1", "--data.cut"]`` into flat values; a flag without a value means true."""
    known = {option.key: option for option in options}
    values: dict[str, Any] = {}
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if not word.startswith("--"):
            raise InputError(f'Unexpected argument "{word}"; options look like --env.kl_coef 0.1.')
        key, has_value, text = word[2:].partition("=")
        key = key.replace("-", "_")
        if key not in known:
            raise InputError(f'Unknown option "--{key}".{_suggest(key, known, "--")}')
        if not has_value:
            following = arguments[position + 1] if position + 1 < len(arguments) else None
            if known[key].kind is bool and (following is None or following.startswith("--")):
                text = "true"
            elif following is None:
                raise InputError(f"The option --{key} needs a value ({_A_KIND[known[key].kind]}).")
            else:
                text, position = following, position + 1
        values[key] = _read_value(text, known[key])
        position += 1
    return values


def describe(options: Sequence[Option]) -> str:
    """Return the options as aligned help text, grouped by section."""
    lines: list[str] = []
    section = None
    for option in options:
        head = option.key.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", f"{head or 'general'}:"]
        default = "none" if option.default is None else option.default
        choices = f" One of {', '.join(option.choices)}." if option.choices else ""
        lines.append(f"  --{option.key} {option.kind.__name__.upper()}  (default {default})")
        lines.append(f"      {option.help}{choices}")
    return "\n".join(lines)


def _preset_folder() -> Path:
    from importlib.resources import files

    return Path(str(files(f"{__package__}.{PRESET_FOLDER}")))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _rejoin(values: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """Undo the flattening below an option that takes a whole mapping (``env.reward: {rouge: {weight: 1}}``)."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        owner = next((name for name, option in known.items() if option.kind is object and key.startswith(name + ".")), None)
        if owner is None:
            joined[key] = value
            continue
        node = joined.setdefault(owner, {})
        *path, leaf = key[len(owner) + 1 :].split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return joined


def _read_value(text: str, option: Option) -> Any:
    if option.kind is str:
        return None if text.lower() in {"none", "null"} and option.default is None else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--{option.key} is {text!r}, but must be {_A_KIND[option.kind]}.") from None


def _suggest(key: str, known: Mapping[str, Option], dashes: str = "") -> str:
    """Name the nearest option; a right name in the wrong section is the nearest of all."""
    leaf = key.rpartition(".")[2]
    same_leaf = [name for name in known if name.rpartition(".")[2] == leaf]
    if same_leaf:
        return f' Did you mean "{dashes}{same_leaf[0]}"?'
    hint = nearest(key, known) or nearest(leaf, {name.rpartition(".")[2] for name in known})
    return hint.replace('"', f'"{dashes}', 1) if hint else " See --help for the list."
