"""``prefgym evaluate RUN``: win rate, KL, length and samples of one run, on held-out prompts or on a file of yours."""

from __future__ import annotations

from pathlib import Path

from ..config import Config, Option, describe, parse_flags, read_yaml, resolve
from ..errors import InputError
from ..experiment import DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS, evaluate_run, load_splits, make_env
from ..output import CONFIG_FILE, check_output, new_folder, write_metrics

CONTROL = [
    Option("output", str, None, "Folder of the report (default: RUN/evaluation)."),
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
    """Return the text of ``prefgym evaluate --help``."""
    return (
        "usage: prefgym evaluate RUN [options]\n\n"
        "Judge the model in the folder RUN against reference texts and against the model it was trained from, at\n"
        "temperature 1 and greedily. Environment and data are those of RUN/config.yaml unless you say otherwise.\n\n"
        "  prefgym evaluate runs/mine\n"
        "  prefgym evaluate runs/mine --data.prompts posts.jsonl --evaluation.judge my_judge.py:better\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    if not arguments or arguments[0].startswith("--"):
        raise InputError("Name the run: prefgym evaluate RUN.")
    source, config = Path(arguments[0]), config_of(arguments[0], arguments[1:], OPTIONS)
    folder = Path(config["output"] or source / "evaluation")
    check_output(folder, overwrite=config["overwrite"])

    from ..evaluation.report import sample_block, summary_table, write_report
    from ..models.language_model import LanguageModel

    trained = LanguageModel.load(source, device=config["env.device"])
    splits = load_splits(config)
    env = make_env(config, splits["train"])
    evaluation = evaluate_run(config, env, {"trained": trained}, splits)
    with new_folder(folder, overwrite=config["overwrite"]):
        Config({key: value for key, value in config.items() if key not in {"output", "overwrite"}}).save(folder / CONFIG_FILE)
        write_metrics(folder, evaluation.metrics)
        write_report(folder, evaluation, [])
    print(summary_table(evaluation.metrics))
    print(sample_block(evaluation))
    print(f"\nreport: {folder / 'report.html'}")


def config_of(run: str, arguments: list[str], options: list[Option]) -> Config:
    """Resolve ``options`` from the run's own config (as far as it has them) and the flags."""
    source = Path(run)
    if not source.is_dir():
        raise InputError(f"There is no run folder {source}; train one with prefgym train --output {source}.")
    known = {option.key for option in options}
    saved = read_yaml(source / CONFIG_FILE) if (source / CONFIG_FILE).is_file() else {}
    kept = {key: value for key, value in saved.items() if any(key == name or key.startswith(name + ".") for name in known)}
    return resolve(options, [(str(source / CONFIG_FILE), kept), ("command line", parse_flags(arguments, options))])
