"""``prefgym sft``: fine-tune a language model on pairs of instruction and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config, Option, describe, parse_flags, resolve
from ..errors import InputError
from ..output import CONFIG_FILE, check_output, new_folder, write_metrics

TRAINING = [
    Option("training.epochs", float, 3.0, "Passes over the training pairs.", above=0),
    Option("training.learning_rate", float, 5e-4, "Peak learning rate (AdamW, warm-up, cosine).", above=0),
    Option("training.batch_size", int, 16, "Examples of one forward pass.", minimum=1),
    Option("training.gradient_accumulation", int, 1, "Forward passes of one optimiser step.", minimum=1),
    Option("training.bf16", bool, False, "Matrix products in bfloat16."),
]

OPTIONS = [
    Option("output", str, "runs/sft", "Folder to write the fine-tuned model and its report to."),
    Option("overwrite", bool, False, "Replace the run that stands in the output folder."),
    Option("seed", int, 0, "Seed of shuffling.", minimum=0),
    Option("model", str, "embedded/pretrained", "Model to start from: embedded/pretrained, a folder, or a hub id."),
    Option("device", str, "cpu", "Where to train: cpu, cuda, cuda:1, ..."),
    Option("data.pairs", str, None, "File (JSONL, JSON, CSV, Parquet) or hub id with the pairs."),
    Option("data.instruction_column", str, "instruction", "Column with the instruction."),
    Option("data.input_column", str, "input", "Column with the text the instruction is about; may be absent."),
    Option("data.output_column", str, "output", "Column with the answer to learn."),
    Option("data.held_out", float, 0.1, "Share of the prompts held out to measure the loss.", minimum=0),
    Option("data.max_tokens", int, None, "Tokens a pair may have (default: the model's context); long prompts are cut.", minimum=8),
    *TRAINING,
]


def help_text() -> str:
    """Return the text of ``prefgym sft --help``."""
    return (
        "usage: prefgym sft --data.pairs FILE [options]\n\n"
        "Fine-tune a causal language model on pairs. The loss counts the answer and the EOS after it, never the prompt.\n"
        "The result is a plain Hugging Face model folder: use it as --env.model of prefgym train.\n\n"
        "  prefgym sft --data.pairs pairs.jsonl --output runs/sft\n"
        "  prefgym sft --data.pairs tasks.csv --data.instruction_column question --data.output_column answer\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = resolve(OPTIONS, [("command line", parse_flags(arguments, OPTIONS))])
    if config["data.pairs"] is None:
        raise InputError("Give the pairs: --data.pairs FILE with columns instruction, input, output.")
    folder = Path(config["output"])
    check_output(folder, overwrite=config["overwrite"])
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(config["model"], device=config["device"])
    train, held_out, cut = _pairs(config, model)
    with new_folder(folder, overwrite=config["overwrite"]):
        config.save(folder / CONFIG_FILE)
        _train(config, folder, model, train, held_out, cut)


Pairs = list[tuple[str, str]]


def _pairs(config: Config, model: Any) -> tuple[Pairs, Pairs, int]:
    """Return training pairs, held-out pairs and how many prompts were cut to fit."""
    from ..data.pairs import load_pairs
    from ..data.splits import assign_split
    from ..data.truncation import fit_text

    columns = {name: config[f"data.{name}"] for name in ("instruction_column", "input_column", "output_column")}
    pairs = load_pairs(config["data.pairs"], **columns)
    budget = min(config["data.max_tokens"] or model.context_length, model.context_length)
    fractions = {"train": 1 - config["data.held_out"], "validation": config["data.held_out"]}
    train: Pairs = []
    held_out: Pairs = []
    cut = 0
    for row, pair in enumerate(pairs):
        room = budget - len(model.encode(pair.response)) - 1
        if room < 1:
            raise InputError(f"{config['data.pairs']}: the answer of pair {row} alone does not fit {budget} tokens; shorten it.")
        fitted = fit_text(model.encode, pair.prompt, room)
        cut += fitted.cut
        side = held_out if assign_split(pair.prompt, fractions, config["seed"]) == "validation" else train
        side.append((fitted.text, pair.response))
    if not train:
        raise InputError(f"{config['data.pairs']} leaves no pair to train on; lower --data.held_out or give more rows.")
    return train, held_out, cut


def _train(config: Config, folder: Path, model: Any, train: Pairs, held_out: Pairs, cut: int) -> None:
    from ..models.finetune import finetune
    from ..training_report import write_training_report

    print(f"{len(train)} pairs to train on, {len(held_out)} held out, {cut} prompts cut to fit.", flush=True)
    options = config.section("training")
    facts = finetune(
        model, train, eval_pairs=held_out or None, keep_best=True, seed=config["seed"], output_dir=folder,
        tensorboard=True, progress=True, **options,
    )
    model.save(folder)
    history = facts.pop("history")
    metrics = {"seed": config["seed"], "pairs": len(train), "held_out": len(held_out), "prompts_cut": cut, **facts}
    write_metrics(folder, metrics)
    lead = (
        f"{config['model']} ({model.num_parameters:,} parameters, vocabulary {model.vocab_size}) fine-tuned on "
        f"{len(train)} pairs of {config['data.pairs']}, seed {config['seed']}."
    )
    rows = [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in metrics.items()]
    write_training_report(folder, "Supervised fine-tuning", lead, rows, history)
    print(f"Held-out loss {facts['eval_loss_minimum']} nats a token; model and report in {folder}.")
