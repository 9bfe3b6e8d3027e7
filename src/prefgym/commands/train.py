"""``prefgym train``: train an agent in an environment, evaluate it on held-out prompts, write the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..config import Config, Option, describe, find_preset, parse_flags, preset_names, read_yaml, resolve
from ..errors import InputError
from ..experiment import (
    DATA_OPTIONS,
    ENV_OPTIONS,
    EVALUATION_OPTIONS,
    agent_class,
    agent_options,
    evaluate_run,
    load_splits,
    make_agent,
    make_env,
)
from ..output import CHECKPOINT_FOLDER, CONFIG_FILE, check_output, new_folder, write_metrics

CONTROL = [
    Option("config", str, None, "Preset name or YAML file to start from."),
    Option("output", str, None, "Folder of the run (default: runs/ and the preset's name)."),
    Option("resume", bool, False, "Go on from the last checkpoint in --output; its own config is used."),
    Option("overwrite", bool, False, "Replace the run that stands in the output folder."),
    Option("dry_run", bool, False, "Print the resolved config, data, three prompts and an estimate; train nothing."),
]
SEED = Option("seed", int, 0, "Seed of sampling, shuffling and prompts: same seed, same parameters (on a CPU).", minimum=0)


def help_text() -> str:
    """Return the text of ``prefgym train --help``."""
    return (
        "usage: prefgym train --config NAME_OR_PATH [--output DIR] [options]\n\n"
        "Train an agent (PPO, REINFORCE) on a language model in a Gymnasium environment whose reward is a learned\n"
        "preference minus a KL term; then judge it on held-out prompts and write report.html.\n\n"
        f"presets: {', '.join(preset_names())}\n\n"
        "  prefgym train --config tldr-ppo --output runs/mine\n"
        "  prefgym train --config tldr-ppo --env.kl_coef 0 --agent.total_episodes 8192 --output runs/hack\n"
        "  prefgym train --config tldr-reinforce --data.prompts posts.jsonl --env.reward my_rewards.py:rouge\n"
        "  prefgym train --resume --output runs/mine\n"
        "  tensorboard --logdir runs\n"
        f"{describe(_options('ppo'))}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input, RewardError when a reward fails."""
    config = read_config(arguments)
    folder = Path(config["output"])
    if config["resume"]:
        _resume(config, folder)
        return
    if not config["dry_run"]:
        check_output(folder, overwrite=config["overwrite"])
    splits = load_splits(config)
    env = make_env(config, splits["train"])
    agent = make_agent(config, env)
    if config["dry_run"]:
        from ..dry_run import print_dry_run

        print_dry_run(_saved(config), agent, splits)
        return
    with new_folder(folder, overwrite=config["overwrite"]):
        _saved(config).save(folder / CONFIG_FILE)
        _learn(config, folder, agent, splits)


def read_config(arguments: list[str]) -> Config:
    """Resolve defaults, preset and flags; with ``--resume`` the run's own config instead of a preset."""
    flags = _flags(arguments)
    if flags.get("resume"):
        return _config_of_run(flags)
    sources: list[tuple[str, dict[str, Any]]] = []
    if flags.get("config") is not None:
        path = find_preset(flags["config"])
        sources.append((str(path), read_yaml(path)))
    sources.append(("command line", flags))
    config = resolve(_options(_agent_name(sources)), sources)
    if config["output"] is None:
        config["output"] = f"runs/{Path(config['config'] or 'train').stem}"
    return config


def _options(agent: str) -> list[Option]:
    return [*CONTROL, SEED, *ENV_OPTIONS, *DATA_OPTIONS, *agent_options(agent_class(agent)), *EVALUATION_OPTIONS]


def _flags(arguments: list[str]) -> dict[str, Any]:
    """Read the flags against the options of the agent that they or their preset name."""
    names = ["ppo"]
    for flag, reader in (("--config", lambda value: read_yaml(find_preset(value)).get("agent.name")), ("--agent.name", str)):
        for place, word in enumerate(arguments):
            value = arguments[place + 1] if word == flag and place + 1 < len(arguments) else word.partition(flag + "=")[2]
            if value and (named := reader(value)):
                names.append(named)
    return parse_flags(arguments, _options(names[-1]))


def _agent_name(sources: list[tuple[str, dict[str, Any]]]) -> str:
    return next((str(values["agent.name"]) for _, values in reversed(sources) if values.get("agent.name")), "ppo")


def _config_of_run(flags: dict[str, Any]) -> Config:
    folder = Path(flags.get("output") or "")
    if flags.get("output") is None:
        raise InputError("--resume needs --output DIR, the folder of the run to go on with.")
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"--resume: {folder} holds no run (no {CONFIG_FILE}); start one without --resume.")
    other = sorted(set(flags) - {"resume", "output"})
    if other:
        raise InputError(f"--resume uses the config in {folder}; leave out --{other[0]}.")
    saved = read_yaml(folder / CONFIG_FILE)
    sources = [(str(folder / CONFIG_FILE), saved), ("command line", flags)]
    return resolve(_options(_agent_name(sources)), sources)


def _saved(config: Config) -> Config:
    """What ``config.yaml`` keeps: everything but how this one call was controlled."""
    control = {option.key for option in CONTROL}
    return Config({key: value for key, value in config.items() if key not in control})


def _resume(config: Config, folder: Path) -> None:
    if not any((folder / CHECKPOINT_FOLDER).glob("*")):
        raise InputError(f"--resume: {folder} has no checkpoint; start it again with --overwrite.")
    splits = load_splits(config)
    env = make_env(config, splits["train"])
    _learn(config, folder, make_agent(config, env, folder, resume=True), splits)


def _learn(config: Config, folder: Path, agent: Any, splits: dict[str, Any]) -> None:
    from ..evaluation.report import write_report  # noqa: F401  (an import error must not wait until training is over)

    before = sum(row.get("time/rollout_seconds", 0) + row.get("time/update_seconds", 0) for row in agent.history)
    began = time.perf_counter()
    agent.learn(
        config["agent.total_episodes"], progress_bar=True, output=folder, save_every=config["agent.save_every"]
    )
    seconds = before + time.perf_counter() - began
    agent.save(folder)
    if config["evaluation.prompts"]:
        _report(config, folder, agent, splits, seconds)


def _report(config: Config, folder: Path, agent: Any, splits: dict[str, Any], seconds: float) -> None:
    from ..evaluation.report import sample_block, summary_table, write_report

    evaluation = evaluate_run(
        config,
        agent.env,
        {"trained": agent.policy.language_model},
        splits,
        episodes=agent.num_episodes,
        seconds=seconds,
    )
    write_metrics(folder, evaluation.metrics)
    write_report(folder, evaluation, agent.history)
    print(summary_table(evaluation.metrics))
    print(sample_block(evaluation))
    print(f"\nreport: {folder / 'report.html'}    curves: tensorboard --logdir {folder}")
