"""``prefgym label FILE``: say which of two responses is better, or let a model decide: comparisons for a reward."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, resolve
from ..errors import InputError
from ..experiment import check_device, read_template, response_shape, template_of
from ..finished_run import check_run, settings_of_run
from ..labelling import Labelling, annotate, closing, label
from ..output import CONFIG_FILE
from .play import read_line

if TYPE_CHECKING:
    from ..data.label_file import LabelFile
    from ..data.text_pairs import TextPair
    from ..evaluation.policies.responses import DecodeSettings
    from ..models.language_model import LanguageModel
    from ..rewards.ai_feedback import ModelAnnotator

OPTIONS = [
    Option(
        "output",
        str,
        None,
        "JSON Lines file of judgements; pairs in it are not asked again (default: runs/labels and the name of FILE).",
    ),
    Option("run", str, None, "Model folder or run that writes two responses to each prompt in FILE."),
    Option(
        "annotator",
        str,
        None,
        "Model that judges in your place: a language model, by the likelihood of its "
        "verdicts, or a preference model (embedded is one); a folder or hub id.",
    ),
    Option("name", str, None, "Who judges, as noted in the file (default: human, or the annotator)."),
    Option("limit", int, None, "At most this many pairs from FILE.", minimum=1),
    Option("seed", int, 0, "Which of the two is shown first, and the responses of --run.", minimum=0),
    Option("tie", float, 0.0, "A model's probability this close to 0.5 is a tie.", minimum=0),
    Option(
        "question",
        str,
        None,
        "What a language model is asked, with {prompt}, {first} and {second}; its verdict, 1 or 2, follows.",
    ),
    Option("device", str, "cpu", "Where models run: cpu, cuda, cuda:1, ..."),
    Option("data.prompt_column", str, "prompt", "Column with the prompt."),
    Option("data.first_column", str, "first", "Column with one response."),
    Option("data.second_column", str, "second", "Column with the other."),
    Option(
        "data.template",
        str,
        None,
        "Text around a prompt for --run (default: the run's own) and for a preference model that judges (default "
        "{prompt}\\n\\nTL;DR:).",
    ),
]
RUN_OPTIONS = [
    Option("env.id", str, "Summarize-v0", "As in prefgym train."),
    Option("env.template", str, None, "As in prefgym train."),
    Option("env.system_prompt", str, None, "As in prefgym train."),
    Option("env.instruction", str, None, "As in prefgym train."),
    Option("env.max_prompt_tokens", int, 192, "As in prefgym train.", minimum=1),
    Option("env.max_new_tokens", int, 48, "As in prefgym train.", minimum=1),
    Option("env.temperature", float, 1.0, "As in prefgym train.", above=0),
    Option("env.stop_strings", object, None, "As in prefgym train."),
    Option("env.keep_special_tokens", object, None, "As in prefgym train."),
]
"""What is taken from the run: its own settings, which are not options here."""
WRITTEN_AT_ONCE = 32
"""Prompts whose responses are written together, so that the first pair can be shown soon."""


def help_text() -> str:
    """The text of ``prefgym label --help``."""
    return (
        "usage: prefgym label FILE [options]\n\n"
        "Read two responses to a prompt and say which is better: 1, 2, t for a tie, s to skip, u to undo, q to quit.\n"
        "Which one is shown first is random; the file keeps the order of its source. Answers are saved immediately,\n"
        "and the same command continues from there. FILE (JSONL, JSON, CSV, Parquet or hub id) has a prompt and\n"
        "two responses in each row; with --run it has only prompts, and the run writes two responses to each. With\n"
        "--annotator a model judges instead. Lines may come through a pipe.\n\n"
        "  prefgym label pairs.jsonl --output comparisons.jsonl\n"
        "  prefgym label posts.jsonl --run runs/mine --output comparisons.jsonl\n"
        "  prefgym label pairs.csv --data.first_column summary_1 --data.second_column summary_2\n"
        "  prefgym label pairs.jsonl --annotator Qwen/Qwen2.5-0.5B-Instruct --tie 0.05 --output ai.jsonl\n"
        "  prefgym reward --data.comparisons comparisons.jsonl\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input, KeyboardInterrupt with a sentence when the person presses Ctrl-C."""
    positional: list[str] = []
    config = resolve(OPTIONS, [(COMMAND_LINE, parse_flags(arguments, OPTIONS, positional))])
    if len(positional) != 1:
        raise InputError("Name one file with the pairs to judge: prefgym label FILE.")
    if config["tie"] >= 0.5:
        raise InputError(f"--tie is {config['tie']:g}, but must be below 0.5, or every pair is a tie.")
    if config["annotator"] is None and (sys.stdin is None or sys.stdin.closed):
        raise InputError("prefgym label reads your answers from standard input, which is closed; or give --annotator.")
    from ..data.label_file import LabelFile

    source = positional[0]
    target = Path(config["output"] or Path("runs") / "labels" / f"{Path(source).stem}.jsonl")
    if target.is_dir() or (target.exists() and Path(source).exists() and target.samefile(source)):
        raise InputError(f"--output {target} is a folder or the file that is read; give another file.")
    with LabelFile(target) as file:
        annotator = _annotator(config)
        session = _session(config, source, file, config["name"] or config["annotator"] or "human")
        if annotator is None:
            label(session, read_line, print)
        else:
            _let_judge(session, annotator, config["tie"])
        print(f"\n{closing(session)}")
        if len(file):
            print(f"train on them: prefgym reward --data.comparisons {file.path}")


def _annotator(config: Config) -> ModelAnnotator | None:
    if config["annotator"] is None:
        return None
    from ..rewards.ai_feedback import QUESTION, load_annotator

    check_device(config["device"])
    question = config["question"].replace("\\n", "\n") if config["question"] else QUESTION
    template = read_template(config["data.template"]) if config["data.template"] else None
    return load_annotator(config["annotator"], device=config["device"], question=question, template=template)


def _session(config: Config, source: str, file: LabelFile, name: str) -> Labelling:
    """The pairs of the file, or those that the run writes to its prompts."""
    if config["run"] is None:
        from ..data.text_pairs import load_text_pairs

        columns = {column: config[f"data.{column}"] for column in ("prompt_column", "first_column", "second_column")}
        pairs = load_text_pairs(source, **columns)[: config["limit"]]
        before = sum(file.holds(pair, name) for pair in pairs)
        return Labelling(pairs, file, name, total=len(pairs), before=before, seed=config["seed"])
    from ..data.prompts import load_prompts

    rows = {row["prompt"]: row for row in load_prompts(source, config["data.prompt_column"])}
    prompts = list(rows)
    asked, judged = prompts[: config["limit"]], file.prompts(name)
    wanted = set(asked) - judged
    written = _write_pairs(*_writer(config), rows, wanted, config["seed"])
    before = len(asked) - len(wanted)
    return Labelling(written, file, name, total=len(asked), before=before, seed=config["seed"])


def _writer(config: Config) -> tuple[LanguageModel, DecodeSettings]:
    """The run's model, and its decoding: as in training."""
    from ..evaluation.policies.responses import DecodeSettings
    from ..models.language_model import LanguageModel

    folder = Path(config["run"])
    check_run(folder)
    check_device(config["device"])
    config_of_run = resolve(RUN_OPTIONS, [(str(folder / CONFIG_FILE), settings_of_run(folder, RUN_OPTIONS))])
    config_of_run["env.template"] = config["data.template"] or config_of_run["env.template"]
    model = LanguageModel.load(config["run"], device=config["device"])
    own = {**config_of_run.section("env"), **response_shape(config_of_run)}
    for name in ("id", "system_prompt", "instruction"):
        own.pop(name)
    return model, DecodeSettings(**{**own, "template": template_of(config_of_run, model)})


def _write_pairs(
    model: LanguageModel, settings: DecodeSettings, rows: Mapping[str, Mapping[str, Any]], wanted: set[str], seed: int
) -> Iterator[TextPair]:
    """Two sampled responses to each prompt that is wanted, generated for more prompts each time; rows by their prompts.

    Which prompts are written together follows from the file alone, so that a stopped session shows the same texts
    again. Two equal responses make no pair.
    """
    from ..data.text_pairs import TextPair
    from ..evaluation.policies.decode import SEEDS_APART, growing_groups, write_samples

    prompts = list(rows)
    for part in growing_groups(len(prompts), WRITTEN_AT_ONCE):
        group = prompts[part]
        if wanted.isdisjoint(group):
            continue
        apart = seed * SEEDS_APART + part.start
        written = write_samples(model, [rows[prompt] for prompt in group], 2, settings, seed=apart)
        texts = [text.strip() for text in written.texts]
        for prompt, first, second in zip(group, texts[::2], texts[1::2], strict=True):
            if prompt in wanted and first != second:
                yield TextPair(prompt, first, second)


def _let_judge(session: Labelling, annotator: ModelAnnotator, tie: float) -> None:
    from tqdm import tqdm

    with tqdm(total=session.total, initial=session.before, unit="pair", desc="judging") as bar:
        for count in annotate(session, annotator, tie):
            bar.update(count)
