"""``prefgym reward``: train a Bradley-Terry preference model from pairwise comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config, Option, describe, parse_flags, preset_names, resolve
from ..data.templates import SUMMARIZE
from ..errors import InputError
from ..experiment import chat_words, check_device, typed
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, PARTS, check_output, discard_parts, new_folder, resumed_folder
from ..pair_data import divide
from ..resuming import config_of_run, stop_is_told, told_finished
from .sft import CHAT_WORDS, CONTROL, DEVICE, SMALL, TRAINING, settle_learning_rate, sources_of, training_options

if TYPE_CHECKING:
    from ..data.chat_template import Asked
    from ..data.comparisons import Comparison
    from ..data.prompting import AnyTemplate
    from ..rewards.preference_model import PreferenceModel

REFERENCES = 256
"""Chosen responses whose scores average 0 where no reference responses are named; reading all may take as long as
learning from them."""
OPTIONS = [
    *CONTROL,
    Option("seed", int, 0, "Seed of the head, of shuffling and of folds.", minimum=0),
    Option("model", str, "embedded/start", "Model whose trunk to start from: a language model or an encoder."),
    DEVICE,
    Option("max_length", int, None, "Tokens of prompt and response (default: the model's context).", minimum=4),
    Option("folds", int, 5, "Cross-validate by prompt in this many folds first; 0 for none.", minimum=0),
    Option("data.comparisons", str, None, "File (JSONL, JSON, CSV, Parquet), hub id or corpus with the comparisons."),
    Option("data.prompt_column", str, "prompt", "Column with the prompt."),
    Option("data.chosen_column", str, "chosen", "Column with the preferred response."),
    Option("data.rejected_column", str, "rejected", "Column with the other response."),
    Option("data.first_column", str, None, "Column with the first response, where a label names the better one."),
    Option("data.second_column", str, None, "Column with the second response."),
    Option("data.label_column", str, None, "Column with the label, or several: annotator1,annotator2."),
    Option(
        "data.rating_column",
        str,
        None,
        "Column with the rating of a single response, or several to be averaged: responses to one prompt are compared. "
        "A list in it holds each rater's.",
    ),
    Option("data.response_column", str, "response", "Column with the response that is rated."),
    Option("data.min_gap", float, 0.0, "Leave out pairs whose ratings differ by less, but for equal ones.", minimum=0),
    Option("data.label_map", object, None, "What labels mean (default: 1=first,2=second,0=tie)."),
    Option("data.group_column", str, None, "Column that must not be split, if not the prompt (an article's id)."),
    Option("data.annotator_column", str, None, "Column that says who judged (default: annotator, if there is one)."),
    Option(
        "data.system_column",
        str,
        None,
        "Column with the system that wrote a response, or two for the two of a comparison (model_a,model_b): "
        "cross-validation then holds out systems too, in 6 models for each fold.",
    ),
    Option(
        "data.reference_column",
        str,
        None,
        f"Column with human responses, whose scores will average 0 (default: chosen ones, {REFERENCES} at most).",
    ),
    Option(
        "data.template",
        str,
        None,
        "Text around a prompt, as in the environment (default: chat, the model's own chat template, or without one "
        "{prompt}\\n\\nTL;DR:).",
    ),
    *CHAT_WORDS,
    Option(
        "data.held_out", float, 0.1, "Share of the prompts held out to choose the best step and calibrate.", minimum=0
    ),
    *TRAINING,
]


def help_text() -> str:
    """The text of ``prefgym reward --help``."""
    return (
        "usage: prefgym reward --data.comparisons FILE [options]\n\n"
        "Train a preference model, any Hugging Face model with one output, on pairs of responses, one of which was\n"
        'preferred. Accuracy is cross-validated by prompt, next to chance, to "the longer one wins" and, where\n'
        "pairs were judged more than once, to how far people agree; with it come calibration, and accuracy by\n"
        "annotator and by length. Files from prefgym label are read as they are. Use the result as --env.reward of\n"
        "prefgym train, or as --evaluation.judge.\n\n"
        f"presets: {', '.join(preset_names('reward'))}\n\n"
        "  prefgym reward --data.comparisons pairs.jsonl --output runs/reward\n"
        "  prefgym reward --data.comparisons votes.json --data.prompt_column input --data.first_column output_1 \\\n"
        "      --data.second_column output_2 --data.label_column label --data.label_map 1=first,2=second\n"
        "  prefgym reward --data.comparisons ratings.csv --data.rating_column stars --data.min_gap 1\n"
        "  prefgym reward --resume --output runs/reward\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = read_config(arguments)
    folder = Path(config["output"] or "runs/reward")
    if config["resume"]:
        if not told_finished("reward", folder):
            with resumed_folder(folder, "reward") as folder, stop_is_told("reward", folder):
                _train(config, folder, *_inputs(config))
        return
    check_output(folder, "reward", overwrite=config["overwrite"], inputs=config)
    inputs = _inputs(config)
    with new_folder(folder, "reward", overwrite=config["overwrite"]) as folder, stop_is_told("reward", folder):
        config.without(CONTROL).save(folder / CONFIG_FILE)
        _train(config, folder, *inputs)


def read_config(arguments: list[str]) -> Config:
    """Resolve the words of the command line; with ``resume`` the run's own config."""
    flags = parse_flags(arguments, OPTIONS)
    sources = sources_of("reward", flags, OPTIONS)
    if flags.get("resume"):
        needed = "data.comparisons"
        return config_of_run("reward", sources, lambda _: OPTIONS, every=OPTIONS, control=CONTROL, needed=needed)
    config = resolve(OPTIONS, sources)
    if config["data.comparisons"] is None:
        raise InputError("Give the comparisons: --data.comparisons FILE with columns prompt, chosen, rejected.")
    return config


def _inputs(config: Config) -> tuple[PreferenceModel, list[Comparison], list[tuple[Asked, str]]]:
    """The model to start from, by which the learning rate is settled, the comparisons, and the references."""
    check_device(config["device"])
    model = _start(config)
    settle_learning_rate(config, _parameters(model))
    comparisons = _comparisons(config, model)
    return model, comparisons, _references(config, comparisons, model)


def _start(config: Config) -> PreferenceModel:
    from ..rewards.preference_model import PreferenceModel

    options = {"seed": config["seed"], "device": config["device"], "max_length": config["max_length"]}
    model = PreferenceModel.start(config["model"], **options)
    return model.prompted_with(_template(config, model))


def _template(config: Config, model: PreferenceModel) -> AnyTemplate:
    """The template asked for, or that the model was trained with, or its own chat template, or that of summaries."""
    from ..data.prompting import Usual, resolve_template
    from ..models.folder import locate
    from ..models.prompting import read_prompting

    stored, given = read_prompting(locate(config["model"])), config["data.template"]
    usual = Usual(SUMMARIZE) if model.chat or stored else SUMMARIZE
    asked = typed(given) if given else usual
    return resolve_template(asked, model.tokenizer, stored=stored, name=config["model"], **chat_words(config, "data"))


def _comparisons(config: Config, model: PreferenceModel) -> list[Comparison]:
    """The comparisons, templated as the environment presents them."""
    from ..data.comparisons import load_comparisons

    source = config["data.comparisons"]
    shared = {f"{name}_column": config[f"data.{name}_column"] for name in ("prompt", "group", "annotator", "system")}
    if config["data.rating_column"]:
        from ..data.rated import rated_comparisons

        columns = {f"{name}_column": config[f"data.{name}_column"] for name in ("rating", "response")}
        rated = rated_comparisons(source, **shared, **columns, min_gap=config["data.min_gap"])
        print(rated.told(), flush=True)
        comparisons = rated.comparisons
    else:
        names = ("chosen", "rejected", "first", "second", "label")
        columns = {f"{name}_column": config[f"data.{name}_column"] for name in names}
        comparisons = load_comparisons(source, **shared, **columns, label_map=config["data.label_map"])
    return comparisons if model.chat else [comparison.render(model.around) for comparison in comparisons]


def _references(config: Config, comparisons: list[Comparison], model: PreferenceModel) -> list[tuple[Asked, str]]:
    """(prompt, response) pairs whose scores will average 0; without a column, chosen responses from all over."""
    if config["data.reference_column"] is None:
        from ..data.splits import spaced
        from ..rewards.chat_texts import asked_and_said

        known = asked_and_said(comparisons, model.chat)
        texts = [(item.prompt, item.chosen) for item in comparisons if not item.tie]
        texts = texts or [(item.prompt, text) for item in comparisons for text in (item.chosen, item.rejected)]
        return [known[pair] for pair in spaced(texts, REFERENCES)]
    from ..data.prompts import load_prompts

    columns = {name: config[f"data.{name}"] for name in ("prompt_column", "reference_column")}
    template = model.around
    rows = load_prompts(config["data.comparisons"], **columns)
    prompts = [(model.chat and row.get("conversation")) or template.render(row["prompt"]) for row in rows]
    answers = [row["reference"] if model.chat else template.render_response(row["reference"]) for row in rows]
    return list(zip(prompts, answers, strict=True))


def _train(
    config: Config,
    folder: Path,
    model: PreferenceModel,
    comparisons: list[Comparison],
    references: list[tuple[Asked, str]],
) -> None:
    from ..reward_report import measured_parts, summary
    from ..rewards.accuracy import leads
    from ..rewards.breakdown import agreement, breakdown, ceiling_bounds
    from ..rewards.calibration import helpful_temperature
    from ..rewards.training import reference_shift, train_preference_model
    from ..training_report import table_rows, write_training_report

    agreed = agreement(comparisons)
    metrics: dict[str, Any] = {
        "seed": config["seed"],
        "parameters": _parameters(model),
        "learning_rate": config["training.learning_rate"],
        "agreement": agreed,
        "noise_ceiling": ceiling_bounds(agreed["low"], agreed["high"]) if agreed else None,
    }
    if config["folds"]:
        metrics["cross_validation"] = _cross_validate(config, comparisons, folder)
    apart = divide([item.split_group for item in comparisons], config["data.held_out"], config["seed"])
    held_out = [item for item, out in zip(comparisons, apart, strict=True) if out]
    facts = train_preference_model(
        model,
        [item for item, out in zip(comparisons, apart, strict=True) if not out],
        eval_comparisons=held_out or None,
        **training_options(config, folder),
    )
    history = facts.pop("history")
    metrics |= facts
    if held_out:
        lead = leads(model, held_out)  # still at temperature 1
        metrics["held_out"] = breakdown(lead, held_out, config["seed"])
        metrics["accuracy"] = metrics["held_out"]["accuracy"]
        metrics["temperature"] = model.temperature = helpful_temperature(lead, held_out)
    reference_shift(model, *map(list, zip(*references, strict=True)))
    metrics["shift"] = model.fold().shift
    told = ("seed", "comparisons", *(["temperature"] if held_out else []))
    model.facts = {"data": config["data.comparisons"], **{key: metrics[key] for key in told}}
    model.save(folder)
    write_json(folder / METRICS_FILE, metrics)
    rows = table_rows(_flat(metrics, summary(metrics)))
    notice, further = _notice(config, metrics), measured_parts(metrics, folder)
    shown = config.without(CONTROL).to_yaml()
    page = write_training_report(folder, "Preference model", notice, rows, history, shown, further)
    discard_parts(folder)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in rows))
    print(f"model: {folder}    report: {page}")


def _cross_validate(config: Config, comparisons: list[Comparison], folder: Path) -> dict[str, Any]:
    from ..rewards.cross_validation import cross_validate

    prompts = len({item.split_group for item in comparisons})
    folds = min(config["folds"], prompts)
    if folds < 2:
        raise InputError(f"Cross-validation needs 2 folds and 2 prompts, not {folds} and {prompts}; set --folds 0.")
    print(f"cross-validating {len(comparisons)} comparisons of {prompts} prompts in {folds} folds", flush=True)
    options = {name: value for name, value in config.section("training").items() if name != "save_every"}
    return cross_validate(
        lambda: _start(config),
        comparisons,
        folds=folds,
        seed=config["seed"],
        keep_in=folder / PARTS,
        accept_changes=config["accept_changes"],
        progress=True,
        **options,
    )


def _parameters(model: PreferenceModel) -> int:
    return sum(parameter.numel() for parameter in model.model.parameters())


def _notice(config: Config, metrics: dict[str, Any]) -> str:
    told = (
        f"{config['model']} ({metrics['parameters']:,} parameters) trained on {metrics['comparisons']} comparisons of "
        f"{config['data.comparisons']}, seed {config['seed']}."
    )
    if metrics["parameters"] < SMALL:
        told += " A model this small learns what good answers look like on the surface, not what they mean."
    if metrics["shift"]:
        told += f" Its output minus {metrics['shift']:.6g} is the score that prefgym pays, 0 for an average reference."
    else:
        told += " Its output is the score that prefgym pays, 0 for an average reference."
    if metrics.get("temperature", 1.0) != 1.0:
        told += f" The head is already divided by the temperature, {metrics['temperature']:.4g}."
    return told


def _flat(metrics: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """The metrics with the cross-validated rates and the summary in front, named for a reader."""
    from ..evaluation.reports.formats import points

    crossed = metrics.get("cross_validation")
    told = (
        {}
        if crossed is None
        else {
            f"accuracy, cross-validated by prompt{' and system' if crossed['systems'] else ''}": crossed["accuracy"],
            "the longer one wins": crossed["longer"],
            "above the longer one (points)": points(crossed["minus_longer"], 1),
            "the better system wins": crossed["system"],
            "chance": f"{100 * crossed['chance']:.1f} %",
        }
    )
    rest = {name: value for name, value in metrics.items() if name not in ("cross_validation", "accuracy", "agreement")}
    chosen = {"accuracy on the held-out prompts, which chose the step": metrics.get("accuracy")}
    return {**told, **summary, **chosen, **rest}
