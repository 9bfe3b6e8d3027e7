"""Who takes part in a comparison: finished runs in folders, and runs to be trained with paired seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from .config import Config, find_preset, read_yaml
from .errors import InputError, nearest
from .finished_run import check_run
from .options import DATA_OPTIONS, EVALUATION_OPTIONS, agent_options, every_agent_option
from .output import CHECKPOINTS, CONFIG_FILE, METRICS_FILE
from .paths import user_path
from .training_config import CONTROL, resolve_config, run_options

SHARED = (
    "env.id",
    "env.model",
    "env.reference",
    "env.reward",
    "env.template",
    "env.system_prompt",
    "env.instruction",
    "env.max_prompt_tokens",
    "env.max_new_tokens",
    "env.temperature",
    *(option.key for option in DATA_OPTIONS),
    "evaluation.judge",
)
"""What must be the same for runs to be comparable. β may differ: its effect is what a frontier shows."""


@dataclass(frozen=True)
class Contestant:
    """One run.

    name: in tables.
    agent: the recipe that it is a run of.
    seed: its training seed, if known.
    folder: where it is, or will be.
    settings: its resolved options by key; empty for a plain model folder.
    planned: whether this comparison trains it.
    """

    name: str
    agent: str
    seed: int | None
    folder: Path
    settings: Mapping[str, Any]
    planned: bool = False

    @property
    def complete(self) -> bool:
        """Whether a planned run has been trained to its end."""
        return (self.folder / METRICS_FILE).is_file()

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return any((self.folder / CHECKPOINTS).glob("iteration-*"))


def finished_runs(names: Sequence[str]) -> list[Contestant]:
    """The runs in these folders; those whose configs differ only in the seed are runs of one agent.

    Raises:
        InputError: a folder that is not there or is named twice, or two runs of one agent with one seed.
    """
    folders = [user_path(name) for name in names]
    for folder in folders:
        check_run(folder)
        if [path.resolve() for path in folders].count(folder.resolve()) > 1:
            raise InputError(f"The run {folder} is named twice.")
    groups: dict[str, list[Contestant]] = {}
    for folder, name in zip(folders, _short_names(folders), strict=True):
        settings = _saved_settings(folder)
        groups.setdefault(_recipe(settings) or name, []).append(
            Contestant(name, name, settings.get("seed"), folder, settings)
        )
    for runs in groups.values():
        _check_seeds(runs)
    titles = {run.name: _group_name(runs) for runs in groups.values() for run in runs}
    return [replace(run, agent=titles[run.name]) for runs in groups.values() for run in runs]


def planned_runs(
    configs: Sequence[str], flags: Mapping[str, Any], seeds: Sequence[int], home: Path
) -> list[Contestant]:
    """The runs to train: every config with every seed, in ``home/CONFIG/seed-N``.

    Args:
        configs: names of presets or YAML files; a file's name without its ending names the agent.
        flags: options that apply to all of them; an agent's own option applies to the agents that have it.
        seeds: the same for every agent.
        home: the folder of the comparison.

    Raises:
        InputError: two configs of one name, an option that no agent has, or unequal budgets.
    """
    stems = [find_preset(config).stem for config in configs]
    for stem in stems:
        if stems.count(stem) > 1:
            raise InputError(f'Two configs are called "{stem}"; give their files different names.')
    _check_agent_flags(configs, flags)
    runs = []
    for config, stem in zip(configs, stems, strict=True):
        own = {**_own_flags(config, flags), "config": config, "evaluation.prompts": 0}
        for seed in seeds:
            folder = home / stem / f"seed-{seed}"
            settings = resolve_config({**own, "seed": seed, "output": str(folder)})
            name = f"{stem}, seed {seed}" if len(seeds) > 1 else stem
            runs.append(Contestant(name, stem, seed, folder, settings, planned=True))
    _check_budgets(runs)
    return runs


def check_comparable(runs: Sequence[Contestant], given: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` where two runs differ in what must be shared, unless the command line decides it."""
    agents = {run.agent: run.planned for run in runs}
    for run in runs:
        if agents[run.agent] != run.planned:
            raise InputError(f'A run and a config are both called "{run.agent}"; give the YAML file another name.')
    known = [run for run in runs if run.settings]
    for run in known[1:]:
        for key in SHARED:
            mine, first = run.settings.get(key), known[0].settings.get(key)
            if mine != first and key not in given:
                raise InputError(
                    f"{run.folder} cannot be compared with {known[0].folder}: its {key} is {_said(mine)}, not "
                    f"{_said(first)}; give --{key} to judge both with the same value, or compare runs that share it."
                )


def check_unchanged(run: Contestant) -> None:
    """Raise :class:`InputError` where a planned run's folder holds a run with other settings."""
    file = run.folder / CONFIG_FILE
    if not file.is_file():
        return
    saved = read_yaml(file, run_options(every_agent_option()))
    for key, asked in Config(run.settings).without(CONTROL).items():
        if saved.get(key) != asked:
            raise InputError(
                f"{run.folder} holds a run whose {key} is {_said(saved.get(key))}, not {_said(asked)}; give another "
                "--output, or add --overwrite to retrain it."
            )


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as are needed to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _saved_settings(folder: Path) -> dict[str, Any]:
    """Everything in a run's own config, including what only its agent knows; empty for a plain model folder."""
    file = folder / CONFIG_FILE
    saved = read_yaml(file, run_options(every_agent_option())) if file.is_file() else {}
    return saved if "env.id" in saved else {}


def _recipe(settings: Mapping[str, Any]) -> str:
    """What two runs of one agent have in common; empty for a plain model folder."""
    others = {"seed", *(option.key for option in EVALUATION_OPTIONS)}
    told = {key: value for key, value in settings.items() if key not in others}
    return json.dumps(told, sort_keys=True, default=str) if told else ""


def _check_seeds(runs: Sequence[Contestant]) -> None:
    by_seed: dict[int | None, Contestant] = {}
    for run in runs:
        other = by_seed.setdefault(run.seed, run)
        if other is not run:
            raise InputError(
                f"{other.folder} and {run.folder} are the same agent with the same seed; name one of them."
            )


def _group_name(runs: Sequence[Contestant]) -> str:
    """The name of a single run; for several, the common beginning of their names, or else the algorithm's name."""
    if len(runs) == 1:
        return runs[0].name
    letters = takewhile(lambda column: len(set(column)) == 1, zip(*(run.name for run in runs), strict=False))
    common = "".join(column[0] for column in letters)
    return re.sub(r"[-_/. ]*(seed)?[-_/. ]*$", "", common) or str(runs[0].settings.get("agent.name"))


def _own_flags(config: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that the agent of this config has."""
    preset = read_yaml(find_preset(config), run_options(every_agent_option()))
    name = flags.get("agent.name") or preset.get("agent.name") or "ppo"
    known = {option.key for option in agent_options(str(name))}
    return {key: value for key, value in flags.items() if not key.startswith("agent.") or key in known}


def _check_agent_flags(configs: Sequence[str], flags: Mapping[str, Any]) -> None:
    used = {key for config in configs for key in _own_flags(config, flags)}
    for key in flags:
        if key not in used:
            raise InputError(f"--{key} is an option of none of these agents.{nearest(key, used)}")


def _check_budgets(runs: Sequence[Contestant]) -> None:
    """Every agent gets the same number of episodes, in whole iterations."""
    budgets = {}
    for run in runs:
        total, each = (run.settings[f"agent.{name}"] for name in ("total_episodes", "episodes_per_iteration"))
        budgets[run.agent] = -(-total // each) * each
    (first, budget), *others = budgets.items()
    for agent, other in others:
        if other != budget:
            raise InputError(
                f"{first} trains for {budget} episodes and {agent} for {other}; give --agent.total_episodes N to "
                "compare them at equal budgets (whole iterations of --agent.episodes_per_iteration)."
            )


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)
