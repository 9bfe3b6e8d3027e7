"""``prefgym play``: you are the policy, in the terminal or with lines from a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import COMMAND_LINE, Config, Option, describe, find_preset, parse_flags, preset_names, read_yaml, resolve
from ..data.text import printable
from ..errors import InputError
from ..experiment import make_env
from ..finished_run import ACCEPT_START, check_run, check_start, settings_of_run
from ..game import Game, Written, write_out
from ..held_out import load_splits
from ..options import DATA_OPTIONS, KL_ESTIMATOR, WORLD_OPTIONS, every_agent_option
from ..output import CONFIG_FILE
from ..play import closing, play
from ..trust import TRUST, check_trust

if TYPE_CHECKING:
    from ..data.prompts import PromptSet
    from ..models.language_model import LanguageModel

OPTIONS = [
    Option("config", str, None, "Preset name or YAML file whose environment to play in.", only_typed=True),
    Option("index", int, None, "Number of the post, from 0 (default: drawn by --seed).", minimum=0),
    Option("choices", int, 8, "How many of the likeliest tokens to offer.", minimum=1),
    Option("seed", int, 0, "Which post is drawn.", minimum=0),
    ACCEPT_START,
    TRUST,
    *WORLD_OPTIONS,
    *DATA_OPTIONS,
]
HELD_OUT = 500
"""Posts to draw from, as many as an evaluation reads."""


def help_text() -> str:
    """The text of ``prefgym play --help``."""
    return (
        "usage: prefgym play [RUN] [options]\n\n"
        "You are the policy: pick the response to a held-out post token by token, from the likeliest tokens of the\n"
        "start policy or in your own words. Each token shows its log π_ref and the KL you have paid; the end shows\n"
        "the score, its parts and, where known, the gold score, next to what the start policy, the policy in the\n"
        "folder RUN (greedily) and the author of the reference wrote. Every token is a step of the environment.\n\n"
        "Type a number, Enter for the likeliest, a text, u to undo, e to end, q to quit. A pipe works too.\n\n"
        f"presets: {', '.join(preset_names())}\n\n"
        "  prefgym play\n"
        "  prefgym play runs/mine --index 7\n"
        "  prefgym play --env.kl_coef 0.5 --data.prompts posts.jsonl\n"
        '  printf "my boss sold my bike.\\ne\\n" | prefgym play --index 7\n'
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input, KeyboardInterrupt with a sentence when the player presses Ctrl-C."""
    positional: list[str] = []
    flags = parse_flags(arguments, OPTIONS, positional)
    if len(positional) > 1:
        raise InputError("Name at most one run: prefgym play [RUN].")
    folder = Path(positional[0]) if positional else None
    config = _read_config(folder, flags)
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("prefgym play reads what you pick from standard input, which is closed.")
    env = make_env(config, _prompts(config, own="data.prompts" in flags))
    if folder is not None and config["config"] is None and not config["accept_changes"]:
        check_start(folder, env, flags)
    rivals = _rivals(env, folder)
    game = Game(env, _index(config, env), config["choices"])
    mine = play(game, read_line, print)
    if mine is not None:
        print(f"\n{closing(game, {'you': mine} | _others(env, game.index, rivals))}")


def _read_config(folder: Path | None, flags: dict[str, Any]) -> Config:
    """Defaults, then the run's own config or a preset, then the command line."""
    sources = [(COMMAND_LINE, flags)]
    every = [*OPTIONS, KL_ESTIMATOR]  # which a config may have
    if folder is not None:
        check_run(folder)
        known = [option for option in every if option.key != "seed"]
        sources.insert(0, (str(folder / CONFIG_FILE), settings_of_run(folder, known)))
    if flags.get("config") is not None:
        path = find_preset(flags["config"])
        values = read_yaml(path, [*every, *every_agent_option()])
        kept = {key: value for key, value in values.items() if key.split(".")[0] not in ("agent", "evaluation")}
        sources.insert(-1, (str(path), kept))
    config = resolve(every, sources)
    if folder is not None:
        check_trust(folder, config, {key for _, values in sources[1:] for key in values}, config["trust"])
    return config


def _prompts(config: Config, own: bool) -> PromptSet:
    """All texts of a file named by the player, else held-out ones."""
    from ..data.prompts import load_prompts

    if own and config["data.prompts"] is not None:
        columns = {column: config[f"data.{column}"] for column in ("prompt_column", "reference_column")}
        return load_prompts(config["data.prompts"], **columns)
    shown = {"evaluation.prompts": HELD_OUT, "evaluation.validation_prompts": 1}
    return load_splits(Config({**config, **shown}))["test"]


def _rivals(env: Any, folder: Path | None) -> dict[str, LanguageModel]:
    """The models that write beside the player, by name."""
    from ..agents.attach import make_policy

    rivals = {"start policy": env.unwrapped.language_model}
    if folder is not None:
        rivals["trained policy"] = make_policy(folder, env, value_head=False).language_model
    return rivals


def _index(config: Config, env: Any) -> int:
    """The post asked for, or the one that the seed draws."""
    env.reset(seed=config["seed"])
    return env.unwrapped.sample_prompt_indices(1)[0] if config["index"] is None else config["index"]


def _others(env: Any, index: int, rivals: dict[str, LanguageModel]) -> dict[str, Written]:
    """What each rival writes greedily, and the reference, rewarded as the player was."""
    from ..evaluation.policies.decode import decode
    from ..evaluation.policies.responses import DecodeSettings
    from ..models.distribution import Decoding

    core = env.unwrapped
    settings = DecodeSettings(
        core.template,
        core.max_prompt_tokens,
        core.max_new_tokens,
        core.temperature,
        stop_strings=core.stop_strings,
        keep_special_tokens=core.keep_special_tokens,
    )
    greedy = Decoding(temperature=core.temperature, greedy=True)
    row = core.prompts[index]
    others = {}
    for name, model in rivals.items():
        responses = decode(model, [row], settings, greedy)
        others[f"{name}, greedy"] = write_out(env, index, responses.tokens[0][responses.mask[0]].tolist())
    if row.get("reference"):
        text = core.template.render_response(row["reference"])
        prompt = core.encode_prompts([index]).texts[0]
        others["reference"] = write_out(
            env, index, core.language_model.encode_response(prompt, text, core.template.framed)
        )
    return others


def read_line(prompt: str) -> str:
    """One line; input from a pipe is echoed, so that the transcript can be read."""
    try:
        line = input(prompt)
    except UnicodeDecodeError:
        raise InputError("Standard input is not UTF-8 text.") from None
    if not sys.stdin.isatty():
        print(printable(line))
    return line
