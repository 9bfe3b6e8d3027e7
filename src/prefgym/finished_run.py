"""A finished run that a command is given: whether it is there, its own settings, its history."""

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
"""What every line of a history holds, whatever the agent."""

ACCEPT_START = Option(
    "accept_changes", bool, False, "Go on although the run's start model or reference is another one by now."
)


def read_run(arguments: list[str], options: list[Option], usage: str) -> tuple[str, Config, set[str]]:
    """The run that a command names, its options, and which of them stand on the command line.

    Options that are not given are those of the run's own config, as far as it has them.
    """
    positional: list[str] = []
    flags = parse_flags(arguments, options, positional)
    if len(positional) != 1:
        raise InputError(f"Name one run: {usage}.")
    folder = user_path(positional[0])
    check_run(folder)
    kept = settings_of_run(folder, options)
    return positional[0], resolve(options, [(str(folder / CONFIG_FILE), kept), (COMMAND_LINE, flags)]), set(flags)


def check_run(folder: Path) -> None:
    """Raise :class:`InputError` unless the folder is there, or names an embedded model."""
    if folder.is_dir() or str(folder).startswith("embedded"):
        return
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    raise InputError(
        f"There is no run folder {folder}; train one with prefgym train --output {folder}."
        f"{nearest(folder.name, siblings)}"
    )


def settings_of_run(folder: Path, options: Sequence[Option]) -> dict[str, Any]:
    """What a run's own config says of these options; nothing for a plain model folder."""
    file = folder / CONFIG_FILE
    saved = read_yaml(file, options) if file.is_file() else {}
    known = {option.key for option in options}
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
    asked = {"model": {"env.id", "env.model"}, "reference": {"env.id", "env.model", "env.reference"}}
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
    step = "remove it to evaluate without learning curves"
    rows = read_rows(file, dict.fromkeys(_SCALARS, float), others=Number, step=step)
    for number, row in enumerate(rows, start=1):
        lacking = sorted(key for key in rows[0].keys() - row.keys() if key.startswith("objective/"))
        if lacking:
            raise InputError(f'"{file}" is damaged: its row {number} has no "{lacking[0]}"; {step}.')
    return rows
