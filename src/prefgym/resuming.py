"""Resuming a run of ``train``, ``sft`` or ``reward``: its own config, and the message after a stop."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import COMMAND_LINE, Config, Option, read_yaml, resolve
from .errors import InputError
from .output import CONFIG_FILE, PARTS, check_run_of, discard_parts, is_begun, resumed_folder
from .storage.lock import LOCK
from .storage.manifest import Manifest
from .storage.signals import stopped
from .trust import check_trust

RESUME = Option("resume", bool, False, "Continue the run in --output with its own config.", only_typed=True)
OVERWRITE = Option(
    "overwrite", bool, False, "Start over where --output holds a run: its files move to --output.previous-1."
)
ACCEPT = Option(
    "accept_changes",
    bool,
    False,
    "With --resume: continue although data, reward or model have changed.",
    only_typed=True,
)

Source = tuple[str, Mapping[str, Any]]


def config_of_run(
    command: str,
    sources: Sequence[Source],
    options_of: Callable[[Sequence[Source]], Sequence[Option]],
    every: Sequence[Option],
    control: Sequence[Option],
    needed: str,
    budget: str | None = None,
) -> Config:
    """The config of the run in ``--output``, with the control options of the command line.

    Args:
        command: whose run it must be.
        sources: what was given, the command line last.
        options_of: the options of a given config.
        every: the options that any config may have.
        control: those that are not part of a run.
        needed: one that every run's config has.
        budget: one that may be larger than before; all others must be unchanged.
    """
    flags = sources[-1][1]
    if flags.get("output") is None:
        raise InputError("--resume needs --output DIR, the folder of the run to continue.")
    check_run_of(Path(flags["output"]), command)
    file = Path(flags["output"]) / CONFIG_FILE
    values = read_yaml(file, every)
    if values.get(needed) is None:
        raise InputError(f"--resume: {file} is not the config of a run; put it back, or start a new run.")
    check_trust(file.parent, values, {key for _, given in sources for key in given}, flags.get("trust"))
    manifest = Manifest.read(file.parent)
    if (manifest is None or not manifest.is_whole(CONFIG_FILE)) and not flags.get("accept_changes"):
        raise InputError(
            f"--resume: {file} is not as the run wrote it; put it back, or add --accept-changes to continue with it."
        )
    saved = [(str(file), values)]
    options = options_of(saved)
    config = resolve(options, saved)
    own = {option.key for option in control}
    for key in sorted({key for _, given in sources for key in given} - own):
        asked = resolve(options, [*saved, *sources])[key]
        if key == budget and asked > config[key]:
            config[key] = asked
        elif asked != config[key]:
            raise InputError(
                f"--resume continues with the config in {flags['output']}, where {key} is {config[key]}, not {asked}; "
                "leave it out, or start a new run."
            )
    told = resolve(control, [(COMMAND_LINE, {key: flags[key] for key in own & set(flags)})])
    return Config({**config, **told})


def how_to_go_on(command: str, folder: Path) -> str:
    """What to type after a stop."""
    if not is_begun(folder):
        return "Run the same command again."
    return f"Continue with: prefgym {command} --resume --output {shlex.quote(str(folder))}"


def told_finished(command: str, folder: Path) -> bool:
    """Whether nothing is left to do for a run whose report is its last file; if so, prints that."""
    last = folder / "report.html"
    if not last.is_file():
        return False
    if any((folder / name).exists() for name in (LOCK, PARTS)):  # from a process that was killed at its very end
        with resumed_folder(folder, command):
            discard_parts(folder)
    print(f"{folder} is finished: {last}. Another run needs another folder, or --overwrite.")
    return True


@contextmanager
def stop_is_told(command: str, folder: Path) -> Iterator[None]:
    """Around the work in a run's folder: a stop reports what is saved, and what to type."""
    try:
        yield
    except KeyboardInterrupt as error:
        stop = stopped(error)
        said = str(error) or f"stopped by {stop.name}; what was saved of the run is intact."
        raise stopped(stop, f"{said} {how_to_go_on(command, folder)}") from None


@contextmanager
def told_to_go_on() -> Iterator[None]:
    """Say, when the work is interrupted, that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt as error:
        told = f"stopped by {stopped(error).name}; the same command continues from what is finished."
        raise (error if error.args else stopped(error, told)) from None
