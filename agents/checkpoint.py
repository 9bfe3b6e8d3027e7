"""Run folders and resume states: safetensors and JSON only, each complete or absent.

    run/                        a plain Hugging Face model folder, plus
        value_head.safetensors  where the agent has values
        prefgym.json            agent, hyperparameters, environment settings, versions
        README.md               model card
        checkpoints/iteration-000040/
            (the same files)    the policy as it was
            state.safetensors   optimiser moments, generator state
            state.json          counters, shuffling and prompt order, baseline, history

A checkpoint is written under another name and renamed when it is complete, so a run killed at any moment leaves whole
checkpoints only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError
from ..models.language_model import LanguageModel
from .attach import env_attribute
from .policy import LMPolicy

if TYPE_CHECKING:
    from .base import PolicyGradient

A = TypeVar("A", bound="PolicyGradient")

KEEP = 2  # checkpoints
SETTINGS, VALUE_HEAD, STATE, TENSORS = "prefgym.json", "value_head.safetensors", "state.json", "state.safetensors"
ENV_SETTINGS = (
    "kl_coef",
    "kl_estimator",
    "max_prompt_tokens",
    "max_new_tokens",
    "missing_eos_penalty",
    "temperature",
)
VERSIONS = ("prefgym", "torch", "transformers", "gymnasium")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SafetensorError)


def save_run(folder: str | Path, agent: PolicyGradient, card: dict[str, Any] | None = None) -> Path:
    """Write the agent's run folder; ``card`` adds rows to the model card. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    policy = agent.policy
    policy.language_model.save(folder)
    if policy.value_head is not None:
        _save_tensors(folder / VALUE_HEAD, policy.value_head.state_dict())
    write_text(folder / "README.md", model_card(agent, card or {}))
    write_text(folder / SETTINGS, json.dumps(_settings(agent), indent=2) + "\n")
    return folder


def load_run(cls: type[A], folder: str | Path, env: Any, overrides: dict[str, Any]) -> A:
    """Read an agent from a run folder; see ``PolicyGradient.load``."""
    settings = _read_settings(Path(folder))
    if settings["agent"] != cls.name:
        raise InputError(f'"{folder}" holds an agent "{settings["agent"]}", not "{cls.name}"; load it with that class.')
    options = {"seed": settings["seed"], **settings["hyperparameters"], **overrides}
    policy = _load_policy(Path(folder), env)
    return cls(policy, env, **options)


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
    _save_tensors(writing / TENSORS, tensors)
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
    except _DAMAGE as error:
        raise InputError(
            f'The checkpoint "{path}" is damaged ({type(error).__name__}); delete it to resume from the one before.'
        ) from error
    return agent


def model_card(agent: PolicyGradient, facts: dict[str, Any]) -> str:
    """README.md of a run folder: what was trained, on what, against what, how to load it."""
    settings = _settings(agent)
    last = agent.history[-1] if agent.history else {}
    rows: dict[str, Any] = {
        "agent": settings["agent"],
        "episodes": agent.num_episodes,
        "start model": settings["model"],
        "data": settings["data"],
        "rewards": ", ".join(f"{name} x {weight:g}" for name, weight in settings["rewards"].items()),
        "score (last rollout)": f"{last['objective/scores']:.3f}" if last else None,
        "KL to the reference (last rollout, nats)": f"{last['objective/kl']:.2f}" if last else None,
        "seed": settings["seed"],
        **{f"environment: {name}": value for name, value in settings["env"].items()},
        **settings["hyperparameters"],
        **{f"version of {name}": number for name, number in settings["versions"].items()},
    } | facts
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value is not None)
    synthetic = (
        "\nThe training prompts are synthetic: figures measured on them say nothing about real text.\n"
        if settings["synthetic"]
        else ""
    )
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- reinforcement-learning\n- rlhf\n---\n"
        f"# A language model trained by {agent.name} on a preference\n\n"
        "A causal language model, fine-tuned by reinforcement learning on a reward minus a KL penalty to its start.\n"
        f"{synthetic}\n| | |\n|---|---|\n{table}\n\n"
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("this/folder")\n```\n'
    )


def write_text(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all."""
    writing = path.with_name(f".writing-{path.name}")
    writing.write_text(text, encoding="utf-8")
    os.replace(writing, path)


def _settings(agent: PolicyGradient) -> dict[str, Any]:
    env = agent.env
    # Sub-environments of a synchronous or asynchronous vector keep these to themselves.
    prompts, reward = getattr(env.unwrapped, "prompts", None), getattr(env.unwrapped, "reward", None)
    return {
        "format": 1,
        "agent": agent.name,
        "hyperparameters": dataclasses.asdict(agent.hyperparameters),
        "seed": agent.seed,
        "iteration": agent.iteration,
        "num_episodes": agent.num_episodes,
        "model": env_attribute(env, "language_model").name,
        "data": getattr(prompts, "name", None),
        "synthetic": bool(getattr(prompts, "synthetic", False)),
        "rewards": {name: weight for name, (_, weight) in (reward.parts if reward else {}).items()},
        "env": {name: env_attribute(env, name) for name in ENV_SETTINGS},
        "versions": {name: version(name) for name in VERSIONS},
    }


def _read_settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    if not file.is_file():
        raise InputError(f'"{folder}" is not a run folder: it has no {SETTINGS}.')
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        for key in ("agent", "hyperparameters", "seed"):
            settings[key]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'"{file}" is damaged ({error}); restore it from a backup or train again.') from error
    return settings


def _load_policy(folder: Path, env: Any) -> LMPolicy:
    model = LanguageModel.load(folder, device=env_attribute(env, "language_model").device)
    head = folder / VALUE_HEAD
    policy = LMPolicy(model, decoding=env_attribute(env, "decoding"), value_head=head.is_file())
    if policy.value_head is not None:
        try:
            policy.value_head.load_state_dict(load_file(head))
        except _DAMAGE as error:
            raise InputError(f'"{head}" is damaged; restore it from a backup or train again.') from error
    return policy


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


def _checkpoints(folder: str | Path) -> list[Path]:
    return sorted((Path(folder) / "checkpoints").glob("iteration-*"))


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    writing = path.with_name(f".writing-{path.name}")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, writing)
    os.replace(writing, path)
