"""The command line, ``prefgym COMMAND [options]``: finds the command, says what went wrong, exits by code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from .errors import InputError, nearest
from .failures import EXIT_INPUT, EXIT_PIPE, EXIT_UNEXPECTED, explain, report
from .storage.signals import stoppable
from .terminal import plain_output, printable

COMMANDS = {
    "train": "train an agent in an environment, evaluate it and write the report",
    "evaluate": "win rate, KL, length and samples of a finished run",
    "compare": "several runs or agents side by side: win rates, differences, score against KL",
    "sample": "write responses with a run, for the texts you give",
    "play": "be the policy: write a response token by token and see its reward",
    "sft": "fine-tune a language model on pairs (instruction, input, output)",
    "reward": "train a preference model from pairwise comparisons",
    "label": "say which of two responses is better, or let a model decide: comparisons for a reward",
    "benchmark": "score models on MMLU, BIG-bench, BBH and Super-NaturalInstructions, next to a random guess",
    "lecture": "what RLHF does and where it fails, measured here: one page, a figure for each claim",
    "build-assets": "rebuild the embedded tokenizer and weights",
}


def usage() -> str:
    """The text of ``prefgym --help``."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: prefgym COMMAND [options]",
        "",
        "RLHF as an ordinary Gymnasium environment: tokens are actions, a preference minus a KL term is the reward.",
        "",
        "commands:",
        *(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()),
        "",
        "start here:",
        "  prefgym train --config tldr-ppo --output runs/first     train and judge a summarizer; nothing is downloaded",
        "  prefgym train --config tldr-ppo --dry-run               what would run, on which data, for how long",
        "  prefgym COMMAND --help                                  every option of a command",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``failures.py`` lists them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words else ""
    try:
        with stoppable(), plain_output():
            return _run(words)
    except BaseException as error:  # SystemExit too: code of others that ends the program has not done the work
        expected = explain(error)
        code, sentence = expected or (EXIT_UNEXPECTED, report(error, words))
        if code == EXIT_PIPE:  # the reader of our output stopped reading, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return code
        return _fail(command, sentence, code)


def entry() -> None:
    """The program: :func:`main`, but it exits right after a stop, before libraries clean up under a second signal."""
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # a sentence, and no line of our code
    code = main()
    if code > 128:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if words else EXIT_INPUT
    if words[0] == "--version":
        from . import __version__

        print(f"prefgym {__version__}")
        return 0
    _command(words[0], words[1:])
    return 0


def _command(command: str, arguments: list[str]) -> None:
    if command not in COMMANDS:
        raise InputError(f'there is no command "{command}"; see prefgym --help.{nearest(command, COMMANDS)}')
    module = import_module(f".commands.{command.replace('-', '_')}", __package__)
    if "-h" in arguments or "--help" in arguments:
        print(module.help_text())
    else:
        module.run(arguments)


def _fail(command: str, sentence: str, code: int) -> int:
    progress = sys.modules.get("tqdm.std")
    for bar in list(getattr(progress.tqdm, "_instances", ()) if progress else ()):
        bar.close()  # a progress bar left open by an error would overwrite the sentence
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(printable(f"prefgym {command}: {sentence}"), file=sys.stderr)
    return code
