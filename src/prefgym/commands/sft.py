"""``prefgym sft``: fine-tune a language model on pairs of instruction and answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, resolve
from ..errors import InputError
from ..experiment import check_device, read_template
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, check_output, new_folder

if TYPE_CHECKING:
    from ..models.language_model import LanguageModel

SMALL = 100_000_000

TRAINING = [
    Option("training.epochs", float, 3.0, "Passes over the training data.", above=0),
    Option("training.learning_rate", float, 5e-4, "Peak learning rate (AdamW, warm-up, cosine).", above=0),
    Option("training.batch_size", int, 16, "Examples of one forward pass.", minimum=1),
    Option("training.gradient_accumulation", int, 1, "Forward passes of one optimiser step.", minimum=1),
    Option("training.bf16", bool, False, "Matrix products in bfloat16."),
]
CONTROL = [
    Option("output", str, None, "Folder to write the model and its report to (default: runs/ and the command's name)."),
    Option("overwrite", bool, False, "Replace the run that stands in the output folder."),
]
DEVICE = Option("device", str, "cpu", "Where to train: cpu, cuda, cuda:1, ...")

OPTIONS = [
    *CONTROL,
    Option("seed", int, 0, "Seed of shuffling.", minimum=0),
    Option("model", str, "embedded/pretrained", "Model to start from: embedded/pretrained, a folder, or a hub id."),
    DEVICE,
    Option("data.pairs", str, None, "File (JSONL, JSON, CSV, Parquet) or hub id with the pairs."),
    Option("data.instruction_column", str, "instruction", "Column with the instruction."),
    Option("data.input_column", str, "input", "Column with the text the instruction is about; may be absent."),
    Option("data.output_column", str, "output", "Column with the answer to learn."),
    Option(
        "data.template",
        str,
        None,
        "Text around the prompt; {prompt}\\n\\nTL;DR: for posts to summarize (default: ### Instruction, ### Input).",
    ),
    Option("data.held_out", float, 0.1, "Share of the prompts held out to choose the best step.", minimum=0),
    Option(
        "data.max_tokens", int, None, "Tokens of a pair (default: the model's context); prompts are cut.", minimum=8
    ),
    *TRAINING,
]

Pairs = list[tuple[str, str]]


def help_text() -> str:
    """The text of ``prefgym sft --help``."""
    return (
        "usage: prefgym sft --data.pairs FILE [options]\n\n"
        "Fine-tune a language model on pairs. The loss counts the answer and its EOS, not the prompt. Columns\n"
        "prompt and completion, or messages, are read as they are. The result is a plain Hugging Face model folder:\n"
        "use it as --env.model of prefgym train.\n\n"
        "  prefgym sft --data.pairs pairs.jsonl --output runs/sft\n"
        "  prefgym sft --data.pairs posts.csv --data.instruction_column post --data.output_column tldr \\\n"
        "      --data.template '{prompt}\\n\\nTL;DR:'\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = resolve(OPTIONS, [(COMMAND_LINE, parse_flags(arguments, OPTIONS))])
    if config["data.pairs"] is None:
        raise InputError("Give the pairs: --data.pairs FILE with columns instruction, input, output.")
    folder = Path(config["output"] or "runs/sft")
    check_output(folder, overwrite=config["overwrite"])
    check_device(config["device"])
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(config["model"], device=config["device"])
    train, held_out, cut = read_pairs(config, model)
    with new_folder(folder, overwrite=config["overwrite"]), divergence_is_told():
        config.without(CONTROL).save(folder / CONFIG_FILE)
        _train(config, folder, model, train, held_out, cut)


@contextmanager
def divergence_is_told() -> Iterator[None]:
    """A loss that is no number any more comes from the options."""
    try:
        yield
    except FloatingPointError as error:
        raise InputError(f"Training diverged: {error}") from None


def divide(groups: list[str], held_out: float, seed: int) -> list[bool]:
    """Whether each row is held out, all rows of a group alike; nothing is held out of a single group."""
    from ..data.splits import split_prompts

    if held_out >= 1:
        raise InputError(f"data.held_out is {held_out:g}, but must be a share below 1.")
    if held_out == 0 or len(set(groups)) < 2:
        return [False] * len(groups)
    return [side == "held_out" for side in split_prompts(groups, {"train": 1 - held_out, "held_out": held_out}, seed)]


def read_pairs(config: Config, model: LanguageModel) -> tuple[Pairs, Pairs, int]:
    """Training pairs, held-out pairs, and how many prompts were cut to fit."""
    from ..data.pairs import load_pairs
    from ..data.templates import INSTRUCT, PLAIN, SUMMARIZE
    from ..data.truncation import fit_prompt

    columns = {name: config[f"data.{name}"] for name in ("instruction_column", "input_column", "output_column")}
    asked = read_template(config["data.template"]) if config["data.template"] else None
    pairs = load_pairs(config["data.pairs"], **columns, template=asked)
    budget = min(config["data.max_tokens"] or model.context_length, model.context_length)
    sides = divide([pair.prompt for pair in pairs], config["data.held_out"], config["seed"])
    train: Pairs = []
    held_out: Pairs = []
    cut = 0
    for row, (pair, apart) in enumerate(zip(pairs, sides, strict=True), start=1):
        room = budget - len(model.encode(pair.response)) - 1  # EOS
        template = asked or next((t for t in (INSTRUCT, SUMMARIZE) if pair.prompt.endswith(t.suffix)), PLAIN)
        if room <= len(model.encode(template.render(""))):
            raise InputError(f"The answer of pair {row} of {config['data.pairs']} leaves no room in {budget} tokens.")
        side: Literal["left", "right"] = "left" if template is PLAIN else "right"  # unknown text: its end is answered
        fitted = fit_prompt(model.encode, template, pair.prompt, room, side)
        cut += fitted.cut
        (held_out if apart else train).append((fitted.text, pair.response))
    return train, held_out, cut


def _train(config: Config, folder: Path, model: LanguageModel, train: Pairs, held_out: Pairs, cut: int) -> None:
    from ..models.finetune import finetune
    from ..training_report import table_rows, write_training_report

    print(f"{len(train)} pairs to train on, {len(held_out)} held out, {cut} prompts cut to fit", flush=True)
    facts = finetune(
        model,
        train,
        eval_pairs=held_out or None,
        keep_best=True,
        seed=config["seed"],
        output_dir=folder,
        tensorboard=True,
        progress=True,
        **config.section("training"),
    )
    model.save(folder)
    history = facts.pop("history")
    metrics = {"seed": config["seed"], "pairs": len(train), "held_out": len(held_out), "prompts_cut": cut, **facts}
    write_json(folder / METRICS_FILE, metrics)
    notice = (
        f"{config['model']} ({model.num_parameters:,} parameters, vocabulary {model.vocab_size:,}) fine-tuned on "
        f"{len(train)} pairs of {config['data.pairs']}, seed {config['seed']}."
    )
    if model.num_parameters < SMALL:
        notice += " A model this small imitates the form of the answers; it has no knowledge to answer from."
    rows = table_rows(metrics)
    page = write_training_report(folder, "Supervised fine-tuning", notice, rows, history, config.to_yaml())
    loss = facts["eval_loss_minimum"]
    print(f"\nheld-out loss {loss:.3f} nats a token" if loss is not None else "\nnothing held out")
    print(f"model: {folder}    report: {page}")
