"""``prefgym evaluate RUN``: win rate, KL, length and samples of one run, on held-out prompts or on a file of yours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, read_yaml, resolve
from ..errors import InputError, nearest
from ..experiment import (
    check_judge,
    evaluate_run,
    load_splits,
    make_env,
    write_run_report,
)
from ..options import DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS
from ..output import CONFIG_FILE, PARTS, check_output, discard_parts, new_folder
from ..paths import user_path
from ..storage.signals import stopped
from ..trust import TRUST, check_trust
from ..typed_json import Number, read_rows

CONTROL = [
    Option(
        "output",
        str,
        None,
        "Folder of the report (default: RUN/evaluation; an old one moves aside).",
    ),
    Option("overwrite", bool, False, "Begin anew where --output holds a report; it moves to --output.previous-1."),
    TRUST,
]
_SCALARS = ("episodes", "objective/scores", "objective/kl", "time/rollout_seconds", "time/update_seconds")
"""What every line of a history holds, whatever the agent."""
OPTIONS = [
    *CONTROL,
    Option("seed", int, 0, "Seed of decoding.", minimum=0),
    *ENV_OPTIONS,
    *DATA_OPTIONS,
    *EVALUATION_OPTIONS,
]


def help_text() -> str:
    """The text of ``prefgym evaluate --help``."""
    return (
        "usage: prefgym evaluate RUN [options]\n\n"
        "Judge the model in the folder RUN against reference texts and against the model it was trained from, sampled\n"
        "and greedily. Environment and data are those of RUN/config.yaml unless you say otherwise.\n\n"
        "  prefgym evaluate runs/mine\n"
        "  prefgym evaluate runs/mine --data.prompts posts.jsonl --evaluation.judge my_judge.py:better\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    name, config, given = read_run(arguments, OPTIONS, "prefgym evaluate RUN")
    check_trust(Path(name), config, given, config["trust"])
    own = config["output"] is None
    home = user_path(name) if user_path(name).is_dir() else Path("runs") / name
    folder = home / "evaluation" if own else Path(config["output"])
    check_output(folder, "evaluate", overwrite=own or config["overwrite"])
    if not config["evaluation.prompts"]:
        raise InputError("evaluation.prompts is 0, which leaves nothing to evaluate; give a number of prompts.")
    from ..models.language_model import LanguageModel

    trained = LanguageModel.load(name, device=config["env.device"])
    splits = load_splits(config)
    check_judge(config, splits["test"])
    env = make_env(config, splits["train"], splits["test"], splits["validation"])
    history = read_history(user_path(name))
    with new_folder(folder, "evaluate", overwrite=own or config["overwrite"]) as folder, told_to_go_on():
        shown = Config({"run": name, **config.without(CONTROL)})
        shown.save(folder / CONFIG_FILE)
        evaluation = evaluate_run(config, env, {"trained": trained}, splits, history, parts=folder / PARTS)
        write_run_report(shown, folder, env, evaluation, history)
        discard_parts(folder)


@contextmanager
def told_to_go_on() -> Iterator[None]:
    """Say, when the work is interrupted, that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt as error:
        told = f"stopped by {stopped(error).name}; the same command goes on with what is finished."
        raise (error if error.args else stopped(error, told)) from None


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


def read_history(run: Path) -> list[dict[str, Any]]:
    """The scalars of the run's training, if it was trained by an agent."""
    file = run / "history.jsonl"
    if not file.is_file():
        return []
    step = "remove it to evaluate without learning curves"
    rows = read_rows(file, dict.fromkeys(_SCALARS, float), others=Number, step=step)
    for number, row in enumerate(rows, start=1):
        lacking = sorted(key for key in rows[0].keys() - row.keys() if key.startswith("objective/"))
        if lacking:
            raise InputError(f'"{file}" is damaged: its row {number} has no "{lacking[0]}"; {step}.')
    return rows
