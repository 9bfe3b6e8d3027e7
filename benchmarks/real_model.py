"""The main job on real text: a pretrained chat model, real dialogues, real people's judgements, command by command.

    python benchmarks/real_model.py --model SMOLLM2 --encoder MINILM --data DATA --output benchmarks/real_model
    python benchmarks/real_model.py --quick --output /tmp/real_model      shows that it runs, on the embedded models

SMOLLM2 is a folder with SmolLM2-135M-Instruct, MINILM one with all-MiniLM-L6-v2, DATA one with dialogsum/,
preferences/, mmlu/ and bigbench/bbh/. Every stage is a command that a user would type; stages that are done are not
repeated, and one that was stopped goes on (--work keeps them, runs/real_model by default). Rows of the data and weights
stay in --work. Writes results.json, a picture and README.md.

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
from pathlib import Path
from typing import NamedTuple

from real_model_data import check_apart, prepare, read_rows
from real_model_page import write_page

from prefgym.cli import main as prefgym

PROMPTS = ("--data.prompts", "data/prompts", "--data.prompt_column", "dialogue", "--data.reference_column", "summary")
RATINGS = ("--data.prompt_column", "dialogue", "--data.response_column", "summary", "--data.rating_column", "mean")
RATINGS += ("--data.min_gap", "0.5", "--data.group_column", "id")
SPOILT = ("--data.prompt_column", "dialogue", "--data.chosen_column", "better", "--data.rejected_column", "worse")
PAIRED = ("--data.first_column", "a", "--data.second_column", "b", "--data.label_column", "gold")
LORA = ("--training.lora_rank", "16", "--training.lora_layers", "10", "--training.learning_rate", "5e-4")
ONCE = ("--training.epochs", "1")
FASTER = ("--training.learning_rate", "2e-4", "--training.eval_every", "25")
INSTRUCTION = "Summarize this dialogue in one or two sentences.\n\n{prompt}"
SETS = {  # columns, folds, epochs
    "summeval": (("--data.prompt_column", "article", *RATINGS[2:]), "2", "0.3"),
    "tulu": (("--data.prompt_column", "prompt", *PAIRED), "4", "3"),
    "arguments": (("--data.prompt_column", "topic", *PAIRED), "3", "3"),
}
"""The other sets of people's judgements."""
RESUMED = ("sft", "reward", "train")
"""Commands that go on with --resume; the others do so when they are run again."""


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


def stages(model: str, encoder: str, seeds: int, quick: bool) -> list[Stage]:
    """Every command: first the path of one seed, then what stands beside it."""
    path, beside = _path(model, encoder, quick), _runs(model, seeds, quick)
    return [*path, *beside, *([] if quick else [*_crossed(encoder), *_benchmarks(model)])]


def _path(model: str, encoder: str, quick: bool) -> list[Stage]:
    """Fine-tuning, the reward's and the judge's preference models, and the first run."""
    pairs = ("--data.pairs", "data/pairs.jsonl", "--data.instruction_column", "dialogue")
    pairs += ("--data.output_column", "summary", *(("--data.instruction", "none") if quick else ()))
    small = ("--training.epochs", "0.5", "--training.learning_rate", "1e-4") if quick else ()
    lora, layers = ((), ("--training.lora_layers", "2")) if quick else (LORA, ())
    few, once, faster = ((), (), ()) if quick else (("--training.epochs", "0.3"), ONCE, FASTER)
    return [
        Stage("sft", ("sft", "--config", "real-sft", "--model", model, *pairs, *small, *layers)),
        Stage("reward-start", (*_preference(SPOILT, "spoilt-reward"), "--model", "sft", *lora, *few, *small)),
        Stage("reward", (*_preference(RATINGS, "reward"), "--model", "reward-start", *lora, *once, *small)),
        Stage("judge-start", (*_preference(SPOILT, "spoilt-judge"), "--model", encoder, *once, *faster, *small)),
        Stage("judge", (*_preference(RATINGS, "judge"), "--model", "judge-start", *once, *small)),
        Stage("reinforce-0", (*_train(quick), "--seed", "0")),
    ]


def _preference(columns: tuple[str, ...], file: str) -> tuple[str, ...]:
    """A preference model from a file of comparisons or ratings, not cross-validated."""
    return ("reward", "--config", "real-reward", *columns, "--folds", "0", "--data.comparisons", f"data/{file}.jsonl")


def _train(quick: bool, preset: str = "real-reinforce") -> tuple[str, ...]:
    """A run, but for its seed."""
    few = ("--agent.total_episodes", "16", "--agent.episodes_per_iteration", "16", "--agent.batch_size", "16")
    few += ("--evaluation.prompts", "4", "--evaluation.validation_prompts", "2", "--env.max_new_tokens", "8")
    few += ("--agent.lora_layers", "2")
    train = ("train", "--config", preset, "--env.model", "sft", "--env.reward", "reward", *PROMPTS)
    return (*train, "--evaluation.judge", "judge", *(few if quick else ()))


def _runs(model: str, seeds: int, quick: bool) -> list[Stage]:
    """The untuned model, the other seeds, and in the long form a run that pays no KL and one of PPO."""
    unpaid = ("--seed", "0", "--env.kl_coef", "0", "--evaluation.keep", "last")
    untuned = ("evaluate", "sft", "--env.model", model, "--env.reward", "reward", *PROMPTS)
    untuned += ("--evaluation.judge", "judge", "--evaluation.yardsticks", "false")
    further = []
    if quick:
        untuned += ("--evaluation.prompts", "4", "--env.max_new_tokens", "8")
    else:
        untuned += ("--env.max_prompt_tokens", "320", "--env.max_new_tokens", "48", "--env.instruction", INSTRUCTION)
        further.append(Stage("unpaid-kl", (*_train(quick), *unpaid)))
        further.append(Stage("ppo-0", (*_train(quick, "real-ppo"), "--seed", "0")))
    others = [Stage(f"reinforce-{seed}", (*_train(quick), "--seed", str(seed))) for seed in range(1, seeds)]
    return [Stage("untuned", untuned), *others, *further]


def _crossed(encoder: str) -> list[Stage]:
    """Cross-validations: of the encoder on all sets of judgements, of the decoder on the rated dialogues."""
    begin = ("reward", "--config", "real-reward", "--model")
    systems = ("--data.system_column", "model", *ONCE)
    found = [
        Stage(f"crossed{name}", (*begin, "judge-start", *RATINGS, *systems, "--data.comparisons", f"data/{file}.jsonl"))
        for name, file in (("", "ratings"), ("-without-poor", "ratings-without-poor"))
    ]
    decoder = (*begin, "reward-start", *RATINGS, *LORA, *ONCE, "--folds", "2")
    found.append(Stage("crossed-decoder", (*decoder, "--data.comparisons", "data/ratings.jsonl")))
    for name, (columns, folds, epochs) in SETS.items():
        words = (*begin, encoder, *columns, "--folds", folds, "--training.epochs", epochs)
        found.append(Stage(f"crossed-{name}", (*words, "--data.comparisons", f"data/{name}.jsonl")))
    return found


def _benchmarks(model: str) -> list[Stage]:
    """MMLU and BIG-Bench-Hard before fine-tuning, after it and after REINFORCE, without and with solved questions."""
    asked = ("benchmark", model, "sft", "reinforce-0", "--mmlu", "data/mmlu", "--bbh", "data/bbh", "--limit", "50")
    return [
        Stage("benchmark", (*asked, "--formulation", "both")),
        Stage("benchmark-3-shots", (*asked, "--formulation", "both", "--shots", "3")),
    ]


def run(stage: Stage, work: Path, inside: bool = False) -> None:
    """Run a stage in ``work``, or go on with one that was stopped; its seconds and memory are noted."""
    folder, noted = work / stage.name, work / "times.jsonl"
    if any(row["stage"] == stage.name and row["code"] == 0 for row in read_rows(noted)):
        return
    words = [*stage.words, "--output", stage.name]
    if stage.command in RESUMED and (folder / "config.yaml").is_file():
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


def _whole_path(model: str) -> str:
    """A folder's whole path, as commands run in another folder; any other name as it is."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


if __name__ == "__main__":
    main()
