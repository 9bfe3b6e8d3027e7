"""Bad input of every kind: one sentence, a documented exit code, and nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from .cases import finished_run
from .damage import damage_file, damaged, data_file
from .fire import Ended, Server
from .material import reward_words, sft_words, train_words
from .nasty import AT_IMPORT, NASTY_YAML, PYTHON, WORDS
from .outcome import TEMPORARY

CODES = (0, 1, 2, 3, 4)
KINDS = {"option": 6, "config": 4, "data": 4, "model": 3, "run": 4, "code": 2}
AMOUNTS = re.compile(
    r"episodes|epochs|seeds|prompts|limit|batch|n_epochs|max|folds|demonstrations|seed$|shots|tokens|figure"
)
"""Options whose large values are not bad input, but hours of work; a number among odd values can be large."""
TIMEOUT = 60


def try_inputs(
    server: Server, scratch: Path, material: Path, keys: Iterable[str], *, quick: bool = False
) -> Iterator[dict[str, Any]]:
    """Make a try for each key, which seeds all randomness; a row for each. Quick: dry runs, and nothing is judged."""
    inputs = Inputs(scratch / "home", finished_run(server, scratch, material), material, quick=quick)
    for key in keys:
        yield try_input(server, inputs, key)


def try_input(server: Server, inputs: Inputs, key: str) -> dict[str, Any]:
    """One bad input; the key seeds everything about it."""
    kind, words, what = inputs.make(Random(key))
    ended = server.run(words, cwd=inputs.home, plain=True, timeout=TIMEOUT)
    faults = ended.bad_manners(CODES) + _half_written(inputs.home, ended)
    if kind == "code" and ended.code == 0:
        faults.append("exit code 0 though it failed")
    told = [f"{what}: {ended.told()}".encode("ascii", "backslashreplace").decode()]
    return {"key": key, "kind": kind, "code": ended.code, "good": not faults, "faults": faults, "told": told}


class Inputs:
    """Makes commands with something bad in their input.

    Args:
        home: working folder of the command, recreated for each.
        run: a finished run to copy and damage.
        material: good models and data.
        quick: leave out what takes more than a second.
    """

    def __init__(self, home: Path, run: Path, material: Path, *, quick: bool = False) -> None:
        self.home, self._run, self._material, self._quick = home, run, material, quick
        self._train = [*train_words(material, 8)[:-1], "0", "--output", "out"]
        self._rows = {path.stem: _read(path) for path in material.glob("*.jsonl")}

    def make(self, rng: Random) -> tuple[str, list[str], str]:
        """Kind, arguments, and what is bad about them."""
        if self.home.exists():
            shutil.rmtree(self.home)
        self.home.mkdir(parents=True)
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        words, what = getattr(self, f"_bad_{kind}")(rng)
        if self._quick and words[0] not in ("train", "sft", "sample"):
            return self.make(rng)
        if self._quick and kind != "code" and words[0] != "sample" and not {"--dry-run", "--resume"} & set(words):
            words = [*words, "--dry-run"]
        return kind, words, what

    def _base(self, rng: Random) -> list[str]:
        """A valid, short command."""
        sft, reward = sft_words(self._material), reward_words(self._material)
        run, preference = str(self._run), str(self._material / "preference")
        label = ["label", str(self._material / "two.jsonl"), "--annotator", preference, "--limit", "2"]
        others = [
            ["evaluate", run, "--evaluation.prompts", "2"],
            ["sample", run, "--limit", "1"],
            ["compare", run, "--evaluation.prompts", "2"],
            ["benchmark", str(self._material / "model"), "--mmlu", str(self._material / "mmlu"), "--limit", "1"],
            ["lecture", "--quick", "--figure", "policy_gradient"],
            label,
        ]
        return [
            *rng.choices([self._train[:-2], sft, reward, *others], [6, 3, 3, 2, 2, 1, 1, 1, 1])[0],
            "--output",
            "out",
        ]

    def _bad_option(self, rng: Random) -> tuple[list[str], str]:
        words = self._base(rng)
        module = import_module(f"prefgym.commands.{words[0]}")
        options = re.findall(r"^  (--[\w.-]+)", module.help_text(), re.MULTILINE)
        option, value = rng.choice(options), rng.choice(WORDS)
        while AMOUNTS.search(option) and re.search(r"\d", value) and len(value) > 1:
            value = rng.choice(WORDS)
        if rng.random() < 0.1:
            option = option.replace("e", "", 1) if rng.random() < 0.5 else f"{option}.x"
        if rng.random() < 0.05:
            return rng.sample(words, len(words)), "words in another order"
        given = [f"{option}={value}"] if rng.random() < 0.2 else [option] if rng.random() < 0.05 else [option, value]
        extra = ["--dry-run"] if words[0] in ("train", "sft") and rng.random() < 0.5 else []
        return [*words, *extra, *given], " ".join(given)[:80]

    def _bad_config(self, rng: Random) -> tuple[list[str], str]:
        file, good = self.home / "config.yaml", (self._run / "config.yaml").read_bytes()
        if rng.random() < 0.6:
            data = rng.choice(NASTY_YAML).encode("utf-8", "surrogatepass")
        elif rng.random() < 0.5:
            data = damaged(good, rng)
        else:  # one value another
            lines = good.decode().splitlines()
            lines[rng.randrange(len(lines))] += rng.choice(WORDS)
            key = rng.choice([line for line in lines if ": " in line]).split(": ")[0]
            lines = [f"{key}: {rng.choice(WORDS)}" if line.startswith(f"{key}: ") else line for line in lines]
            data = "\n".join(lines).encode("utf-8", "surrogatepass")
        file.write_bytes(data)
        extra = ["--dry-run"] if rng.random() < 0.7 else []
        return [*self._train[:1], "--config", str(file), *self._train[1:], *extra], f"config {data[:60]!r}"

    def _bad_data(self, rng: Random) -> tuple[list[str], str]:
        name, option, command = rng.choice(
            [
                ("prompts", "--data.prompts", self._train),
                ("pairs", "--data.pairs", [*sft_words(self._material), "--output", "out"]),
                ("comparisons", "--data.comparisons", [*reward_words(self._material), "--output", "out"]),
                ("prompts", "--data.prompts", ["sample", str(self._run), "--limit", "2", "--output", "out"]),
                ("two", "", ["label", "FILE", "--annotator", str(self._material / "preference"), "--output", "out"]),
            ]
        )
        file = data_file(self.home, self._rows[name][:12], rng)
        words = [str(file) if word == "FILE" else word for word in command]
        if option in words:
            words[words.index(option) + 1] = str(file)
        elif option:
            words += [option, str(file)]
        return words, f"{file.name} {file.read_bytes()[:60]!r}"

    def _bad_model(self, rng: Random) -> tuple[list[str], str]:
        which = rng.choice(["model", "model", "preference"])
        folder = self.home / "model"
        shutil.copytree(self._material / which, folder)
        what = damage_file(rng.choice(sorted(path for path in folder.iterdir() if path.is_file())), rng)
        if which == "preference":
            return _with(self._train, "--env.reward", str(folder)), f"preference {what}"
        words = rng.choice([self._train, sft_words(self._material), reward_words(self._material), ["evaluate"]])
        if words == ["evaluate"]:
            return ["evaluate", str(folder), "--evaluation.prompts", "2", "--output", "out"], f"model {what}"
        words = _with(_with(words, "--env.model", str(folder)), "--model", str(folder))
        return [*words, *(() if "--output" in words else ("--output", "out"))], f"model {what}"

    def _bad_run(self, rng: Random) -> tuple[list[str], str]:
        folder = self.home / "run"
        shutil.copytree(self._run, folder)
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".png", ".html", ".md")
        )
        files += [
            path for path in files if path.name in ("prefgym.json", "state.json", "config.yaml", "history.jsonl")
        ] * 3
        what = damage_file(rng.choice(files), rng)
        more = ["--agent.total_episodes", "24"] if rng.random() < 0.5 else []
        commands = [["train", "--resume", "--output", str(folder), *more]] * 3
        commands += [
            [name, str(folder), "--evaluation.prompts", "2", "--output", "out"] for name in ("evaluate", "compare")
        ]
        return rng.choice([*commands, ["sample", str(folder), "--limit", "1", "--output", "out"]]), f"run {what}"

    def _bad_code(self, rng: Random) -> tuple[list[str], str]:
        name = rng.choice(list(PYTHON))
        body = PYTHON[name]
        text = f"def f(*a, **k):\n    {body}\n" if rng.random() < 0.7 else rng.choice(AT_IMPORT)
        file = self.home / "mine.py"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        option = rng.choice(["--env.reward", "--evaluation.judge"])
        if option == "--evaluation.judge" and rng.random() < 0.5:
            words = ["evaluate", str(self._run), "--evaluation.prompts", "2", "--output", "out"]
        else:
            words = _with(self._train, "--evaluation.prompts", "2" if "judge" in option else "0")
        return _with(words, option, f"{file}:f", add=True), f"{option} {text[:60]!r}"


def _with(words: list[str], option: str, value: str, *, add: bool = False) -> list[str]:
    """Arguments with another value for an option."""
    words = list(words)
    if option in words:
        words[words.index(option) + 1] = value
    elif add:
        words += [option, value]
    return words


def _half_written(home: Path, ended: Ended) -> list[str]:
    """The output is absent, complete, or can be resumed; nothing temporary is left."""
    out = home / "out"
    faults = [
        f"left over: {name}"
        for name in (path.relative_to(home).as_posix() for path in home.rglob("*"))
        if TEMPORARY.search(name)
    ]
    if ended.code and out.is_dir() and not any((out / "checkpoints").glob("*/*")) and ended.words[0] != "lecture":
        faults.append(f"half-written: out holds {sorted(path.name for path in out.iterdir())[:5]}")
    return faults[:4]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
