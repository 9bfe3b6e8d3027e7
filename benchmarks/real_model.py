"""The main job on real text: a pretrained chat model, real dialogues, real people's judgements, command by command.

    python benchmarks/real_model.py --model SMOLLM2 --encoder MINILM --data DATA --output benchmarks/real_model
    python benchmarks/real_model.py --quick --output /tmp/real_model      shows that it runs, on the embedded models

SMOLLM2 is a folder with SmolLM2-135M-Instruct, MINILM one with all-MiniLM-L6-v2, DATA one with dialogsum/ and
preferences/. Every stage is a command that a user
would type; stages that are done are not repeated, and one that was stopped goes on (--work keeps them, runs/real_model
by default). Rows of the data and weights stay in --work. Writes results.json, a picture and README.md.

The dialogues of fine-tuning, RL, validation and the final judgement are different ones, and so are those that reward
and judge learn from: prepare() divides them and check_apart() looks again. Reward and judge begin with comparisons of
summaries with spoilt ones (spoilt.py), and go on with ratings.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import spoilt
from real_model_page import write_page

from prefgym.cli import main as prefgym

HERE = Path(__file__).resolve().parent
COUNTS = {"pairs": 3000, "prompts": 1000, "spoilt for the reward": 2000, "spoilt for the judge": 2000}
"""Dialogues of each kind, all different."""
HELD_OUT, WORDS = 500, 160
"""Dialogues of validation, which are the last ones, and the longest that is learned from: two cores read few a second."""
COLUMNS = ("--data.prompt_column", "dialogue", "--data.reference_column", "summary")
RATINGS = ("--data.prompt_column", "dialogue", "--data.response_column", "summary", "--data.rating_column", "mean")
RATINGS += ("--data.min_gap", "0.5", "--data.group_column", "id")
POOR = ("D", "E")
"""Systems so poor that knowing them decides most comparisons: measured with and without them."""


class Stage(NamedTuple):
    """A command, and the folder that it writes."""

    name: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command of prefgym."""
        return self.words[0]


def main() -> None:
    """Prepare the data, run what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where stages are kept (default: runs/real_model)")
    parser.add_argument("--model", default="embedded/start")
    parser.add_argument("--encoder", default="embedded/start")
    parser.add_argument("--data", type=Path, help="folder with dialogsum/ and preferences/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="these stages alone, by name")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    work = (options.work or (options.output if options.quick else Path("runs")) / "real_model").resolve()
    prepare(options.data, work / "data", quick=options.quick)
    check_apart(work / "data")
    how = (1 if options.quick else options.seeds, options.quick)
    asked = stages(*map(_whole_path, (options.model, options.encoder)), *how)
    unknown = set(options.only or ()) - {stage.name for stage in asked}
    if unknown:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}; stages are {', '.join(s.name for s in asked)}")
    for stage in asked:
        if options.only is None or stage.name in options.only:
            run(stage, work, inside=options.quick)
    options.output.mkdir(parents=True, exist_ok=True)
    model, encoder = (Path(name).name if Path(name).is_dir() else name for name in (options.model, options.encoder))
    given = {"model": model, "encoder": encoder, "quick": options.quick}
    write_page(options.output, work, stages(model, encoder, *how), given)  # without the paths of a machine


def prepare(source: Path | None, folder: Path, quick: bool = False) -> None:
    """Divide the dialogues and the ratings; with ``quick`` a few rows in their place, made from the embedded posts."""
    if folder.is_dir():
        return
    train, dev, ratings = _few_rows() if quick or source is None else _real_rows(source)
    held_out = min(HELD_OUT, len(train) // 4)
    short = [row for row in train[:-held_out] if len(row["dialogue"].split()) <= WORDS]
    parts = _divided(short)
    names = sorted({row["id"] for row in ratings})
    sides = {name: ("reward", "judge")[place % 2] for place, name in enumerate(names)}
    files = {
        "pairs.jsonl": parts["pairs"],
        "prompts/train.jsonl": parts["prompts"],
        "spoilt-reward.jsonl": spoilt.comparisons(parts["spoilt for the reward"]),
        "spoilt-judge.jsonl": spoilt.comparisons(parts["spoilt for the judge"], seed=1),
        "prompts/validation.jsonl": train[-held_out:],
        "prompts/test.jsonl": dev,
        "ratings.jsonl": ratings,
        "ratings-without-poor.jsonl": [row for row in ratings if row["model"] not in POOR],
        **{f"{side}.jsonl": [row for row in ratings if sides[row["id"]] == side] for side in ("reward", "judge")},
    }
    for name, rows in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def check_apart(folder: Path) -> None:
    """Stop if a dialogue is in two of the files that must not share any."""
    prompts = ("pairs.jsonl", "prompts/train.jsonl", "prompts/validation.jsonl", "prompts/test.jsonl")
    seen: dict[str, str] = {}
    for name in (*prompts, "spoilt-reward.jsonl", "spoilt-judge.jsonl", "reward.jsonl", "judge.jsonl"):
        for dialogue in set(map(_same, _read(folder / name))):
            if seen.setdefault(dialogue, name) != name:
                sys.exit(f"A dialogue is in {seen[dialogue]} and in {name}: {dialogue[:60]} ...")


def stages(model: str, encoder: str, seeds: int, quick: bool) -> list[Stage]:
    """Every command; the preference models' cross-validations stand apart from the two that are used."""
    small = ("--training.epochs", "0.5", "--training.learning_rate", "1e-4") if quick else ()
    short = ("--agent.total_episodes", "16", "--agent.episodes_per_iteration", "16", "--agent.batch_size", "16")
    short += ("--evaluation.prompts", "4", "--evaluation.validation_prompts", "2", "--env.max_new_tokens", "8")
    folds = ("--folds", "0")
    reward = ("reward", "--config", "real-reward", *RATINGS, *small)
    train = ("train", "--config", "real-reinforce", "--env.model", "sft", "--env.reward", "reward", *COLUMNS)
    train += ("--data.prompts", "data/prompts", "--evaluation.judge", "judge", *(short if quick else ()))
    pairs = ("--data.pairs", "data/pairs.jsonl", "--data.instruction_column", "dialogue")
    pairs += ("--data.output_column", "summary", *(("--data.instruction", "none") if quick else ()))
    apart = (*reward, "--data.system_column", "model", "--model", encoder, "--data.comparisons")
    crossed = [Stage(f"crossed{name}", (*apart, f"data/ratings{name}.jsonl")) for name in ("", "-without-poor")]
    unpaid = ("--seed", "0", "--env.kl_coef", "0", "--evaluation.keep", "last")
    rl = [Stage(f"reinforce-{seed}", (*train, "--seed", str(seed))) for seed in range(seeds)]
    return [
        Stage("sft", ("sft", "--config", "real-sft", "--model", model, *pairs, *small)),
        Stage("reward", (*reward, *folds, "--model", "sft", "--data.comparisons", "data/reward.jsonl")),
        Stage("judge", (*reward, *folds, "--model", encoder, "--data.comparisons", "data/judge.jsonl")),
        *rl[:1],
        *(() if quick else (Stage("unpaid-kl", (*train, *unpaid)), *crossed)),
        *rl[1:],
    ]


def run(stage: Stage, work: Path, inside: bool = False) -> None:
    """Run a stage in ``work``, or go on with one that was stopped; its seconds and memory are noted."""
    folder, noted = work / stage.name, work / "times.jsonl"
    if any(row["stage"] == stage.name and row["code"] == 0 for row in _read(noted)):
        return
    words = [*stage.words, "--output", stage.name]
    if (folder / "config.yaml").is_file():
        words = [stage.command, "--resume", "--output", stage.name]
    print(f"$ prefgym {' '.join(words)}", flush=True)
    began = time.perf_counter()
    if inside:
        here = Path.cwd()
        os.chdir(work)
        code = prefgym(words)
        os.chdir(here)
    else:
        with (work / f"{stage.name}.log").open("a", encoding="utf-8") as log:
            code = subprocess.run(
                [sys.executable, "-m", "prefgym", *words], cwd=work, stdout=log, stderr=log
            ).returncode
    told = {"stage": stage.name, "seconds": time.perf_counter() - began, "code": code}
    told["gib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    with noted.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")
    if code:
        sys.exit(f"{stage.name} ended with {code}; see {work / f'{stage.name}.log'}")


def _real_rows(source: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The dialogues of train and dev, and the ratings."""
    train, dev = (_read(source / "dialogsum" / f"{name}.jsonl") for name in ("train", "dev"))
    rated = _read(source / "preferences" / "dialsummeval_ratings.jsonl")
    alone, judged = ({_same(row): row for row in rows} for rows in (train, dev))
    return [row for text, row in alone.items() if text not in judged], list(judged.values()), rated


def _divided(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each kind: as many as ``COUNTS`` says, or in these proportions."""
    share = min(1.0, len(rows) / sum(COUNTS.values()))
    ends = [int(share * end) for end in accumulate(COUNTS.values(), initial=0)]
    return {kind: rows[start:end] for kind, (start, end) in zip(COUNTS, pairwise(ends), strict=True)}


def _same(row: dict[str, Any]) -> str:
    """A dialogue whatever its white space."""
    return " ".join(row["dialogue"].split())


def _few_rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The same of a few embedded posts; a summary of more words is rated higher."""
    from prefgym.data.prompts import embedded_prompts

    rows = [{"dialogue": row["prompt"], "summary": row["reference"]} for row in embedded_prompts("train", 72)]
    ratings = [
        {"id": str(number), "dialogue": row["dialogue"], "summary": text, "model": model, "mean": len(text.split()) / 5}
        for number, row in enumerate(rows[56:])
        for model, text in (("A", row["summary"]), ("B", " ".join(row["summary"].split()[:3])))
    ]
    return rows[:48], rows[48:56], ratings


def _whole_path(model: str) -> str:
    """A folder's whole path, as commands run in another folder; any other name as it is."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


if __name__ == "__main__":
    main()
