"""The calls that the options of every command are tried in: base words, recorders, and what stands there before."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import option_probes as probes
import option_screens as screens
import yaml

from prefgym.files import write_text
from prefgym.output import kept_folder, new_folder, resumed_folder
from prefgym.yaml_files import dump_yaml

Places = dict[str, Path]


class Scene(NamedTuple):
    """A command with base words; ``@name`` in a word is a path of ``places``."""

    command: str
    words: tuple[str, ...]
    probe: probes.Probe
    read: Callable[[str], probes.Seen] = screens.nothing


TINY = ("--env.model", "@model", "--env.reward", "@preference", "--env.max_prompt_tokens", "40")
TINY = (*TINY, "--env.max_new_tokens", "6", "--evaluation.prompts", "3")
FEW = ("--env.max_prompt_tokens", "90", "--env.max_new_tokens", "6")
CHAT = ("--env.model", "@chat", "--env.reward", "@preference", *FEW, "--evaluation.prompts", "3")
SHORT = ("--agent.total_episodes", "16", "--agent.episodes_per_iteration", "8", "--agent.batch_size", "8")
TRAIN = (*TINY, *SHORT, "--env.reference", "@other")
PLAY = tuple(word for word in TINY if word not in ("--evaluation.prompts", "3"))
SFT = ("--data.pairs", "@pairs", "--model", "@model", "--data.held_out", "0.3", "--training.save_every", "3")
REWARD = ("--data.comparisons", "@comparisons", "--model", "@model", "--data.held_out", "0.3", "--folds", "0")
REWARD = (*REWARD, "--training.save_every", "3")
PICKS = probes.typing(*"111111")
ANSWERS = probes.typing(*"11111111")
ASK = ("@model", "--bigbench", "@bigbench", "--max-new-tokens", "4")
LECTURE = ("--figure", "open_ended", "token_level")

SCENES = {
    "train": Scene("train", TRAIN, probes.learning),
    "train to the report": Scene("train", TRAIN, probes.learned),
    "train further": Scene("train", ("--output", "runs/train"), probes.learning),
    "evaluate": Scene("evaluate", ("@run", "--output", "first"), probes.evaluating),
    "evaluate chat": Scene("evaluate", ("@chat", *CHAT, "--output", "first"), probes.evaluating),
    "evaluate shared": Scene("evaluate", ("shared",), probes.evaluating),
    "evaluate changed": Scene("evaluate", ("changed",), probes.evaluating),
    "compare": Scene("compare", ("@run", "--evaluation.prompts", "3"), probes.comparing),
    "compare chat": Scene("compare", ("@chat", *CHAT), probes.comparing),
    "compare shared": Scene("compare", ("shared",), probes.comparing),
    "compare changed": Scene("compare", ("changed",), probes.comparing),
    "compare configs": Scene("compare", ("--config", "@ppo", *TINY, *SHORT), probes.training_to_compare),
    "sample": Scene("sample", ("@run", "--limit", "2"), probes.devices, screens.read_rows),
    "sample chat": Scene("sample", ("@chat", *FEW, "--limit", "2"), probes.devices, screens.read_rows),
    "sample a file's": Scene("sample", ("filed", "--data.held_out", "0.3"), probes.devices, screens.read_rows),
    "play": Scene("play", (*PLAY, "--index", "3"), PICKS, screens.read_game),
    "play any": Scene("play", PLAY, PICKS, screens.read_game),
    "play a file's": Scene("play", ("filed", "--data.held_out", "0.3", "--index", "1"), PICKS, screens.read_game),
    "play changed": Scene("play", ("changed",), PICKS, screens.read_game),
    "play shared": Scene("play", ("shared",), PICKS, screens.read_game),
    "sft": Scene("sft", SFT, probes.fitting),
    "reward": Scene("reward", REWARD, probes.fitting),
    "reward to the end": Scene("reward", REWARD, probes.anchoring),
    "label": Scene("label", ("@fewer_comparisons",), ANSWERS, screens.read_labels),
    "benchmark": Scene("benchmark", ASK, probes.asking),
    "benchmark chat": Scene("benchmark", ("@chat", *ASK[1:]), probes.asking),
    "lecture": Scene("lecture", LECTURE, probes.listening),
    "lecture on benchmarks": Scene("lecture", ("--figure", "benchmarks"), probes.listening),
    "build-assets": Scene("build-assets", (), probes.building, screens.read_folders),
}


def begun(places: Places, words: list[str], command: str) -> None:
    """A run of ``sft`` or ``reward`` that was stopped before its first step."""
    config = import_module(f"prefgym.commands.{command}").read_config(words)
    control = import_module("prefgym.commands.sft").CONTROL
    with new_folder(Path("runs/begun"), command) as folder:
        config.without(control).save(folder / "config.yaml")


def worth_keeping(places: Places, words: list[str], command: str) -> None:
    """A folder that holds a report of the command."""
    config = "first" if command == "evaluate" else f"runs/{command}"
    with new_folder(Path(config), command) as folder:
        for name in ("metrics.json", "report.html"):
            write_text(folder / name, "{}")


def a_run(places: Places, words: list[str], command: str) -> None:
    """A finished training run of ours."""
    shutil.copytree(places["run"], "runs/train")


def unfinished(places: Places, words: list[str], command: str) -> None:
    """A training run that was stopped, as far as files tell."""
    a_run(places, words, command)
    Path("runs/train/report.html").unlink()


def longer(places: Places, words: list[str], command: str) -> None:
    """A training run that has some way to go."""
    unfinished(places, words, command)
    _set(Path("runs/train"), "agent", total_episodes=24)


def shared(places: Places, words: list[str], command: str) -> None:
    """A run of somebody else, which names code of its own."""
    shutil.copytree(places["run"], "shared")
    Path("shared/evil.py").write_text("def f(prompts, completions, **_):\n    return [0.0] * len(prompts)\n")
    _set(Path("shared"), "env", reward="shared/evil.py:f")


def changed(places: Places, words: list[str], command: str) -> None:
    """A run whose start model is no longer what it was."""
    shutil.copytree(places["run"], "changed")
    file = Path("changed/prefgym.json")
    settings = json.loads(file.read_text())
    settings["inputs"]["model"] = "another"
    file.write_text(json.dumps(settings))


def of_a_file(places: Places, words: list[str], command: str) -> None:
    """A run whose prompts come from a file."""
    shutil.copytree(places["run"], "filed")
    _set(Path("filed"), "data", prompts=str(places["posts"]))


def compared(places: Places, words: list[str], command: str) -> None:
    """A comparison whose runs are trained."""
    with kept_folder(Path("runs/comparison"), "compare") as folder:
        for seed in range(3):
            with new_folder(folder / "ppo" / f"seed-{seed}", "train") as run:
                write_text(run / "metrics.json", "{}")
        write_text(folder / "metrics.json", "{}")


def sampled(places: Places, words: list[str], command: str) -> None:
    """A file that ``sample`` wrote."""
    from prefgym.output import write_file

    write_file(Path("mine.jsonl"), "", overwrite=False)


def built(places: Places, words: list[str], command: str) -> None:
    """Models that were built before."""
    from prefgym.cli import main

    main(["build-assets"])


def _set(run: Path, section: str, **values: Any) -> None:
    """Change the config of a run, as if it had been trained with it."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[section] |= values
    with resumed_folder(run, "train") as folder:
        write_text(folder / "config.yaml", dump_yaml(config))
