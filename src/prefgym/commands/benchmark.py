"""``prefgym benchmark MODEL...``: multitask benchmarks next to a random guess; for several models also the gains."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, resolve
from ..data.plain_text import shortened, visible
from ..errors import InputError
from ..experiment import check_device
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, PARTS, check_output, discard_parts, new_folder
from ..resuming import told_to_go_on

if TYPE_CHECKING:
    from ..data.benchmarks import Suite
    from ..evaluation.benchmarks.scores import Result

CONTROL = [
    Option("output", str, "runs/benchmark", "Folder of the report."),
    Option("overwrite", bool, False, "Start over where --output holds a report; it moves to --output.previous-1."),
]
SUITES = [
    Option("mmlu", str, None, "Folder with test/SUBJECT_test.csv and dev/SUBJECT_dev.csv, or a hub id (cais/mmlu)."),
    Option("bigbench", str, None, "Folder with task.json files of BIG-bench, in folders named after their tasks."),
    Option("bbh", str, None, "Folder with the JSON files of BIG-Bench-Hard."),
    Option("natural_instructions", str, None, "Folder with task files of Super-NaturalInstructions."),
]
OPTIONS = [
    *CONTROL,
    *SUITES,
    Option(
        "formulation",
        str,
        "multiple-choice",
        "How tasks that list options are asked: so; cloze, by the likelihood of each option's text; or both.",
        choices=("multiple-choice", "cloze", "both"),
    ),
    Option("limit", int, None, "Ask only the first N questions of each task (default: all).", minimum=1),
    Option("shots", int, 0, "Solved questions to show before each; papers show 5 for MMLU, 3 for BBH.", minimum=0),
    Option("apply_chat_template", bool, False, "Ask in conversations, through each model's chat template."),
    Option("max_new_tokens", int, 128, "Budget of a written answer, in tokens.", minimum=1),
    Option("batch_size", int, 16, "Texts per batch.", minimum=1),
    Option("seed", int, 0, "Seed for choosing which other questions are shown solved.", minimum=0),
    Option("device", str, "cpu", "Where to run: cpu, cuda, cuda:1, ..."),
]
FLAGS = [f"--{option.key.replace('_', '-')}" for option in SUITES]
USAGE = "prefgym benchmark MODEL... --mmlu DIR"


def help_text() -> str:
    """The text of ``prefgym benchmark --help``."""
    return (
        f"usage: prefgym benchmark MODEL... {' '.join(f'[{flag} DIR]' for flag in FLAGS)}\n\n"
        "Score models on multitask benchmarks, from the files their authors distribute. Every score stands next to\n"
        "that of a random guess among the options, with its interval, and normalised, so that tasks can be\n"
        "averaged. With several models, the gains over the first are paired by question. The harness that runs the\n"
        'tasks is lm-evaluation-harness: pip install "prefgym[eval]".\n\n'
        "MODEL...  Run folders, model folders, hub ids, embedded/pretrained, embedded/start; before any option.\n\n"
        "A model of some hundred million parameters does not know what a letter stands for. --formulation both also\n"
        "asks without listing the options, by the likelihood of each option's text per character; these tasks are\n"
        'named "mmlu (cloze)/...".\n\n'
        "  prefgym benchmark embedded/start --mmlu data/mmlu --limit 50\n"
        "  prefgym benchmark embedded/pretrained runs/sft --bbh BIG-Bench-Hard --bigbench bigbench/benchmark_tasks\n"
        "  prefgym benchmark runs/sft --natural-instructions natural-instructions/tasks --shots 2\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    names: list[str] = []
    config = resolve(OPTIONS, [(COMMAND_LINE, parse_flags(arguments, OPTIONS, names))])
    folder = Path(config["output"])
    _check(names, config)
    check_output(folder, "benchmark", overwrite=config["overwrite"], inputs={**config, "MODEL": names})
    suite = _read(config)
    check_device(config["device"])
    facts = {name: _facts(name, suite, config) for name in names}
    with new_folder(folder, "benchmark", overwrite=config["overwrite"]) as folder, told_to_go_on():
        shown = Config({"models": names, **config.without(CONTROL)})
        shown.save(folder / CONFIG_FILE)
        begun = time.perf_counter()
        results = {name: _ask(name, suite, config, folder / PARTS) for name in names}
        _report(folder, shown, suite, results, facts, time.perf_counter() - begun)
        discard_parts(folder)


def _check(names: Sequence[str], config: Config) -> None:
    if not names:
        raise InputError(f"Name at least one model: {USAGE}.")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"The model {name} is named twice.")
    if not any(config[option.key] for option in SUITES):
        raise InputError(f"Name at least one benchmark: {USAGE}, or {', '.join(FLAGS[1:])}.")
    if find_spec("lm_eval") is None:
        raise InputError('prefgym benchmark needs the package lm-eval: pip install "prefgym[eval]".')


def _read(config: Config) -> Suite:
    """All tasks of the folders named."""
    from ..data.benchmarks import READERS, read_suites

    sources = {name: config[name.replace("-", "_")] for name in READERS}
    return read_suites(sources, config["limit"], config["formulation"])


def _facts(name: str, suite: Suite, config: Config) -> dict[str, Any]:
    """What the report says of a model, which is loaded for it: an unusable one must be named before hours of work."""
    from ..data.chat_template import has_chat_template
    from ..evaluation.benchmarks.harness_model import keeps_white_space
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(name, device=config["device"])
    context, budget = model.context_length, config["max_new_tokens"]
    if any(not task.examples[0].options for task in suite.tasks) and context <= budget:
        raise InputError(f"{name} reads {context} tokens, which leaves no room; lower --max-new-tokens {budget}.")
    if config["apply_chat_template"] and not has_chat_template(model.tokenizer):
        raise InputError(f"{name} has no chat template; leave apply_chat_template out, or the model.")
    return {
        "name": name,
        "parameters": model.num_parameters,
        "vocabulary": model.vocab_size,
        "context": context,
        "keeps_white_space": keeps_white_space(model),
    }


def _ask(name: str, suite: Suite, config: Config, parts: Path) -> dict[str, Result]:
    """A model's results on every task; each finished task is kept in ``parts``, to continue from."""
    from tqdm.auto import tqdm

    from ..evaluation.benchmarks.harness import count_requests, run_tasks
    from ..evaluation.benchmarks.harness_model import HarnessModel
    from ..evaluation.policies.fingerprint import fingerprint
    from ..evaluation.policies.parts import Parts
    from ..models.language_model import LanguageModel

    model = LanguageModel.load(name, device=config["device"])
    options = {key: config[key] for key in ("limit", "shots", "seed", "max_new_tokens", "apply_chat_template")}
    memo = Parts(parts, fingerprint(model, options, config["batch_size"], suite.tasks, version("lm_eval")))
    total = count_requests(suite.tasks, config["limit"])
    with tqdm(total=total, unit="request", desc=name, dynamic_ncols=True) as bar:
        asked = HarnessModel(model, config["batch_size"], bar.update)
        found: dict[str, Result] = {}
        done = 0
        for task in suite.tasks:
            ask = partial(run_tasks, asked, [task], **options)
            found |= memo.remember(f"{name}: {task.name}", ask)
            done += count_requests([task], config["limit"])
            bar.update(done - bar.n)  # those that were answered before
    return found


def _report(
    folder: Path,
    config: Config,
    suite: Suite,
    results: Mapping[str, Mapping[str, Result]],
    facts: Mapping[str, dict[str, Any]],
    seconds: float,
) -> None:
    """Write what was found, and print it."""
    from ..evaluation.benchmarks.report import benchmark_summary, write_benchmark
    from ..evaluation.benchmarks.scores import benchmark_metrics, by_model

    told = {key: config[key] for key in ("seed", "shots", "limit", "formulation", "apply_chat_template")}
    metrics = {**told, "seconds": seconds, **benchmark_metrics(results, facts), "unscored": dict(suite.unscored)}
    write_json(folder / METRICS_FILE, metrics)
    _write_events(folder, by_model(metrics))
    page = write_benchmark(folder, metrics, _texts(config, suite, results), title="Benchmarks", config=config.to_yaml())
    print(f"\n{benchmark_summary(metrics)}\n\nreport: {page}")


def _texts(config: Config, suite: Suite, results: Mapping[str, Mapping[str, Result]]) -> list[dict[str, Any]]:
    """Every question with the answers to it."""
    return [
        {
            "task": task.name,
            "prompt": task.context(index, config["shots"], config["seed"]),
            "right": [option for option, worth in zip(one.options, one.worth, strict=True) if worth == max(one.worth)]
            or list(one.answers),
            "said": {name: tasks[task.name].said[index] for name, tasks in results.items()},
            "scores": {name: float(tasks[task.name].scores[index]) for name, tasks in results.items()},
        }
        for task in suite.tasks
        for index, one in enumerate(task.examples[: config["limit"]])
    ]


def _write_events(folder: Path, models: Mapping[str, Any]) -> None:
    """The figures of every task as TensorBoard scalars ``benchmark/FIGURE/TASK``, one run per model."""
    from ..storage.events import open_events

    for name, figures in zip(folder_names(list(models)), models.values(), strict=True):
        with open_events(folder / "tensorboard" / name) as writer:
            rows = {**figures["tasks"], **figures["suites"], "average": figures["average"]}
            for task, row in rows.items():
                for figure in ("score", "random", "normalised"):
                    writer.add_scalar(visible(f"benchmark/{figure}/{task}"), row[figure])


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder for each name, all different, whatever is in the names: paths, dots, more than a disk takes.

    >>> folder_names(["embedded/start", "embedded-start", "../..", "/"])
    ['embedded-start', 'embedded-start-2', 'model', 'model-2']
    """
    found: list[str] = []
    for name in names:
        word = shortened(re.sub(r"[^a-zA-Z0-9_.]+", "-", name).strip("-.") or "model", 80).replace("…", "-")
        number, taken = 2, {one.lower() for one in found}
        candidate = word
        while candidate.lower() in taken:
            candidate, number = f"{word}-{number}", number + 1
        found.append(candidate)
    return found
