"""The commands under torture: how each is started and resumed, and what it needs beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .fire import Server
from .material import reward_words, sft_words, train_words

FIGURE = "policy_gradient"
"""Of the lecture's quick form, one that takes seconds."""
OLD_SEED, MINE = "7", ("mine.txt", "checkpoints/notes.txt")


def nothing(_: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """A command and its way back.

    Attributes:
        words: the command, run in the trial's own working folder.
        resume: the command that continues what ``words`` left; None if that is ``words`` again.
        prepare: creates what the command needs in the working folder.
        ignore: names in the working folder that are not compared.
    """

    name: str
    words: list[str]
    resume: list[str] | None = None
    prepare: Callable[[Path], None] = field(default=nothing, repr=False)
    ignore: str = r"(?!)"


def make_cases(server: Server, scratch: Path, material: Path) -> dict[str, Case]:
    """All commands under torture; a run that one of them works on is trained when it is first needed."""

    def a_run(name: str, *more: str) -> Callable[[Path], None]:
        def prepare(work: Path) -> None:
            source = (
                finished_run(server, scratch, material) if name == "finished" else old_run(server, scratch, material)
            )
            shutil.copytree(source, work / "run")
            for path in more:
                (work / "run" / path).write_text(f"{path} is the user's own.\n", encoding="utf-8")

        return prepare

    made = [
        _resumable("train", train_words(material)),
        _resumable("train-plain", _without_report(train_words(material))),
        _resumable("sft", sft_words(material)),
        _resumable("reward", reward_words(material)),
        Case("evaluate", ["evaluate", "run", "--evaluation.prompts", "6"], prepare=a_run("finished")),
        Case("lecture", ["lecture", "--quick", "--figure", FIGURE, "--output", "run"]),
        Case(
            "overwrite",
            [*_without_report(train_words(material)), "--output", "run", "--overwrite"],
            ["train", "--resume", "--output", "run"],
            a_run("old", *MINE),
            r"run\.previous-\d+(/|$)|run/mine.txt|run/checkpoints/notes.txt",
        ),
    ]
    return {case.name: case for case in made}


def finished_run(server: Server, scratch: Path, material: Path) -> Path:
    """A finished run, made once; without a report, which takes longest."""
    return _trained(server, scratch / "finished", _without_report(train_words(material)))


def old_run(server: Server, scratch: Path, material: Path) -> Path:
    """A run to be overwritten: with everything that a run has, and another seed."""
    return _trained(server, scratch / "old", [*train_words(material), "--seed", OLD_SEED])


def _resumable(name: str, words: list[str]) -> Case:
    return Case(name, [*words, "--output", "run"], [words[0], "--resume", "--output", "run"])


def _without_report(words: list[str]) -> list[str]:
    return [*words[:-1], "0"]


def _trained(server: Server, home: Path, words: list[str]) -> Path:
    if not (home / "run" / "metrics.json").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        ended = server.run([*words, "--output", "run"], cwd=home)
        if ended.code:
            raise RuntimeError(ended.told())
    return home / "run"
