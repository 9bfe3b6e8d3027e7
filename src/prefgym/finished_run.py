"""A finished run given to a command: whether it exists, its own settings, its history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .config import COMMAND_LINE, Config, Option, parse_flags, read_yaml, resolve
from .errors import InputError, nearest
from .output import CONFIG_FILE, HISTORY_FILE
from .paths import user_path
from .typed_json import Number, read_rows

_SCALARS = ("episodes", "objective/scores", "objective/kl", "time/rollout_seconds", "time/update_seconds")
"""What every line of a history contains, whatever the agent, but for a validation before the first iteration."""

ACCEPT_START = Option(
    "accept_changes",
    bool,
    False,
    "Continue although the model or reference that the run started from has changed.",
    only_typed=True,
)
_SECTIONS = ("env", "data", "evaluation", "seed")
"""The sections that a run's own config decides; where a command writes and whom it trusts is for the command line."""


def read_run(
    arguments: list[str], options: Sequence[Option], usage: str, own: Sequence[Option] = ()
) -> tuple[str, Config, set[str]]:
    """The run that a command names, its options, and which of them were given on the command line.

    Options that are not given are those of the run's own config, as far as it has them.

    Args:
        arguments: the words after the command.
        options: what they may set.
        usage: how the command is called.
        own: further options that the run's config alone decides.
    """
    positional: list[str] = []
    flags = parse_flags(arguments, options, positional)
    if len(positional) != 1:
        raise InputError(f"Name one run: {usage}.")
    folder = user_path(positional[0])
    check_run(folder)
    every = [*options, *own]
    kept = settings_of_run(folder, every)
    return positional[0], resolve(every, [(str(folder / CONFIG_FILE), kept), (COMMAND_LINE, flags)]), set(flags)


def check_run(folder: Path) -> None:
    """Raise :class:`InputError` unless the folder exists, or names an embedded model or a GGUF file."""
    if folder.is_dir() or (folder.is_file() and folder.suffix == ".gguf") or str(folder).startswith("embedded"):
        return
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    raise InputError(
        f"There is no run folder {folder}; train one with prefgym train --output {folder}."
        f"{nearest(folder.name, siblings)}"
    )


def settings_of_run(folder: Path, options: Sequence[Option]) -> dict[str, Any]:
    """These options in the run's own config, as far as it may decide them; empty for a plain model folder."""
    file = folder / CONFIG_FILE
    saved = read_yaml(file, options) if file.is_file() else {}
    known = {option.key for option in options if option.key.split(".")[0] in _SECTIONS}
    return {key: value for key, value in saved.items() if key in known} if "env.id" in saved else {}


def check_start(folder: Path, env: Any, given: Collection[str]) -> None:
    """Refuse an environment that starts from another model than the run did, or measures the KL from another one.

    Args:
        folder: of the run; one of version 0.1, or of a plain model, says nothing of its start.
        env: made anew from the config of the run.
        given: options that the user gave in this call, whatever the run says.

    Raises:
        InputError: model or reference changed since the run was saved.
    """
    from .agents.inputs import TOLD, changed_input, models_of
    from .agents.run_folder import inputs_of_run

    saved = inputs_of_run(folder)
    asked = {"model": {"env.id", "env.model"}, "reference": {"env.id", "env.model", "env.reference", "env.dtype"}}
    now = {name: hashed for name, hashed in (models_of(env) if saved else {}).items() if not asked[name] & set(given)}
    name = changed_input(saved, now)
    if name is not None:
        raise InputError(
            f"{TOLD[name]} changed since {folder} was saved, and KL and win rates would be those against another one; "
            f"put it back, name it with --env.{name}, or add --accept-changes."
        )


def read_history(run: Path) -> list[dict[str, Any]]:
    """The scalars of the run's training, if it was trained by an agent."""
    file = run / HISTORY_FILE
    if not file.is_file():
        return []
    from .agents.validated import OBJECTIVE, is_iteration

    step = "remove it to evaluate without learning curves"
    rows = read_rows(file, {"episodes": float}, others=Number, step=step)
    found = {key for row in rows if is_iteration(row) for key in row if key.startswith("objective/")}
    for number, row in enumerate(rows, start=1):
        needed = found.union(_SCALARS) if is_iteration(row) or OBJECTIVE not in row else ()
        lacking = sorted(key for key in needed if key not in row)
        if lacking:
            raise InputError(f'"{file}" is damaged: its row {number} has no "{lacking[0]}"; {step}.')
    return rows
