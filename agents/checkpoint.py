"""Checkpoints: everything that the next iteration depends on, in folders that are whole or absent.

    run/checkpoints/iteration-000040/
        (the files of a run folder)   the policy as it was
        state.safetensors             optimiser moments, generator state
        state.json                    counters, shuffling, prompt order, baseline, history

A checkpoint is written under another name and renamed when it is complete, so a run killed at any moment leaves whole
checkpoints only.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..files import write_text
from .run_folder import DAMAGE, load_run, save_run, save_tensors

if TYPE_CHECKING:
    from .base import PolicyGradient

A = TypeVar("A", bound="PolicyGradient")

KEEP = 2  # checkpoints
STATE, TENSORS = "state.json", "state.safetensors"


def save_checkpoint(folder: str | Path, agent: PolicyGradient) -> Path:
    """Write ``checkpoints/iteration-NNNNNN`` under the run folder and drop all but the last ``KEEP``; its path."""
    home = Path(folder) / "checkpoints"
    home.mkdir(parents=True, exist_ok=True)
    for leftover in home.glob(".writing-*"):  # of a run that was killed while writing
        shutil.rmtree(leftover)
    target = home / f"iteration-{agent.iteration:06d}"
    writing = home / f".writing-{target.name}"
    save_run(writing, agent)
    tensors, state = _training_state(agent)
    save_tensors(writing / TENSORS, tensors)
    write_text(writing / STATE, json.dumps(state) + "\n")
    if target.exists():
        shutil.rmtree(target)
    os.replace(writing, target)
    for old in _checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: str | Path) -> Path:
    """The last complete checkpoint of a run folder; ``InputError`` if there is none."""
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        raise InputError(f'"{folder}" has no checkpoint to resume from; start the run without resume.')
    return checkpoints[-1]


def resume_run(cls: type[A], folder: str | Path, env: Any, tensorboard_log: str | Path | None) -> A:
    """Rebuild an agent from the last checkpoint; see ``PolicyGradient.resume``."""
    path = latest_checkpoint(folder)
    try:
        agent = load_run(cls, path, env, {"tensorboard_log": tensorboard_log})
        tensors = load_file(path / TENSORS)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        _restore(agent, tensors, state)
    except InputError as error:
        raise InputError(f'The checkpoint "{path}" cannot be resumed: {error}') from error
    except DAMAGE as error:
        raise InputError(
            f'The checkpoint "{path}" is damaged ({type(error).__name__}); delete it to resume from the one before.'
        ) from error
    return agent


def _training_state(agent: PolicyGradient) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything beyond the weights that the next iteration depends on: tensors, and JSON."""
    optimizer = agent.optimizer.state_dict()
    tensors = {
        f"optimizer.{index}.{name}": value
        for index, values in optimizer["state"].items()
        for name, value in values.items()
    }
    tensors["generator"] = agent.generator.get_state()
    base = agent.env.unwrapped
    return tensors, {
        "iteration": agent.iteration,
        "num_episodes": agent.num_episodes,
        "learn_start": agent.learn_start,
        "rng": agent.rng.bit_generator.state,
        "sampler": base.sampler_state() if hasattr(base, "sampler_state") else None,
        "agent": agent.extra_state(),
        "kl": agent.kl.state(),
        "optimizer": optimizer["param_groups"],
        "history": agent.history,
    }


def _restore(agent: PolicyGradient, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    agent.generator.set_state(tensors.pop("generator"))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value
    agent.optimizer.load_state_dict({"state": moments, "param_groups": state["optimizer"]})
    agent.iteration, agent.num_episodes = state["iteration"], state["num_episodes"]
    agent.learn_start = state["learn_start"]
    agent.history = state["history"]
    agent.rng.bit_generator.state = state["rng"]
    if state["sampler"] is not None:
        agent.env.unwrapped.set_sampler_state(state["sampler"])
    agent.load_extra_state(state["agent"])
    agent.kl.load_state(state["kl"])


def _checkpoints(folder: str | Path) -> list[Path]:
    return sorted((Path(folder) / "checkpoints").glob("iteration-*"))
