"""``prefgym sft``: fine-tune a language model on pairs of instruction and answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, resolve
from ..errors import InputError
from ..experiment import check_device, read_template
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, check_output, new_folder, resumed_folder
from ..resuming import ACCEPT, OVERWRITE, RESUME, config_of_run, stop_is_told, told_finished

if TYPE_CHECKING:
    from ..data.mixing import Mixture
    from ..data.pairs import Pair
    from ..data.templates import Template
    from ..data.tokens import Tokens
    from ..models.language_model import LanguageModel

SMALL = 100_000_000

TRAINING = [
    Option("training.epochs", float, 3.0, "Passes over the training data.", above=0),
    Option("training.learning_rate", float, 5e-4, "Peak learning rate (AdamW, warm-up, cosine).", above=0),
    Option("training.batch_size", int, 16, "Examples of one forward pass.", minimum=1),
    Option("training.gradient_accumulation", int, 1, "Forward passes of one optimiser step.", minimum=1),
    Option("training.bf16", bool, False, "Matrix products in bfloat16."),
    Option("training.save_every", int, None, "Steps between two checkpoints (default: about ten a run).", minimum=1),
]
CONTROL = [
    Option("output", str, None, "Folder to write the model and its report to (default: runs/ and the command's name)."),
    RESUME,
    OVERWRITE,
    ACCEPT,
]
DRY_RUN = Option("dry_run", bool, False, "Print config, tasks, three examples and an estimate; keep nothing.")
DEVICE = Option("device", str, "cpu", "Where to train: cpu, cuda, cuda:1, ...")

OPTIONS = [
    *CONTROL,
    DRY_RUN,
    Option("seed", int, 0, "Seed of shuffling.", minimum=0),
    Option("model", str, "embedded/pretrained", "Model to start from: embedded/pretrained, a folder, or a hub id."),
    DEVICE,
    Option(
        "data.pairs",
        str,
        None,
        "File (JSONL, JSON, CSV, Parquet), task file of Natural Instructions, folder of such files, hub id, or "
        "embedded-instructions (some families of them: embedded-instructions:who,when).",
    ),
    Option("data.instruction_column", str, "instruction", "Column with the instruction."),
    Option("data.input_column", str, "input", "Column with the text the instruction is about; may be absent."),
    Option("data.output_column", str, "output", "Column with the answer to learn."),
    Option("data.task_column", str, None, "Column with the name of the task (default: task, if there is one)."),
    Option("data.skip_empty", bool, False, "Leave out instructions without an answer instead of refusing them."),
    Option("data.limit", int, None, "Read at most this many pairs.", minimum=1),
    Option("data.task_limit", int, None, "Read at most this many pairs of each task.", minimum=1),
    Option(
        "data.task_cap",
        int,
        None,
        "Pairs of a task in an epoch (default: all): tasks are mixed in proportion to their size up to this.",
        minimum=1,
    ),
    Option("data.demonstrations", int, 0, "Positive examples of a task that its prompts show, if they fit.", minimum=0),
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
    Option("training.packing", bool, False, "Let several examples share a row: less padding, the same result."),
]


class PairData(NamedTuple):
    """Pairs that fit the model, and what was done to make them fit.

    cut: how many prompts were cut.
    left_out: how many pairs have an answer that leaves no room for a prompt.
    tokens: those of every prompt and response.
    """

    train: list[Pair]
    held_out: list[Pair]
    cut: int
    left_out: int
    tokens: Tokens

    def told(self) -> str:
        """The numbers, in a line."""
        line = f"{len(self.train)} pairs to train on, {len(self.held_out)} held out, {self.cut} prompts cut to fit"
        return line + (f", {self.left_out} pairs left out for their long answers" if self.left_out else "")


def help_text() -> str:
    """The text of ``prefgym sft --help``."""
    return (
        "usage: prefgym sft --data.pairs FILE [options]\n\n"
        "Fine-tune a language model, causal or encoder-decoder, on pairs. The loss counts the answer and its EOS, not\n"
        "the prompt. Columns prompt and completion, or messages, are read as they are; so are task files of Natural\n"
        "Instructions and seed tasks of self-instruct. The result is a plain Hugging Face model folder: use it as\n"
        "--env.model of prefgym train.\n\n"
        "  prefgym sft --data.pairs pairs.jsonl --output runs/sft\n"
        "  prefgym sft --data.pairs posts.csv --data.instruction_column post --data.output_column tldr \\\n"
        "      --data.template '{prompt}\\n\\nTL;DR:'\n"
        "  prefgym sft --data.pairs natural-instructions/tasks --data.demonstrations 2 --data.task_cap 500 --dry-run\n"
        "  prefgym sft --data.pairs embedded-instructions\n"
        "  prefgym sft --resume --output runs/sft\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = read_config(arguments)
    folder = Path(config["output"] or "runs/sft")
    if config["resume"] and not config["dry_run"]:
        if not told_finished("sft", folder):
            with resumed_folder(folder, "sft") as folder, stop_is_told("sft", folder):
                _train(config, folder, *_start(config))
        return
    if not config["dry_run"]:
        check_output(folder, "sft", overwrite=config["overwrite"])
    model, data = _start(config)
    told = config.without([*CONTROL, DRY_RUN])
    if config["dry_run"]:
        from ..dry_run import print_sft_dry_run

        print_sft_dry_run(told, model, data, mix(config, data.train))
        return
    with new_folder(folder, "sft", overwrite=config["overwrite"]) as folder, stop_is_told("sft", folder):
        told.save(folder / CONFIG_FILE)
        _train(config, folder, model, data)


def read_config(arguments: list[str]) -> Config:
    """Resolve the words of the command line; with ``resume`` the run's own config."""
    flags = parse_flags(arguments, OPTIONS)
    if flags.get("resume"):
        control = [*CONTROL, DRY_RUN]
        sources = [(COMMAND_LINE, flags)]
        return config_of_run("sft", sources, lambda _: OPTIONS, every=OPTIONS, control=control, needed="data.pairs")
    config = resolve(OPTIONS, [(COMMAND_LINE, flags)])
    if config["data.pairs"] is None:
        raise InputError("Give the pairs: --data.pairs FILE with columns instruction, input, output.")
    return config


def training_options(config: Config, folder: Path) -> dict[str, Any]:
    """What a training with checkpoints in a run's folder is given."""
    return {
        **config.section("training"),
        "save_every": config["training.save_every"] or 0,
        "seed": config["seed"],
        "resume": config["resume"],
        "accept_changes": config["accept_changes"],
        "output_dir": folder,
        "tensorboard": True,
        "progress": True,
    }


def _start(config: Config) -> tuple[LanguageModel, PairData]:
    """The model to begin with, and the data."""
    check_device(config["device"])
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(config["model"], device=config["device"])
    return model, read_pairs(config, model)


def mix(config: Config, train: Sequence[Pair]) -> Mixture:
    """Which training pairs an epoch holds."""
    from ..data.mixing import Mixture

    return Mixture([pair.task for pair in train], config["data.task_cap"], config["seed"])


def divide(groups: list[str], held_out: float, seed: int) -> list[bool]:
    """Whether each row is held out, all rows of a group alike; nothing is held out of a single group."""
    from ..data.splits import split_prompts

    if held_out >= 1:
        raise InputError(f"data.held_out is {held_out:g}, but must be a share below 1.")
    if held_out == 0 or len(set(groups)) < 2:
        return [False] * len(groups)
    return [side == "held_out" for side in split_prompts(groups, {"train": 1 - held_out, "held_out": held_out}, seed)]


def read_pairs(config: Config, model: LanguageModel) -> PairData:
    """The pairs of the data, divided, with prompts cut to fit."""
    from ..data.pairs import load_pairs
    from ..data.tokens import Tokens

    asked = read_template(config["data.template"]) if config["data.template"] else None
    if asked and config["data.demonstrations"]:
        raise InputError("data.demonstrations goes with the default template; leave data.template out.")
    budget = min(config["data.max_tokens"] or model.context_length, model.context_length)
    tokens, room = Tokens(model.encode_all), room_for_prompt(model, budget)
    columns = ("instruction_column", "input_column", "output_column", "task_column")
    pairs = load_pairs(
        config["data.pairs"],
        template=asked,
        fits=lambda prompt, response: len(tokens.keep(prompt)) <= room(len(tokens.keep(response))),
        **{name: config[f"data.{name}"] for name in (*columns, "demonstrations", "skip_empty", "limit", "task_limit")},
    )
    if not pairs:
        raise InputError(f"No pair of {config['data.pairs']} has an answer.")
    sides = divide([pair.prompt for pair in pairs], config["data.held_out"], config["seed"])
    fitted = fit_pairs(pairs, asked, tokens, room)
    train = [pair for (pair, _), apart in zip(fitted, sides, strict=True) if pair and not apart]
    held_out = [pair for (pair, _), apart in zip(fitted, sides, strict=True) if pair and apart]
    cut = sum(shorter for _, shorter in fitted)
    left_out = [number for number, (pair, _) in enumerate(fitted, start=1) if pair is None]
    if not train and left_out:
        raise InputError(
            f"No answer of {config['data.pairs']} leaves room for a prompt in {budget} tokens; that of pair "
            f"{left_out[0]} is the first that does not."
        )
    if not train:
        raise InputError(f"All pairs of {config['data.pairs']} are held out; give more, or a lower data.held_out.")
    return PairData(train, held_out, cut, len(left_out), tokens)


def fit_pairs(
    pairs: Sequence[Pair], asked: Template | None, tokens: Tokens, room: Callable[[int], int]
) -> list[tuple[Pair | None, bool]]:
    """Each pair with its prompt cut to the room that its answer leaves, and whether that was needed.

    None stands for a pair whose answer leaves no room. ``tokens`` knows the tokens of all that is returned.
    """
    from ..data.templates import INSTRUCT, PLAIN, SUMMARIZE
    from ..data.truncation import fit_prompt

    templates = [
        asked or next((one for one in (INSTRUCT, SUMMARIZE) if pair.prompt.endswith(one.suffix)), PLAIN)
        for pair in pairs
    ]
    rendered = (template.render(pair.prompt) for template, pair in zip(templates, pairs, strict=True))
    tokens.add(chain((pair.response for pair in pairs), rendered), "tokenising pairs")
    found: list[tuple[Pair | None, bool]] = []
    for pair, template in zip(pairs, templates, strict=True):
        left = room(len(tokens(pair.response)))
        if left <= len(tokens.keep(template.render(""))):
            found.append((None, False))
            continue
        side: Literal["left", "right"] = "left" if template is PLAIN else "right"  # unknown text: its end is answered
        fitted = fit_prompt(tokens, template, pair.prompt, left, side)
        if fitted.cut:
            tokens.put(fitted.text, fitted.ids)
        found.append((pair._replace(prompt=fitted.text), fitted.cut))
    return found


def room_for_prompt(model: LanguageModel, budget: int) -> Callable[[int], int]:
    """From the tokens of a response to those that it and its EOS leave to the prompt.

    The prompt of an encoder has a budget of its own.
    """
    from ..models.encoder_decoder import is_encoder_decoder

    if is_encoder_decoder(model.model):
        return lambda response: budget if response + 1 <= budget else 0
    return lambda response: budget - response - 1


def _train(config: Config, folder: Path, model: LanguageModel, data: PairData) -> None:
    from ..models.finetune import finetune
    from ..training_report import table_rows, write_training_report

    train, held_out, cut, left_out, tokens = data
    mixture = mix(config, train)
    print(data.told(), flush=True)
    facts = finetune(
        model,
        [(pair.prompt, pair.response) for pair in train],
        eval_pairs=[(pair.prompt, pair.response) for pair in held_out] or None,
        keep_best=True,
        epochs_of=mixture,
        encode=tokens,
        **training_options(config, folder),
    )
    model.save(folder)
    history = facts.pop("history")
    numbers = {"pairs": len(train), "held_out": len(held_out), "prompts_cut": cut, "left_out": left_out}
    metrics = {"seed": config["seed"], **numbers, **facts}
    write_json(folder / METRICS_FILE, {**metrics, "tasks": mixture.table()})
    notice = (
        f"{config['model']} ({model.num_parameters:,} parameters, vocabulary {model.vocab_size:,}) fine-tuned on "
        f"{len(train)} pairs of {config['data.pairs']}, seed {config['seed']}."
    )
    if model.num_parameters < SMALL:
        notice += " A model this small imitates the form of the answers; it has no knowledge to answer from."
    rows = table_rows(metrics)
    told = config.without([*CONTROL, DRY_RUN]).to_yaml()
    page = write_training_report(folder, "Supervised fine-tuning", notice, rows, history, told)
    loss = facts["eval_loss_minimum"]
    print(f"\nheld-out loss {loss:.3f} nats a token" if loss is not None else "\nnothing held out")
    print(f"model: {folder}    report: {page}")
