"""``prefgym reward``: train a preference model from pairwise comparisons, in the terms of Bradley and Terry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config, Option, describe, parse_flags, resolve
from ..errors import InputError
from ..output import CONFIG_FILE, check_output, new_folder, write_metrics
from .sft import TRAINING

OPTIONS = [
    Option("output", str, "runs/reward", "Folder to write the preference model and its report to."),
    Option("overwrite", bool, False, "Replace the run that stands in the output folder."),
    Option("seed", int, 0, "Seed of the head, of shuffling and of folds.", minimum=0),
    Option("model", str, "embedded/start", "Model whose trunk to start from: any language model or encoder, folder or hub id."),
    Option("device", str, "cpu", "Where to train: cpu, cuda, cuda:1, ..."),
    Option("folds", int, 5, "Cross-validate by prompt on this many folds before the final model; 0 does not.", minimum=0),
    Option("data.comparisons", str, None, "File (JSONL, JSON, CSV, Parquet), hub id or corpus preset with the comparisons."),
    Option("data.prompt_column", str, "prompt", "Column with the prompt."),
    Option("data.chosen_column", str, "chosen", "Column with the preferred response."),
    Option("data.rejected_column", str, "rejected", "Column with the other response."),
    Option("data.first_column", str, None, "Column with the first response, where a label names the better one."),
    Option("data.second_column", str, None, "Column with the second response."),
    Option("data.label_column", str, None, "Column with the label."),
    Option("data.label_map", object, None, "What labels mean, such as 1=first,2=second,0=tie (default: the usual ones)."),
    Option("data.reference_column", str, None, "Column with human responses; the score is shifted so that they average 0."),
    Option("data.template", str, "{prompt}\n\nTL;DR:", "Text around a prompt: the one of the environment it will be used in."),
    Option("data.held_out", float, 0.1, "Share of the prompts held out to choose the best step and to calibrate.", above=0),
    *TRAINING,
]


def help_text() -> str:
    """Return the text of ``prefgym reward --help``."""
    return (
        "usage: prefgym reward --data.comparisons FILE [options]\n\n"
        "Train a preference model: any Hugging Face model with one output, on pairs of responses of which people chose one.\n"
        "Accuracy is cross-validated by prompt, beside chance and beside \"the longer one wins\". Use the result as\n"
        "--env.reward of prefgym train, or as --evaluation.judge.\n\n"
        "  prefgym reward --data.comparisons pairs.jsonl --output runs/reward\n"
        "  prefgym reward --data.comparisons votes.json --data.prompt_column input --data.first_column output_1 \\\n"
        "      --data.second_column output_2 --data.label_column label --data.label_map 1=first,2=second\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = resolve(OPTIONS, [("command line", parse_flags(arguments, OPTIONS))])
    if config["data.comparisons"] is None:
        raise InputError("Give the comparisons: --data.comparisons FILE with columns prompt, chosen, rejected.")
    folder = Path(config["output"])
    check_output(folder, overwrite=config["overwrite"])
    comparisons = _comparisons(config)
    from ..rewards.preference_model import PreferenceModel

    model = PreferenceModel.start(config["model"], seed=config["seed"], device=config["device"])
    with new_folder(folder, overwrite=config["overwrite"]):
        config.save(folder / CONFIG_FILE)
        _train(config, folder, model, comparisons)


def _comparisons(config: Config) -> list[Any]:
    """Read the comparisons, templated as the environment presents them."""
    from dataclasses import replace

    from ..data.comparisons import load_comparisons
    from ..data.templates import Template

    names = ("prompt", "chosen", "rejected", "first", "second", "label")
    columns = {f"{name}_column": config[f"data.{name}_column"] for name in names}
    comparisons = load_comparisons(config["data.comparisons"], **columns, label_map=config["data.label_map"])
    template = Template(config["data.template"])
    return [
        replace(
            item,
            prompt=template.render(item.prompt),
            chosen=template.render_response(item.chosen),
            rejected=template.render_response(item.rejected),
            group=item.split_group,
        )
        for item in comparisons
    ]


def _train(config: Config, folder: Path, model: Any, comparisons: list[Any]) -> None:
    from ..data.splits import assign_split
    from ..rewards import training
    from ..rewards.preference_model import PreferenceModel
    from ..training_report import write_training_report

    options = config.section("training")
    metrics: dict[str, Any] = {"seed": config["seed"], "comparisons": len(comparisons)}
    if config["folds"]:
        prompts = len({item.split_group for item in comparisons})
        folds = min(config["folds"], prompts)
        print(f"cross-validating on {folds} folds of {prompts} prompts", flush=True)
        metrics["cross_validation"] = training.cross_validate(
            lambda: PreferenceModel.start(config["model"], seed=config["seed"], device=config["device"]),
            comparisons,
            folds=folds,
            seed=config["seed"],
            **options,
        )
    fractions = {"train": 1 - config["data.held_out"], "validation": config["data.held_out"]}
    sides = [assign_split(item.split_group, fractions, config["seed"]) for item in comparisons]
    train = [item for item, side in zip(comparisons, sides, strict=True) if side == "train"]
    held_out = [item for item, side in zip(comparisons, sides, strict=True) if side != "train"]
    facts = training.train_preference_model(
        model, train, eval_comparisons=held_out or None, seed=config["seed"], output_dir=folder, tensorboard=True,
        progress=True, **options,
    )
    if held_out:
        metrics["temperature"] = training.calibrate_temperature(model, held_out)
    chosen = [item for item in comparisons if not item.tie] or comparisons
    metrics["shift"] = training.reference_shift(model, [c.prompt for c in chosen], [c.chosen for c in chosen])
    model.save(folder)
    history = facts.pop("history")
    metrics |= facts
    write_metrics(folder, metrics)
    write_training_report(folder, "Preference model", _lead(config, model, metrics), _rows(metrics), history)
    for name, value in _rows(metrics):
        print(f"{name}: {value}")
    print(f"model and report in {folder}")


def _lead(config: Config, model: Any, metrics: dict[str, Any]) -> str:
    size = sum(parameter.numel() for parameter in model.model.parameters())
    return (
        f"{config['model']} ({size:,} parameters) trained on {metrics['comparisons']} comparisons of "
        f"{config['data.comparisons']}, seed {config['seed']}. A model this small learns surface features; do not take its "
        "score for a judgement of meaning."
    )


def _rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in metrics.items():
        if name == "cross_validation":
            rows += [("cross-validated accuracy", _rate(value["accuracy"])), ("the longer one wins", _rate(value["longer"]))]
            rows.append(("chance", "50.0 %"))
        elif isinstance(value, dict):
            rows.append((name, _rate(value)))
        else:
            rows.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _rate(rate: dict[str, float]) -> str:
    return f"{100 * rate['mean']:.1f} % (95 % interval {100 * rate['low']:.1f} to {100 * rate['high']:.1f}, n = {rate['n']})"
