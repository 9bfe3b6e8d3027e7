"""Checkpoints: everything that the next iteration depends on, in folders that are complete or absent.

    run/checkpoints/iteration-000040/
        (the files of a run folder)   the policy as it was
        state.safetensors             tensors of the optimiser, generator state
        state.json                    rest of the optimiser, counters, shuffling, prompt order, baseline, history
    run/checkpoints/best-000020.safetensors   the trained weights of the best validation so far (best_weights.py)

A checkpoint is written under another name, with the checksum of every file, and renamed when complete: a run killed at
any moment leaves only complete checkpoints, and bytes that change later are noticed.
"""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..files import write_text
from ..storage.manifest import FILES, managed
from ..storage.whole import discard, is_whole, whole_folder
from .inputs import check_inputs
from .optimizer_state import packed, put_back
from .run_folder import DAMAGE, load_run, save_run, save_tensors
from .validated import best

if TYPE_CHECKING:
    from .base import PolicyGradient

A = TypeVar("A", bound="PolicyGradient")

KEEP = 2  # checkpoints
STATE, TENSORS = "state.json", "state.safetensors"


def save_checkpoint(folder: str | Path, agent: PolicyGradient) -> Path:
    """Write ``checkpoints/iteration-NNNNNN`` under the run folder and drop all but the last ``KEEP``; gives its path.

    A checkpoint with somebody else's file in it is kept.
    """
    target = Path(folder) / "checkpoints" / f"iteration-{agent.iteration:06d}"
    with managed(folder), whole_folder(target, numbered=True) as writing:
        save_run(writing, agent)
        tensors, state = training_state(agent)
        save_tensors(writing / TENSORS, tensors)
        write_text(writing / STATE, json.dumps(state) + "\n")
    drop_old(folder)
    drop_best(folder)
    return _checkpoints(folder)[-1]


def drop_old(folder: str | Path) -> None:
    """Remove all checkpoints but the last ``KEEP``, for a run that was killed before it could do so."""
    for old in _checkpoints(folder)[:-KEEP]:
        discard(old)


def best_file(folder: str | Path, iteration: int) -> Path:
    """Where the weights of a best validation are."""
    return Path(folder) / "checkpoints" / f"best-{iteration:06d}.safetensors"


def drop_best(folder: str | Path, *wanted: int) -> None:
    """Remove best weights but those of the ``wanted`` iterations and of what a checkpoint calls the best."""
    files = set((Path(folder) / "checkpoints").glob("best-*.safetensors"))
    if not files:
        return
    needed = {best_file(folder, iteration) for iteration in wanted}
    for path in _checkpoints(folder):
        with suppress(*DAMAGE):  # a damaged one is not resumed from
            row = best(json.loads((path / STATE).read_text(encoding="utf-8"))["history"])
            needed |= set() if row is None else {best_file(folder, int(row["iteration"]))}
    with managed(folder) as manifest:
        for file in files - needed:
            if manifest.holds(manifest.folder / file.relative_to(folder)):
                file.unlink()


def latest_checkpoint(folder: str | Path) -> Path:
    """The last complete checkpoint of a run folder; a damaged one is reported and skipped.

    Raises:
        InputError: there is none.
    """
    checkpoints = _checkpoints(folder)
    listed = (Path(folder) / FILES).is_file()  # version 0.1 wrote no lists
    for path in reversed(checkpoints):
        if is_whole(path, listed):
            return path
        if path != checkpoints[0]:
            warnings.warn(f'The checkpoint "{path}" is damaged; the one before it is used.', stacklevel=2)
    if checkpoints:
        raise InputError(f'The checkpoint "{checkpoints[-1]}" is damaged, and there is no intact one before it.')
    raise InputError(f'"{folder}" has no checkpoint to resume from; start the run without resume.')


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a run folder has any checkpoint."""
    return bool(_checkpoints(folder))


def resume_run(
    cls: type[A],
    folder: str | Path,
    env: Any,
    tensorboard_log: str | Path | None,
    accept_changes: bool = False,
) -> A:
    """Rebuild an agent from the last checkpoint; see ``PolicyGradient.resume``."""
    path = latest_checkpoint(folder)
    try:
        agent = load_run(cls, path, env, {"tensorboard_log": tensorboard_log}, accept_changes)
        tensors = load_file(path / TENSORS)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        if accept_changes and _of_other_number(state["sampler"], env):
            state["sampler"] = None  # the order of prompts starts over
        else:
            check_inputs({} if accept_changes else state.get("inputs"), agent.inputs, path)
        restore(agent, tensors, state)
    except InputError as error:
        raise InputError(f'The checkpoint "{path}" cannot be resumed: {error}') from error
    except DAMAGE as error:
        raise InputError(f'The checkpoint "{path}" is damaged ({type(error).__name__}); restore it.') from error
    return agent


def training_state(agent: PolicyGradient) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything beyond the weights that the next iteration depends on: tensors, and JSON."""
    tensors, optimizer = packed(agent.optimizer)
    tensors["generator"] = agent.generator.get_state()
    base = agent.env.unwrapped
    return tensors, {
        "iteration": agent.iteration,
        "num_episodes": agent.num_episodes,
        "learn_start": agent.learn_start,
        "rng": agent.rng.bit_generator.state,
        "sampler": base.sampler_state() if hasattr(base, "sampler_state") else None,
        "cut": sorted(base.mdp.source.cut, key=str) if hasattr(base, "mdp") else [],
        "agent": agent.extra_state(),
        "kl": agent.kl.state(),
        "optimizer": optimizer,
        "history": agent.history,
        "inputs": agent.inputs,
    }


def restore(agent: PolicyGradient, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Restore the state given by ``training_state``; weights are loaded elsewhere."""
    agent.generator.set_state(tensors.pop("generator"))
    put_back(agent.optimizer, tensors, state["optimizer"])
    agent.iteration, agent.num_episodes = state["iteration"], state["num_episodes"]
    agent.learn_start = state["learn_start"]
    agent.history = state["history"]
    agent.rng.bit_generator.state = state["rng"]
    if state["sampler"] is not None:
        agent.env.unwrapped.set_sampler_state(state["sampler"])
    if hasattr(agent.env.unwrapped, "mdp"):
        agent.env.unwrapped.mdp.source.cut = set(state.get("cut", ()))
    agent.load_extra_state(state["agent"])
    agent.kl.load_state(state["kl"])


def _of_other_number(sampler: list[dict[str, Any]] | None, env: Any) -> bool:
    """Whether a saved order has more or fewer prompts than the environment."""
    prompts = getattr(env.unwrapped, "prompts", None)
    return bool(sampler) and prompts is not None and any(row["num_prompts"] != len(prompts) for row in sampler or ())


def _checkpoints(folder: str | Path) -> list[Path]:
    found = sorted((Path(folder) / "checkpoints").glob("iteration-*"))
    return [path for path in found if (path / FILES).is_file() or (path / STATE).is_file()]
