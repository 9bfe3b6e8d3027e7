"""``prefgym sft``: fine-tune a language model on pairs of instruction and answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import COMMAND_LINE, Config, Option, describe, find_preset, parse_flags, preset_names, read_yaml, resolve
from ..errors import InputError
from ..experiment import check_device
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, check_output, new_folder, resumed_folder
from ..pair_data import PairData, mix, read_pairs
from ..resuming import ACCEPT, OVERWRITE, RESUME, config_of_run, stop_is_told, told_finished

if TYPE_CHECKING:
    from ..models.language_model import LanguageModel

SMALL = 100_000_000

TRAINING = [
    Option("training.epochs", float, 3.0, "Passes over the training data.", above=0),
    Option(
        "training.learning_rate",
        float,
        None,
        "Peak learning rate of AdamW (default: 5e-4 for a model under 10 million parameters, 5e-5 for a larger one, "
        "2e-4 for an adapter of a larger one).",
        above=0,
    ),
    Option(
        "training.warmup", float, 0.05, "Share of the steps over which the learning rate rises.", minimum=0, below=1
    ),
    Option(
        "training.schedule",
        str,
        "cosine",
        "Learning rate after the warm-up: by a cosine or a line down to 0, or constant.",
        choices=("cosine", "linear", "constant_with_warmup"),
    ),
    Option("training.weight_decay", float, 0.01, "AdamW's weight decay, on matrices only.", minimum=0),
    Option("training.batch_size", int, 16, "Examples per forward pass.", minimum=1),
    Option("training.gradient_accumulation", int, 1, "Forward passes per optimiser step.", minimum=1),
    Option("training.bf16", bool, False, "Matrix products in bfloat16."),
    Option(
        "training.lora_rank", int, None, "Train an adapter of this rank, merged in the end (needs peft).", minimum=1
    ),
    Option(
        "training.lora_alpha", float, None, "It is scaled by this over its rank (default: twice the rank).", above=0
    ),
    Option("training.lora_targets", str, "all-linear", "Linear layers that it adapts, separated by commas, or all."),
    Option(
        "training.lora_layers", int, None, "It adapts only so many layers, the last ones (default: all).", minimum=1
    ),
    Option("training.eval_every", int, None, "Steps between two evaluations (default: about ten per run).", minimum=1),
    Option("training.save_every", int, None, "Steps between two checkpoints (default: about ten per run).", minimum=1),
]
CONFIG = Option("config", str, None, "Preset name or YAML file to start from.", only_typed=True)
CONTROL = [
    CONFIG,
    Option("output", str, None, "Folder to write the model and its report to (default: runs/ and the command's name)."),
    RESUME,
    OVERWRITE,
    ACCEPT,
]
CHAT_WORDS = (
    Option("data.system_prompt", str, None, "System message in a chat template (default: whatever the template does)."),
    Option(
        "data.instruction",
        str,
        None,
        "Text around a prompt in a chat template (default: {prompt}, which adds nothing).",
    ),
)
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
        "Pairs per task in an epoch (default: all): tasks are mixed in proportion to their size up to this.",
        minimum=1,
    ),
    Option("data.demonstrations", int, 0, "Positive examples of its task that a prompt shows, if they fit.", minimum=0),
    Option(
        "data.template",
        str,
        None,
        "Text around the prompt; {prompt}\\n\\nTL;DR: for posts to summarize (default: chat, the model's own chat "
        "template, or without one ### Instruction, ### Input).",
    ),
    *CHAT_WORDS,
    Option("data.held_out", float, 0.1, "Share of the prompts held out to choose the best step.", minimum=0),
    Option(
        "data.max_tokens", int, None, "Tokens of a pair (default: the model's context); prompts are cut.", minimum=8
    ),
    *TRAINING,
    Option("training.packing", bool, False, "Let several examples share a row: less padding, the same result."),
]


def help_text() -> str:
    """The text of ``prefgym sft --help``."""
    return (
        "usage: prefgym sft --data.pairs FILE [options]\n\n"
        "Fine-tune a language model, causal or encoder-decoder, on pairs. The loss covers the answer and its EOS, not\n"
        "the prompt. Columns prompt and completion, or messages, are read as they are; so are task files of Natural\n"
        "Instructions and seed tasks of self-instruct. A model with a chat template is trained through it, to the end\n"
        "of the assistant's turn. The result is a plain Hugging Face model folder that keeps its template: use it as\n"
        "--env.model of prefgym train.\n\n"
        f"presets: {', '.join(preset_names('sft'))}\n\n"
        "  prefgym sft --data.pairs pairs.jsonl --output runs/sft\n"
        "  prefgym sft --data.pairs posts.csv --data.instruction_column post --data.output_column tldr \\\n"
        "      --data.template '{prompt}\\n\\nTL;DR:'\n"
        "  prefgym sft --data.pairs natural-instructions/tasks --data.demonstrations 2 --data.task_cap 500 --dry-run\n"
        "  prefgym sft --data.pairs embedded-instructions\n"
        "  prefgym sft --config real-sft --model FOLDER --data.pairs dialogues.jsonl\n"
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
    if config["dry_run"]:
        print("dry run: reading data and model ...", flush=True)
    else:
        check_output(folder, "sft", overwrite=config["overwrite"], inputs=config)
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
    sources = sources_of("sft", flags, OPTIONS)
    if flags.get("resume"):
        control = [*CONTROL, DRY_RUN]
        return config_of_run("sft", sources, lambda _: OPTIONS, every=OPTIONS, control=control, needed="data.pairs")
    config = resolve(OPTIONS, sources)
    if config["data.pairs"] is None:
        raise InputError("Give the pairs: --data.pairs FILE with columns instruction, input, output.")
    return config


def sources_of(command: str, flags: dict[str, Any], options: list[Option]) -> list[tuple[str, dict[str, Any]]]:
    """What was given: the preset or file of ``--config``, if any, then the command line."""
    if flags.get("config") is None:
        return [(COMMAND_LINE, flags)]
    path = find_preset(flags["config"], command)
    return [(str(path), read_yaml(path, options)), (COMMAND_LINE, flags)]


def training_options(config: Config, folder: Path) -> dict[str, Any]:
    """Arguments for training with checkpoints in a run's folder."""
    return {
        **config.section("training"),
        "save_every": config["training.save_every"] or 0,
        "eval_every": config["training.eval_every"] or 0,
        "seed": config["seed"],
        "resume": config["resume"],
        "accept_changes": config["accept_changes"],
        "output_dir": folder,
        "tensorboard": True,
        "progress": True,
    }


def settle_learning_rate(config: Config, parameters: int) -> None:
    """Put the usual learning rate for a model of that size into a config without one, and say so."""
    from ..models.learning_rate import usual_learning_rate

    if config["training.learning_rate"] is not None:
        return
    adapter = config["training.lora_rank"] is not None
    config["training.learning_rate"] = rate = usual_learning_rate(parameters, adapter)
    what = "an adapter of a model" if adapter else "a model"
    print(f"learning rate {rate:g}, as usual for {what} of {parameters:,} parameters", flush=True)


def _start(config: Config) -> tuple[LanguageModel, PairData]:
    """The model to start from, by which the learning rate is settled, and the data."""
    check_device(config["device"])
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(config["model"], device=config["device"])
    settle_learning_rate(config, model.num_parameters)
    return model, read_pairs(config, model)


def _train(config: Config, folder: Path, model: LanguageModel, data: PairData) -> None:
    from ..models.finetune import finetune
    from ..training_report import table_rows, write_training_report

    train, held_out, cut, left_out, tokens, template = data
    mixture = mix(config, train)
    print(data.told(), flush=True)
    facts = finetune(
        model,
        [(pair.prompt, pair.response) for pair in train],
        eval_pairs=[(pair.prompt, pair.response) for pair in held_out] or None,
        keep_best=True,
        epochs_of=mixture,
        tokens=tokens,
        **training_options(config, folder),
    )
    model.prompting = template.stored() if template else None
    model.save(folder)
    history = facts.pop("history")
    numbers = {"pairs": len(train), "held_out": len(held_out), "prompts_cut": cut, "left_out": left_out}
    rate = config["training.learning_rate"]
    metrics = {"seed": config["seed"], "learning_rate": rate, **numbers, **facts}
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
