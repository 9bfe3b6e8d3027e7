"""Run folders: a plain Hugging Face model folder with the value head and what the agent was trained with.

    run/
        config.json, model.safetensors, tokenizer files   loads with AutoModelForCausalLM.from_pretrained (an
                                                          encoder-decoder with AutoModelForSeq2SeqLM); for a run with
                                                          lora_rank the adapter alone, in peft's format:
                                                          adapter_config.json, adapter_model.safetensors
        value_head.safetensors                            where the agent has values; value_model.safetensors where
                                                          they come from a separate trunk
        prefgym.json                                      agent, hyperparameters, environment settings, versions
        README.md                                         model card

Safetensors and JSON only; every file appears complete or not at all, ``prefgym.json`` last.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data.plain_text import markdown
from ..errors import InputError
from ..files import write_text
from ..models.folder import is_adapter, quiet
from ..models.language_model import LanguageModel
from ..models.lora import AdaptedModel
from ..numbers import is_whole
from ..storage.atomic import machine_errors, partial_name, put, remove, sha256_of
from ..storage.manifest import claim, managed
from .attach import env_attribute
from .policy import LMPolicy
from .validated import iterations

if TYPE_CHECKING:
    from .base import PolicyGradient

A = TypeVar("A", bound="PolicyGradient")

SETTINGS, CARD = "prefgym.json", "README.md"
VALUE_HEAD, VALUE_MODEL = "value_head.safetensors", "value_model.safetensors"
VERSIONS = ("prefgym", "torch", "transformers", "gymnasium")
DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SafetensorError)
"""Errors that reading a damaged file can raise."""


def save_run(folder: str | Path, agent: PolicyGradient, card: dict[str, Any] | None = None) -> Path:
    """Write the agent's run folder; ``card`` adds rows to the model card. Returns the folder."""
    with managed(folder):
        folder = Path(folder)
        policy = agent.policy
        policy.language_model.prompting = agent.settings["prompting"]
        with quiet():
            policy.language_model.save(folder)
        for file, module in _value_files(policy).items():
            save_tensors(folder / file, module.state_dict())
        write_card(folder, agent, card or {})
        write_text(folder / SETTINGS, json.dumps(_settings(agent), indent=2) + "\n")
    return folder


def load_run(cls: type[A], folder: str | Path, env: Any, overrides: dict[str, Any], accept_changes: bool = False) -> A:
    """Read an agent from a run folder; see ``PolicyGradient.load``, and of its base ``AdaptedModel.read``."""
    settings = _read_settings(Path(folder))
    if settings["agent"] != cls.name:
        raise InputError(f'"{folder}" holds an agent "{settings["agent"]}", not "{cls.name}"; load it with that class.')
    chosen: dict[str, Any] = settings["hyperparameters"]
    options = {"seed": settings["seed"], **chosen, **overrides}
    policy = _load_policy(Path(folder), env, accept_changes)
    if set(overrides) & set(chosen):
        return cls(policy, env, **options)
    agent = cls(policy, env, **{**options, "memory_limit": None})  # the number of pieces was chosen when the run began
    agent.hyperparameters = dataclasses.replace(agent.hyperparameters, memory_limit=chosen.get("memory_limit"))
    return agent


def write_card(folder: str | Path, agent: PolicyGradient, facts: dict[str, Any]) -> None:
    """Rewrite the model card of a run folder, with further rows that are known only after training."""
    write_text(Path(folder) / CARD, model_card(agent, facts))


def model_card(agent: PolicyGradient, facts: dict[str, Any]) -> str:
    """README.md of a run folder: what was trained, on what, against what, and how to load it."""
    settings = _settings(agent)
    last = next(reversed(iterations(agent.history)), {})
    kept = agent.kept_iteration
    rows: dict[str, Any] = {
        "agent": settings["agent"],
        "episodes": agent.num_episodes,
        "weights": None if kept is None else f"of iteration {kept} of {agent.iteration}, the best validation",
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
    cells = [(markdown(name), markdown(str(value))) for name, value in rows.items() if value is not None]
    table = "\n".join(f"| {name} | {value} |" for name, value in cells)
    synthetic = (
        "\nThe training prompts are synthetic: figures measured on them say nothing about real text.\n"
        if settings["synthetic"]
        else ""
    )
    library, loading = _how_to_load(agent)
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: text-generation\ntags:\n- reinforcement-learning\n- rlhf\n---\n"
        f"# A language model trained by {markdown(str(agent.name))} on a preference\n\n"
        "A language model, fine-tuned by reinforcement learning on a reward minus a KL penalty to its start.\n"
        f"{synthetic}\n| | |\n|---|---|\n{table}\n\n"
        f"```python\n{loading}```\n"
    )


def _how_to_load(agent: PolicyGradient) -> tuple[str, str]:
    """The library that reads the weights, and the lines that load them."""
    if isinstance(agent.policy.language_model, AdaptedModel):
        return "peft", (
            "from prefgym.models.language_model import LanguageModel\n\n"
            'model = LanguageModel.load("this/folder")  # the adapter, merged into its base model\n'
            'model.save("merged")  # a plain model folder\n'
        )
    auto_class = agent.policy.language_model.auto_class.__name__
    return "transformers", (
        f"from transformers import {auto_class}, AutoTokenizer\n\n"
        f'model = {auto_class}.from_pretrained("this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("this/folder")\n'
    )


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that appears complete or not at all."""
    home = path.with_name(partial_name())  # the library writes its own temporary file beside the target
    try:
        home.mkdir()
        with machine_errors(path):
            file = home / path.name
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
            claim(path, sha256_of(file))
            put(file, path)
    finally:
        remove(home)


def _settings(agent: PolicyGradient) -> dict[str, Any]:
    env = agent.env
    # Not accessible for sub-environments of a synchronous or asynchronous vector.
    prompts, reward = getattr(env.unwrapped, "prompts", None), getattr(env.unwrapped, "reward", None)
    return {
        "format": 1,
        "agent": agent.name,
        "hyperparameters": dataclasses.asdict(agent.hyperparameters),
        "seed": agent.seed,
        "iteration": agent.iteration,
        "num_episodes": agent.num_episodes,
        "kept_iteration": agent.kept_iteration,
        "model": agent.settings["model_name"],
        "data": getattr(prompts, "name", None),
        "synthetic": bool(getattr(prompts, "synthetic", False)),
        "rewards": {name: weight for name, (_, weight) in (reward.parts if reward else {}).items()},
        "env": agent.settings.as_dict(),
        "inputs": agent.inputs,
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}


def inputs_of_run(folder: Path) -> Any:
    """The hashes that a run folder keeps of what it was trained on; None where it is of version 0.1, or no run."""
    return _read_settings(folder).get("inputs") if (folder / SETTINGS).is_file() else None


def kept_iteration(folder: Path) -> int | None:
    """The iteration whose weights are in a run folder, where the best validation chose them; else None."""
    kept = _read_settings(folder).get("kept_iteration") if (folder / SETTINGS).is_file() else None
    return kept if is_whole(kept) else None


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


def _load_policy(folder: Path, env: Any, accept_changes: bool) -> LMPolicy:
    start: LanguageModel = env_attribute(env, "language_model")
    if is_adapter(folder):
        model: LanguageModel = AdaptedModel.read(folder, base=start, device=start.device, accept_changes=accept_changes)
    else:
        model = LanguageModel.load(folder, device=start.device)
    trunks = {
        file: trunk for file, trunk in ((VALUE_HEAD, "shared"), (VALUE_MODEL, "separate")) if (folder / file).is_file()
    }
    policy = LMPolicy(
        model,
        decoding=env_attribute(env, "decoding"),
        value_head=bool(trunks),
        value_trunk=next(iter(trunks.values()), "shared"),
        max_prompt_tokens=env_attribute(env, "max_prompt_tokens"),
    )
    for file, module in _value_files(policy).items():
        try:
            module.load_state_dict(load_file(folder / file))
        except DAMAGE as error:
            raise InputError(f'"{folder / file}" is damaged; restore it from a backup or train again.') from error
    return policy


def _value_files(policy: LMPolicy) -> dict[str, nn.Module]:
    """What is saved next to the language model, by file name."""
    modules = {VALUE_HEAD: policy.value_head, VALUE_MODEL: policy.value_model}
    return {file: module for file, module in modules.items() if module is not None}
