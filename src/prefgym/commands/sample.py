"""``prefgym sample RUN --data.prompts F``: write responses with a run, for the texts you give."""

from __future__ import annotations

import json
from pathlib import Path

from ..config import Option, describe, parse_flags, write_text
from ..errors import InputError
from ..experiment import DATA_OPTIONS, ENV_OPTIONS
from .evaluate import config_of

OPTIONS = [
    Option("output", str, None, "File to write, one JSON object a line (default: print to the terminal)."),
    Option("overwrite", bool, False, "Replace the output file if it is there."),
    Option("seed", int, 0, "Seed of sampling.", minimum=0),
    Option("greedy", bool, False, "Take the likeliest token instead of sampling."),
    Option("limit", int, None, "At most this many texts.", minimum=1),
    *[option for option in ENV_OPTIONS if option.key in {"env.template", "env.max_prompt_tokens", "env.max_new_tokens", "env.temperature", "env.device"}],
    *[option for option in DATA_OPTIONS if option.key != "data.held_out"],
]


def help_text() -> str:
    """Return the text of ``prefgym sample --help``."""
    return (
        "usage: prefgym sample RUN --data.prompts FILE [options]\n\n"
        "Write one response for each text in FILE with the model in the folder RUN.\n\n"
        "  prefgym sample runs/mine --data.prompts posts.jsonl --output summaries.jsonl\n"
        "  prefgym sample runs/mine --greedy --limit 5\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    if not arguments or arguments[0].startswith("--"):
        raise InputError("Name the run: prefgym sample RUN --data.prompts FILE.")
    config = config_of(arguments[0], arguments[1:], OPTIONS)
    target = Path(config["output"]) if "--output" in " ".join(arguments[1:]) and config["output"] else None
    if target is not None and target.exists() and not config["overwrite"]:
        raise InputError(f"--output {target} is there already; give another file, or --overwrite.")

    from ..data.prompts import embedded_prompts, load_prompts
    from ..data.templates import SUMMARIZE, Template
    from ..evaluation.decode import DecodeSettings, decode
    from ..models.distribution import Decoding
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(arguments[0], device=config["env.device"])
    columns = {name: config[f"data.{name}"] for name in ("prompt_column", "reference_column")}
    source = config["data.prompts"]
    prompts = embedded_prompts("test", 10) if source is None else load_prompts(source, **columns)
    prompts = prompts[: config["limit"]]
    settings = DecodeSettings(
        template=Template(config["env.template"]) if config["env.template"] else SUMMARIZE,
        max_prompt_tokens=config["env.max_prompt_tokens"],
        max_new_tokens=config["env.max_new_tokens"],
        temperature=config["env.temperature"],
    )
    decoding = Decoding(temperature=settings.temperature, greedy=config["greedy"])
    responses = decode(model, prompts, settings, decoding, seed=config["seed"])
    rows = [{"prompt": prompts[i]["prompt"], "response": text} for i, text in enumerate(responses.texts)]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    if target is None:
        print(lines)
        return
    write_text(target, lines + "\n")
    print(f"{len(rows)} responses in {target}.")
