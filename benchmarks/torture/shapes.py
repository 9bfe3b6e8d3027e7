"""Random realistic user folders: a project, an old run with the user's files, links, odd neighbours."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from .cases import Case
from .material import train_words

FIRST_VERSION = (
    *("README.md", "config.json", "config.yaml", "generation_config.json", "history.jsonl", "learning_curves.png"),
    *("metrics.json", "model.safetensors", "prefgym.json", "report.html", "report.md", "samples.jsonl"),
    *("score_against_kl.png", "tensorboard", "tokenizer.json", "tokenizer_config.json", "value_head.safetensors"),
    *("win_rates.png", "checkpoints"),
)
"""The files of a run of 0.1.0: nothing says whose they are."""
CONFIGS = (
    "",
    "# mine\n",
    "learning_rate: 0.1\nmodel: resnet\n",
    "env.id: Summarize-v0\nseed: 3\n",
    "- a\n- b\n",
    "\0\0",
)


def note(folder: Path, name: str, text: str = "") -> None:
    """Write a user's file; its text is unique."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"{path}: mine\n", encoding="utf-8")


def git(folder: Path, _: Random) -> None:
    """A repository."""
    for name in (".git/HEAD", ".git/config", ".git/objects/ab/cdef", ".gitignore", ".github/workflows/ci.yml"):
        note(folder, name)


def papers(folder: Path, _: Random) -> None:
    """Documents, data and dotfiles."""
    for name in ("thesis.tex", "data/posts.jsonl", "data/.cache/x", ".env", "notes/a/b/c.md", "run.py", "a name.txt"):
        note(folder, name)


def config(folder: Path, rng: Random) -> None:
    """A file that happens to have one of our names: empty, from another tool, or like ours."""
    note(folder, "config.yaml", rng.choice(CONFIGS) or "\n")
    if rng.random() < 0.5:
        (folder / "config.yaml").write_bytes(b"")


def reports(folder: Path, rng: Random) -> None:
    """The user's files and folders with names that our commands write."""
    names = ["report.md", "metrics.json", "README.md", "model.safetensors", "history.jsonl", "plots/report.html"]
    names += ["tensorboard/events.out.tfevents.1.mine.0", "checkpoints/epoch-3.pt", "checkpoints/iteration-000009/mine"]
    names += [
        "evaluation/config.yaml",
        "evaluation/table.csv",
        "figures/a.png",
        "runs/old/config.yaml",
        "measured/a.json",
    ]
    for name in rng.sample(names, rng.randint(2, 8)):
        note(folder, name)


def temporary(folder: Path, _: Random) -> None:
    """Names like those of our unfinished writes."""
    for name in (".saving-mine/a", ".report.md.partial", "checkpoints/.writing-mine/b", ".lock", "run.lock"):
        note(folder, name)


def links(folder: Path, rng: Random) -> None:
    """Links to folders and files elsewhere."""
    elsewhere = folder.parent / "elsewhere"
    for name in ("evaluation", "checkpoints", "data2", "tensorboard"):
        if not (folder / name).exists() and rng.random() < 0.6:
            note(elsewhere, f"{name}/config.yaml")
            note(elsewhere, f"{name}/mine.csv")
            (folder / name).symlink_to(Path("..") / "elsewhere" / name)
    if not (folder / "metrics.json").exists():
        note(elsewhere, "numbers.json")
        (folder / "metrics.json").symlink_to(elsewhere / "numbers.json")
    (folder / "nowhere").symlink_to("missing")


def empty(_: Path, __: Random) -> None:
    """Nothing."""


SHAPES: tuple[Callable[[Path, Random], None], ...] = (git, papers, config, reports, temporary, links, empty)


def a_run(folder: Path, run: Path, rng: Random, *, first_version: bool) -> None:
    """A finished run, with the user's files at all depths of it."""
    for path in run.iterdir():
        if not first_version or path.name in FIRST_VERSION:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, folder / path.name)
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for index, place in enumerate(rng.sample(places, min(len(places), 4))):
        note(place, f"mine-{index}.txt")
    if rng.random() < 0.5:
        note(folder, "checkpoints/best/model.safetensors")


def neighbours(folder: Path, rng: Random) -> None:
    """Beside the folder: names that are taken."""
    name = folder.name
    others = [f".{name}.replaced/config.yaml", f"{name}.previous-1/mine", f"{name}.previous-2", f".{name}.lock"]
    for other in rng.sample([*others, f"{name}.previous", "other/mine.txt", f"{name}.1"], rng.randint(0, 4)):
        note(folder.parent, other)


def name_it(home: Path, folder: Path, rng: Random) -> tuple[Path, str]:
    """A working folder, and one of the many names that the folder has from there."""
    inside = [(folder, "."), (folder, "./"), (folder, f"../{folder.name}"), (folder, str(folder))]
    link = home / "link"
    link.symlink_to(folder)
    beside = [folder.name, f"{folder.name}/", f"./{folder.name}", f"{folder.name}/../{folder.name}", "link", "link/."]
    deep = folder / "sub"
    if rng.random() < 0.15:
        deep.mkdir(exist_ok=True)
        return deep, ".."
    return rng.choice([*inside, *((home, name) for name in beside)])


def command_words(
    command: str, target: str, case: dict[str, Case], material: Path, run: Path, rng: Random
) -> list[str]:
    """A command that writes to the target, in its quickest form, sometimes with flags that it may not know."""
    flags = rng.choice([[], [], ["--overwrite"], ["--overwrite"], ["--resume"], ["--overwrite", "--resume"]])
    model = str(material / "model")
    if command in ("sft", "reward"):
        words = [word for word in case[command].words if word not in ("--output", "run")]
    elif command == "train":
        words = [*train_words(material, 8)[:-1], "0"]
    elif command == "evaluate":
        if rng.random() < 0.5:  # into RUN/evaluation
            return ["evaluate", target, "--evaluation.prompts", "2", *flags[:1]]
        words = ["evaluate", str(run), "--evaluation.prompts", "2"]
    elif command == "compare":
        words = (
            ["compare", str(run), model, "--evaluation.prompts", "2"] if rng.random() < 0.5 else ["compare", str(run)]
        )
    elif command == "benchmark":
        words = ["benchmark", model, "--mmlu", str(material / "mmlu"), "--limit", "2"]
    elif command == "lecture":
        words = case["lecture"].words[:-2]
    elif command == "sample":
        words, target = ["sample", str(run), "--limit", "2"], f"{target}/{rng.choice(['thesis.tex', 'out.jsonl'])}"
    elif command == "label":
        target = f"{target}/{rng.choice(['thesis.tex', 'out.jsonl'])}"
        words = ["label", str(material / "two.jsonl"), "--annotator", str(material / "preference"), "--limit", "2"]
    else:  # build-assets: the whole takes minutes, so what it refuses, and an --install of nothing
        words = ["build-assets", "--quick", "--seed", "-1", "--restart"]
    return [*words, "--output", target, *flags]
