"""``prefgym compare RUN...``: runs and agents side by side, on the same prompts, decoded alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, preset_names, resolve
from ..contestants import Contestant, check_comparable, check_unchanged, finished_runs, planned_runs
from ..errors import InputError
from ..experiment import (
    evaluate_run,
    make_env,
    score_weights,
    training_seconds,
    write_events,
)
from ..files import write_json
from ..finished_run import ACCEPT_START, check_start, read_history
from ..held_out import load_splits
from ..judging import check_independence, check_judge
from ..options import ACCEPT_SHARED, DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS, EVERY, every_agent_option
from ..output import CONFIG_FILE, METRICS_FILE, PARTS, check_kept, check_output, discard_parts, kept_folder
from ..resuming import told_to_go_on
from ..trust import TRUST, check_trust
from .train import train

if TYPE_CHECKING:
    from ..models.language_model import LanguageModel

CONTROL = [
    Option(
        "config",
        object,
        None,
        "Presets or YAML files of agents to train; all names up to the next option.",
        several=True,
    ),
    Option("seeds", int, None, "Seeds to train each config with (default 3), counted from --seed.", minimum=1),
    Option("output", str, "runs/comparison", "Folder of the comparison; complete runs in it are kept."),
    Option("overwrite", bool, False, "Retrain the runs in the output folder; the old ones move aside."),
    ACCEPT_START,
    TRUST,
]
SEED = Option("seed", int, 0, "First seed of training, and the seed of decoding.", minimum=0)
JUDGED = [SEED, *ENV_OPTIONS, *DATA_OPTIONS, *EVALUATION_OPTIONS]
"""What a run is trained with and judged by."""
FOR_TRAINING = {"seeds", "env.kl_coef", "env.kl_estimator", "env.missing_eos_penalty"}
"""What, beside the options of agents, finished runs are not judged by."""

USAGE = "prefgym compare RUN... [--config NAME_OR_PATH...]"
MARK = "compare.runs"
"""The key that distinguishes the config of a comparison from that of a run."""


def help_text() -> str:
    """The text of ``prefgym compare --help``."""
    return (
        f"usage: {USAGE} [--seeds N] [--output DIR] [options]\n\n"
        "Judge several runs on the same held-out prompts, decoded alike, and plot what each gained against what it\n"
        "cost: the score it was trained on and gold, against KL. Name finished runs, configs to train, or both.\n\n"
        "RUN...    Folders of finished runs, before any option. Runs whose configs differ only in the seed are runs\n"
        "          of one agent. Their environment and data must be the same, unless you give an option that\n"
        "          replaces what differs; the price of KL (env.kl_coef) may differ.\n"
        "--config  Each config is an agent, named after its file, and is trained with the same seeds for the same\n"
        "          number of episodes, in DIR/CONFIG/seed-N. env.*, data.* and agent.* options hold for all; an\n"
        "          option that only some agents have holds for those. To compare one algorithm with two settings,\n"
        "          write two YAML files.\n\n"
        "With several seeds an agent's figures are means over its runs, with 95 % intervals for other seeds and other\n"
        "prompts, and agents are compared seed by seed; with one seed the intervals are over prompts. The same\n"
        "command again continues where it was stopped: what is trained is not trained again.\n\n"
        f"presets: {', '.join(preset_names())}\n\n"
        "  prefgym compare runs/first runs/second\n"
        "  prefgym compare runs/ppo-seed0 runs/ppo-seed1 runs/rloo-seed0 runs/rloo-seed1 --output runs/ppo-or-rloo\n"
        "  prefgym compare --config tldr-ppo tldr-reinforce --seeds 3 --agent.total_episodes 512 --output runs/both\n"
        "  prefgym compare runs/first --config mine.yaml --seeds 1\n"
        f"{describe([*CONTROL, *JUDGED, *every_agent_option()])}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input, RewardError when a reward fails."""
    names: list[str] = []
    flags = parse_flags(arguments, [*CONTROL, *JUDGED, *every_agent_option()], names)
    control = resolve(CONTROL, [(COMMAND_LINE, {o.key: flags[o.key] for o in CONTROL if o.key in flags})])
    runs = _contestants(names, control, flags)
    config = _judged_config(runs, flags)
    folder = Path(control["output"])
    check_kept(folder, "compare", {**config, "RUN": names})
    for run in runs:
        if not run.planned:
            check_trust(run.folder, {**run.settings, "agent.name": None}, flags, control["trust"])
    planned = [run for run in runs if run.planned]
    if not control["overwrite"]:
        for run in planned:
            check_unchanged(run)
    else:
        for run in planned:
            check_output(run.folder, "train", overwrite=True, inputs={**run.settings, "RUN": names})
    from ..evaluation.policies.evaluate import check_names

    check_names(run.name for run in runs)
    splits = load_splits(config)
    judge = check_judge(config, splits["test"])
    env = make_env(config, splits["train"], splits["test"], splits["validation"])
    trained_for = [run.settings.get("env.reward") for run in runs if "env.reward" in flags and not run.planned]
    check_independence(config, judge, env, splits["test"], trained_for)
    if not control["accept_changes"]:
        for run in runs:
            if not run.planned or (run.complete and not control["overwrite"]):
                check_start(run.folder, env, () if run.planned else flags)
    finished = [run for run in runs if not run.planned]  # what cannot be read fails now
    histories = {run.name: read_history(run.folder) for run in finished}
    policies = {run.name: _load(run, env) for run in finished}
    with kept_folder(folder, "compare") as folder, told_to_go_on():
        told = {
            "configs": control["config"] or [],
            "seeds": sorted({run.seed for run in planned if run.seed is not None}),
        }
        shown = Config({MARK: names, **{f"compare.{key}": value for key, value in told.items()}, **config})
        shown.update({key: value for key, value in flags.items() if key.startswith("agent.")})
        shown.save(folder / CONFIG_FILE)
        _train(planned, control)
        policies = {run.name: policies.get(run.name) or _load(run, env) for run in runs}
        histories |= {run.name: read_history(run.folder) for run in planned}
        evaluation = evaluate_run(config, env, policies, splits, parts=folder / PARTS)
        _report(folder, shown, runs, histories, evaluation, score_weights(env.unwrapped.reward))
        discard_parts(folder)


def _contestants(names: Sequence[str], control: Config, flags: Mapping[str, Any]) -> list[Contestant]:
    """Every run of the comparison, finished ones first."""
    configs = control["config"] or []
    if not names and not configs:
        raise InputError(f"Name runs to compare, or configs to train: {USAGE}.")
    if not configs:
        for key in flags:
            if key in FOR_TRAINING or key.startswith("agent."):
                raise InputError(f"--{key} is for training; say what to train with --config.")
    if flags.get("evaluation.prompts") == 0:
        raise InputError("evaluation.prompts is 0, which leaves nothing to compare; give a number of prompts.")
    trained = {
        key: value
        for key, value in flags.items()
        if key.startswith(("env.", "data.", "agent.")) or key == "evaluation.judge"
    }
    first, count = flags.get("seed", 0), control["seeds"] or 3
    runs = finished_runs(names)
    if configs:
        runs += planned_runs(configs, trained, range(first, first + count), Path(control["output"]))
    check_comparable(runs, flags)
    return runs


def _judged_config(runs: Sequence[Contestant], flags: Mapping[str, Any]) -> Config:
    """The settings that all are judged by: those they share, and the command line's."""
    known = {option.key for option in JUDGED} - {"seed", "evaluation.prompts"}
    first: Mapping[str, Any] = next((run.settings for run in runs if run.settings), {})
    judged = {ACCEPT_SHARED} if "evaluation.judge" in flags else set()  # what a run's config accepts is another judge
    shared = {key: value for key, value in first.items() if key in known - judged}
    given = {key: value for key, value in flags.items() if key in known | {"seed", "evaluation.prompts"}}
    config = resolve(JUDGED, [("the runs compared", shared), (COMMAND_LINE, given)])
    validated = [every for run in runs if (every := run.settings.get(EVERY.key)) is not None]
    return Config({**config, **({EVERY.key: validated[0]} if validated else {})})  # says which prompts are held out


def _load(run: Contestant, env: Any) -> LanguageModel:
    """The run's model; InputError where its vocabulary is not the environment's."""
    from ..agents.attach import make_policy

    return make_policy(run.folder, env, value_head=False).language_model


def _train(runs: Sequence[Contestant], control: Config) -> None:
    """Train what is not complete, continuing from a checkpoint where there is one."""
    overwrite, accepted = control["overwrite"], control["accept_changes"]
    left = [run for run in runs if overwrite or not run.complete]
    for number, run in enumerate(left, 1):
        print(f"\ntraining {run.agent} with seed {run.seed}: run {number} of {len(left)} to train", flush=True)
        try:
            how = {"resume": run.begun and not overwrite, "overwrite": True, "accept_changes": accepted}
            train(Config({**run.settings, **how}))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command continues from the last checkpoint.") from None


def _report(
    folder: Path,
    config: Config,
    runs: Sequence[Contestant],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    evaluation: Any,
    weights: Mapping[str, float],
) -> None:
    """Write what the comparison found, and print it."""
    from ..evaluation.policies.comparison import Run, compare_agents
    from ..evaluation.reports.comparison_report import comparison_summary, write_comparison

    trained = []
    for run in runs:
        history = histories[run.name]
        episodes = int(history[-1]["episodes"]) if history else 0
        trained.append(Run(run.name, run.agent, run.seed, episodes, training_seconds(history)))
    metrics = evaluation.metrics
    metrics |= {"episodes": max(run.episodes for run in trained), "seconds": sum(run.seconds for run in trained)}
    metrics |= compare_agents(evaluation, trained, config["seed"])
    metrics["runs"] = {
        run.name: {
            "agent": run.agent,
            "seed": run.seed,
            "episodes": told.episodes,
            "seconds": told.seconds,
            "folder": str(run.folder),
        }
        for run, told in zip(runs, trained, strict=True)
    }
    write_json(folder / METRICS_FILE, metrics)
    write_events(folder, metrics)
    score = max(weights, key=lambda name: abs(weights[name]))
    title = f"{config['env.id']}: {', '.join(metrics['agents'])}"
    page = write_comparison(folder, evaluation, score, title=title, config=config.to_yaml())
    print(f"\n{comparison_summary(metrics)}\n\nreport: {page}")
