"""``prefgym evaluate RUN``: win rate, KL, length and samples of one run, on held-out prompts or on a file of yours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, read_yaml, resolve
from ..errors import InputError, nearest
from ..experiment import (
    PARTS,
    check_judge,
    discard_parts,
    evaluate_run,
    load_splits,
    make_env,
    write_run_report,
)
from ..options import DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS
from ..output import CONFIG_FILE, check_output, new_folder

CONTROL = [
    Option("output", str, None, "Folder of the report (default: RUN/evaluation, whose report is replaced)."),
    Option("overwrite", bool, False, "Replace the report that stands in the output folder."),
]
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
    name, config, _ = read_run(arguments, OPTIONS, "prefgym evaluate RUN")
    own = config["output"] is None
    home = Path(name) if Path(name).is_dir() else Path("runs") / name
    folder = home / "evaluation" if own else Path(config["output"])
    check_output(folder, overwrite=own or config["overwrite"])
    if not config["evaluation.prompts"]:
        raise InputError("evaluation.prompts is 0, which leaves nothing to evaluate; give a number of prompts.")
    from ..models.language_model import LanguageModel

    trained = LanguageModel.load(name, device=config["env.device"])
    splits = load_splits(config)
    check_judge(config, splits["test"])
    env = make_env(config, splits["train"], splits["test"], splits["validation"])
    history = read_history(Path(name))
    with new_folder(folder, overwrite=own or config["overwrite"]), told_to_go_on():
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
        raise (
            error if error.args else KeyboardInterrupt("interrupted; the same command goes on with what is finished.")
        ) from None


def read_run(arguments: list[str], options: list[Option], usage: str) -> tuple[str, Config, set[str]]:
    """The run that a command names, its options, and which of them stand on the command line.

    Options that are not given are those of the run's own config, as far as it has them.
    """
    positional: list[str] = []
    flags = parse_flags(arguments, options, positional)
    if len(positional) != 1:
        raise InputError(f"Name one run: {usage}.")
    folder = Path(positional[0])
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
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError:
        raise InputError(f"{file} is damaged; remove it to evaluate without learning curves.") from None
