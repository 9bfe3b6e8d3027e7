"""Whether `prefgym benchmark` scores a model as lm-evaluation-harness does: its model class, its task definitions.

    python benchmarks/harness_agreement.py --model DIR --data DIR --output benchmarks/harness_agreement    resumes
    python benchmarks/harness_agreement.py --quick --data DIR --output /tmp/agreement   the embedded model: does it run

The harness's side is its own throughout: `HFLM` loads the folder; prompts, filters and metrics are those of the task
definitions it ships (`mmlu`, `mmlu_continuation`, `bbh_zeroshot`, `bbh_fewshot`); only their rows come from local files
in place of the hub. Our side is the command, on the same files. DIR of --data holds `mmlu` and `bigbench/bbh`. What is
found of a task is kept in --work, so a killed run goes on. Writes results.json and README.md: figures, no rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml

from prefgym.commands import benchmark
from prefgym.files import write_json, write_text
from prefgym.models.language_model import embedded_path

DEFINITIONS = Path(lm_eval.__file__).parent / "tasks"
SUBJECTS = ("astronomy", "us_foreign_policy", "formal_logic", "abstract_algebra")
TASKS = ("date_understanding", "navigate", "logical_deduction_three_objects", "causal_judgement", "boolean_expressions")
SHOTS = {"mmlu": (0, 5), "bbh": (0, 3)}
BOUND = 0.5  # points

Values = dict[str, list[float]]
"""The score of every question, by metric."""


def main() -> None:
    """Ask both, task by task, and write the page."""
    given = _arguments()
    files = _copy_files(given)
    rows: list[dict[str, Any]] = []
    begun = time.perf_counter()
    model: list[HFLM] = []  # loaded when first needed
    for suite, names in (("mmlu", given.subjects), ("bbh", given.tasks)):
        for shots in SHOTS[suite][: 1 if given.quick else None]:
            ours = _ours(given, suite, shots, files / suite)
            for name in names:
                for form in ("letter", "cloze") if suite == "mmlu" else ("written",):
                    theirs = _theirs(given, model, files / suite, name, form, shots)
                    rows += _compare(suite, name, form, shots, theirs, ours)
                    _write(given, rows, time.perf_counter() - begun)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of the model, with a fast tokenizer")
    parser.add_argument("--data", required=True, help="folder with mmlu and bigbench/bbh")
    parser.add_argument("--output", required=True)
    parser.add_argument("--work", default="runs/harness_agreement", help="what is kept to go on from")
    parser.add_argument("--limit", type=int, default=100, help="questions of each task, from its beginning")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="of a written answer, on both sides")
    parser.add_argument("--subjects", nargs="*", default=SUBJECTS, help="of MMLU")
    parser.add_argument("--tasks", nargs="*", default=TASKS, help="of BIG-Bench-Hard")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.model, given.limit, given.max_new_tokens = str(embedded_path("start")), 3, 8
        given.subjects, given.tasks, given.work = SUBJECTS[:1], TASKS[1:2], f"{given.output}/work"
    if not given.model:
        parser.error("name a model, or --quick")
    return given


def _copy_files(given: argparse.Namespace) -> Path:
    """The chosen files alone, as the command reads whole folders."""
    data, home = Path(given.data), Path(given.work) / "files"
    splits = [(split, name) for split in ("dev", "test") for name in given.subjects]
    chosen = {data / f"mmlu/{split}/{name}_{split}.csv": home / f"mmlu/{split}" for split, name in splits}
    chosen |= {data / f"bigbench/bbh/{name}.json": home / "bbh" for name in given.tasks}
    shutil.rmtree(home, ignore_errors=True)
    for file, folder in chosen.items():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    return home


def _ours(given: argparse.Namespace, suite: str, shots: int, folder: Path) -> dict[str, Any]:
    """The figures of the command; one that was stopped goes on with the tasks that are left."""
    output = Path(given.work) / f"ours-{suite}-{shots}-{_settings(given)}"
    if any(folder.rglob("*.*")) and not (output / "metrics.json").is_file():
        form = ["--formulation", "both"] if suite == "mmlu" else []
        told = {"limit": given.limit, "shots": shots, "max-new-tokens": given.max_new_tokens, "output": output}
        words = [str(word) for key, value in told.items() for word in (f"--{key}", value)]
        benchmark.run([given.model, f"--{suite}", str(folder), *form, *words])
    return json.loads((output / "metrics.json").read_text())["tasks"] if (output / "metrics.json").is_file() else {}


def _theirs(given: argparse.Namespace, model: list[HFLM], folder: Path, name: str, form: str, shots: int) -> Values:
    """The harness's score of every question, made or read."""
    file = Path(given.work) / f"theirs-{form}-{name}-{shots}-{_settings(given)}.json"
    if not file.is_file():
        if not model:
            model.append(HFLM(pretrained=given.model, dtype="float32", device="cpu", batch_size=8))
        task = _own_task(folder, name, form, shots, given.max_new_tokens)
        write_json(file, _harness_values(model[0], task, given.limit))
    return dict(json.loads(file.read_text()))


def _settings(given: argparse.Namespace) -> str:
    names = "-".join([*given.subjects, *given.tasks])
    return f"{Path(given.model).name}-{given.limit}-{given.max_new_tokens}-{sum(map(ord, names))}"


def _own_task(folder: Path, name: str, form: str, shots: int, budget: int) -> ConfigurableTask:
    """A task as the harness defines it, over the rows of local files."""
    way = "fewshot" if shots else "zeroshot"
    places = {
        "letter": f"mmlu/default/mmlu_{name}.yaml",
        "cloze": f"mmlu/continuation/mmlu_{name}.yaml",
        "written": f"bbh/{way}/{name}.yaml",
    }
    config = load_yaml(DEFINITIONS / places[form], resolve_func=True)
    for key in ("dataset_path", "dataset_name", "dataset_kwargs", "include"):
        config.pop(key, None)
    rows = {split: Dataset.from_list(found) for split, found in _rows(folder, name, form).items()}
    if form == "written":
        config["generation_kwargs"] = config["generation_kwargs"] | {"max_gen_toks": budget}
    config |= {"custom_dataset": lambda **_: rows, "metadata": None, "num_fewshot": shots}
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(0)
    return task


def _rows(folder: Path, name: str, form: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a task's files, by split, as the hub has them."""
    if form == "written":
        return {"test": json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["examples"]}
    found = {}
    for split in ("dev", "test"):
        with (folder / split / f"{name}_{split}.csv").open(newline="", encoding="utf-8") as opened:
            found[split] = [
                {"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5].strip())}
                for row in csv.reader(opened)
            ]
    return found


def _harness_values(model: HFLM, task: ConfigurableTask, limit: int) -> Values:
    """Every metric of every question; a written answer also compared without the white space around it."""
    name = task.config.task
    loaded: Any = {"tasks": {name: task}, "groups": {}}
    told: Any = evaluate(lm=model, task_dict=loaded, limit=limit, bootstrap_iters=0, log_samples=True)
    values: Values = {}
    for row in sorted(told["samples"][name], key=lambda sample: sample["doc_id"]):
        for metric in row["metrics"]:
            way = f"{metric}, {row['filter']}" if row["filter"] != "none" else metric
            values.setdefault(way, []).append(float(row[metric]))
        if "exact_match" in row["metrics"] and row["filter"] == "none":
            bare = row["resps"][0][0].strip() == row["target"]
            values.setdefault("exact_match, white space ignored", []).append(float(bare))
    return values


COMPARED: Mapping[tuple[str, bool], Sequence[tuple[str, str, bool]]] = {
    ("letter", False): (("acc", "accuracy", True),),
    ("cloze", False): (("acc_norm", "acc_norm", True), ("acc", "acc", True)),
    ("written", False): (
        ("exact_match, flexible-extract", "flexible_extract", True),
        ("exact_match, strict-match", "exact_str_match", False),
    ),
    ("written", True): (
        ("exact_match, white space ignored", "exact_str_match", True),
        ("exact_match", "exact_str_match", False),
    ),
}
"""By form, and whether demonstrations are shown: the harness's metric, ours, and whether they measure the same."""


def _compare(
    suite: str, name: str, form: str, shots: int, theirs: Values, ours: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row for every pair of metrics."""
    row = ours[f"mmlu (cloze)/{name}" if form == "cloze" else f"{suite}/{name}"]
    found = []
    for metric, of_ours, same in COMPARED[form, form == "written" and shots > 0]:
        values = theirs[metric]
        score = row["score"] if of_ours == row["metric"] else row["metrics"][of_ours]
        harness = sum(values) / len(values)
        found.append(
            {"task": f"{suite}/{name}", "form": form, "shots": shots, "n": len(values)}
            | {"their_metric": metric, "our_metric": of_ours, "same": same, "random": row["random"]}
            | {"harness": harness, "ours": score, "points": 100 * (score - harness)}
        )
        assert len(values) == row["n"]
    return found


def _write(given: argparse.Namespace, rows: Sequence[Mapping[str, Any]], seconds: float) -> None:
    told = {"model": Path(given.model).name, "limit": given.limit, "max_new_tokens": given.max_new_tokens}
    told |= {"lm_eval": version("lm_eval"), "transformers": version("transformers"), "seconds": seconds}
    write_json(Path(given.output) / "results.json", {**told, "rows": list(rows)})
    write_text(Path(given.output) / "README.md", _page(told, rows))


def _page(told: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    same = [row for row in rows if row["same"]]
    worst = max((abs(row["points"]) for row in same), default=0.0)
    within = sum(abs(row["points"]) <= BOUND for row in same)
    lines = [
        "# Agreement with lm-evaluation-harness\n",
        f"`{told['model']}`, the first {told['limit']} questions of each file, written answers of at most "
        f"{told['max_new_tokens']} tokens, fp32. lm-evaluation-harness {told['lm_eval']}: its `HFLM` on its own task "
        "definitions (`mmlu`, `mmlu_continuation`, `bbh_zeroshot`, `bbh_fewshot`), over local files; beside it "
        "`prefgym benchmark` on the same files. Prompts are the same bytes.\n",
        f"**{within} of {len(same)} comparable pairs agree within {BOUND} point; the largest difference is {worst:.2f} "
        "points.**\n",
        "| task | form | shots | questions | their metric | ours | harness | prefgym | difference, points |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        apart = f"{row['points']:+.2f}" if row["same"] else f"{row['points']:+.2f} (not the same measure)"
        lines.append(
            f"| {row['task']} | {row['form']} | {row['shots']} | {row['n']} | {row['their_metric']} | "
            f"{row['our_metric']} | {row['harness']:.1%} | {row['ours']:.1%} | {apart} |"
        )
    lines += [
        "\nIn the letter and the cloze form there are four options: a guess scores 25 %. The harness's `exact_match` "
        "counts the space that this kind of tokenizer writes before an answer as a mistake, so it is shown and also "
        "computed from the harness's own answers with that white space ignored; its strict match of zero-shot answers "
        "takes the whole text, ours the first paragraph.\n",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
