"""The command line: ``prefgym COMMAND [options]``. Finds the command, prints errors as one sentence, sets the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from .errors import InputError, RewardError, nearest

COMMANDS = {
    "train": "train an agent in an environment, evaluate it and write the report",
    "evaluate": "win rate, KL, length and samples of a finished run",
    "sample": "write responses with a run, for the texts you give",
    "sft": "fine-tune a language model on pairs (instruction, input, output)",
    "reward": "train a preference model from pairwise comparisons",
    "build-assets": "make the embedded tokenizer and weights again",
}

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


def usage() -> str:
    """Return the text of ``prefgym --help``."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: prefgym COMMAND [options]",
        "",
        "RLHF as an ordinary Gymnasium environment: tokens are actions, the reward is a learned preference minus a KL term.",
        "",
        "commands:",
        *(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()),
        "",
        "start here:",
        "  prefgym train --config tldr-ppo --output runs/first     about five minutes on two cores, no download",
        "  prefgym train --config tldr-ppo --dry-run               what would run, on which data, for how long",
        "  prefgym COMMAND --help                                  every option of a command",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 the work is done, 2 bad input, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if words else EXIT_INPUT
    if words[0] == "--version":
        from . import __version__

        print(f"prefgym {__version__}")
        return 0
    try:
        return _run(words[0], words[1:])
    except (InputError, RewardError) as error:
        print(f"prefgym {words[0]}: {error}", file=sys.stderr)
        return EXIT_INPUT
    except KeyboardInterrupt:
        print(f"prefgym {words[0]}: interrupted; --resume --output DIR goes on from the last checkpoint.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise InputError(f'there is no command "{command}"; see prefgym --help.{nearest(command, COMMANDS)}')
    module = import_module(f".commands.{command.replace('-', '_')}", __package__)
    if "-h" in arguments or "--help" in arguments:
        print(module.help_text())
        return 0
    module.run(arguments)
    return 0
