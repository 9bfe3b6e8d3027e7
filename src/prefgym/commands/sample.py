"""``prefgym sample RUN --data.prompts F``: write responses with a run, for the texts you give."""

from __future__ import annotations

from pathlib import Path

from ..config import Option, describe
from ..data.plain_text import json_line
from ..errors import InputError
from ..experiment import check_device, prompt_shape, response_shape, template_of
from ..finished_run import read_run
from ..held_out import load_splits
from ..options import DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS, EVERY
from ..output import check_file, write_file

_USED = (
    *("id", "template", "system_prompt", "instruction", "max_prompt_tokens", "max_new_tokens", "temperature", "device"),
    *("dtype", "check_model", "stop_strings", "keep_special_tokens"),
)
USED = {f"env.{name}" for name in _USED}
OPTIONS = [
    Option("output", str, None, "File to write, one JSON object per line (default: the terminal)."),
    Option("overwrite", bool, False, "Replace what an earlier call wrote; that moves to --output.previous-1."),
    Option("seed", int, 0, "Seed of sampling.", minimum=0),
    Option("greedy", bool, False, "Take the likeliest token instead of sampling."),
    Option(
        "limit",
        int,
        None,
        "At most this many texts (default: all of a file, 10 of the run's held-out prompts).",
        minimum=1,
    ),
    *[option for option in ENV_OPTIONS if option.key in USED],
    *[option for option in DATA_OPTIONS if option.key != "data.reference_column"],
]
OF_THE_RUN = [*EVALUATION_OPTIONS, EVERY, *(option for option in DATA_OPTIONS if option.key == "data.reference_column")]
"""What says which prompts of a run are held out, and has no part in what is written to the user's."""


def help_text() -> str:
    """The text of ``prefgym sample --help``."""
    return (
        "usage: prefgym sample RUN --data.prompts FILE [options]\n\n"
        "Write one response with the model in RUN for each text in FILE, or for the run's held-out prompts.\n\n"
        "  prefgym sample runs/mine --data.prompts posts.jsonl --output summaries.jsonl\n"
        "  prefgym sample runs/mine --greedy --limit 5\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    name, config, given = read_run(arguments, OPTIONS, "prefgym sample RUN --data.prompts FILE", own=OF_THE_RUN)
    target = Path(config["output"]) if config["output"] else None
    if target is not None and target.is_dir():
        raise InputError(f"--output {target} is a folder; give a file such as {target / 'summaries.jsonl'}.")
    if target is not None:
        check_file(target, overwrite=config["overwrite"])
    for parent in target.parents if target is not None else ():
        if parent.exists() and not parent.is_dir():
            raise InputError(f"--output {target} is inside {parent}, which is a file; give another place.")
    check_device(config["env.device"])

    from ..data.prompts import load_prompts
    from ..evaluation.policies.decode import SEEDS_APART, decode, growing_groups
    from ..evaluation.policies.responses import DecodeSettings
    from ..models.distribution import Decoding
    from ..models.language_model import LanguageModel
    from ..models.placing import dtype_named

    stored = dtype_named(config["env.dtype"], config["env.device"])
    model = LanguageModel.load(name, device=config["env.device"], dtype=stored, check=config["env.check_model"])
    if "data.prompts" in given and config["data.prompts"] is not None:
        prompts = load_prompts(config["data.prompts"], config["data.prompt_column"])[: config["limit"]]
    else:
        prompts = load_splits(config)["test"][: config["limit"] or 10]
    settings = DecodeSettings(
        template=template_of(config, model, as_trained="env.id" not in given),
        max_prompt_tokens=prompt_shape(config)[1],
        max_new_tokens=config["env.max_new_tokens"],
        temperature=config["env.temperature"],
        **response_shape(config),
    )
    decoding = Decoding(temperature=settings.temperature, greedy=config["greedy"])
    lines = []
    for group in growing_groups(len(prompts), settings.batch_size):
        rows = prompts[group]
        texts = decode(model, rows, settings, decoding, seed=config["seed"] * SEEDS_APART + group.start).texts
        for row, text in zip(rows, texts, strict=True):
            lines.append(json_line({"prompt": row["prompt"], "response": text.strip()}))
            if target is None:
                print(lines[-1], flush=True)
    if target is not None:
        write_file(target, "".join(f"{line}\n" for line in lines), overwrite=config["overwrite"])
        print(f"{len(lines)} responses in {target}.")
