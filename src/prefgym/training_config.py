"""The config of a training run: from defaults, preset and flags, or the run's own when one is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .config import COMMAND_LINE, Config, Option, find_preset, parse_flags, read_yaml, resolve
from .experiment import check_hyperparameters
from .held_out import check_validation
from .options import (
    DATA_OPTIONS,
    ENV_OPTIONS,
    EVALUATION_OPTIONS,
    VALIDATION_OPTIONS,
    agent_options,
    every_agent_option,
)
from .resuming import ACCEPT, OVERWRITE, RESUME, config_of_run
from .trust import TRUST

CONTROL = [
    Option("config", str, None, "Preset name or YAML file to start from.", only_typed=True),
    Option("output", str, None, "Folder of the run (default: runs/ and the preset's name)."),
    replace(RESUME, help=f"{RESUME.help[:-1]}; a larger budget there extends it."),
    OVERWRITE,
    ACCEPT,
    TRUST,
    Option("dry_run", bool, False, "Print the resolved config, the data, three prompts and an estimate; keep nothing."),
    Option("profile", bool, False, "Print where an iteration's time goes; the run's profile.txt shows one in detail."),
]
BUDGET = "agent.total_episodes"
SEED = Option("seed", int, 0, "For sampling, shuffling and prompts: same seed, same parameters (on a CPU).", minimum=0)


def read_config(arguments: list[str]) -> Config:
    """Resolve defaults, preset and the words of the command line."""
    return resolve_config(parse_flags(arguments, _every_option()))


def resolve_config(flags: dict[str, Any]) -> Config:
    """Resolve defaults, preset and flags; with ``resume`` the run's own config, from which they must not differ."""
    every = _every_option()
    sources = [(COMMAND_LINE, flags)]
    if flags.get("config") is not None:
        path = find_preset(flags["config"])
        sources.insert(0, (str(path), read_yaml(path, every)))
    if flags.get("resume"):
        config = config_of_run(
            "train",
            sources,
            lambda saved: options_of(_agent_name(saved)),
            every=every,
            control=CONTROL,
            needed="env.id",
            budget=BUDGET,
        )
    else:
        config = resolve(options_of(_agent_name(sources)), sources)
        config["output"] = config["output"] or f"runs/{Path(config['config'] or 'train').stem}"
    check_hyperparameters(config)
    check_validation(config)
    return config


def options_of(agent: str) -> list[Option]:
    """The options of a training run with this agent."""
    return [*CONTROL, *run_options(agent_options(agent))]


def _every_option() -> list[Option]:
    return [*CONTROL, *run_options(every_agent_option())]


def run_options(of_agents: list[Option]) -> list[Option]:
    """Everything that the config of a training run may hold, with these options of agents."""
    return [SEED, *ENV_OPTIONS, *DATA_OPTIONS, *of_agents, *EVALUATION_OPTIONS, *VALIDATION_OPTIONS]


def _agent_name(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return next((str(values["agent.name"]) for _, values in reversed(sources) if values.get("agent.name")), "ppo")
