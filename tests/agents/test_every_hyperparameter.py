"""Every hyperparameter of every agent reaches its place: changing it changes what is learned, or what it is there for.

A hyperparameter that is added without a line here fails, and so does one without an effect.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import pytest
import torch

from prefgym.agents import AGENTS
from prefgym.agents.hyperparameters import Hyperparameters
from prefgym.agents.minibatch import Minibatch

BASE: dict[str, dict[str, Any]] = {
    "": {"learning_rate": 0.01, "episodes_per_iteration": 16, "samples_per_prompt": 4, "batch_size": 8, "n_epochs": 2},
    "expert_iteration": {"batch_size": 2},
}
"""What all agents begin with, and what one needs beside it."""
IN_LOSS = {"kl_loss_coef": 0.5, "kl_loss_estimator": "k2"}
CHANGES: dict[str, dict[str, Any]] = {
    "learning_rate": {"learning_rate": 0.02},
    "lr_schedule": {"lr_schedule": "linear"},
    "warmup": {"warmup": 0.5},
    "optimizer": {"optimizer": "SGD"},
    "weight_decay": {"weight_decay": 0.1},
    "episodes_per_iteration": {"episodes_per_iteration": 32},
    "samples_per_prompt": {"samples_per_prompt": 2},
    "batch_size": {"batch_size": 4},
    "n_epochs": {"n_epochs": 3},
    "max_grad_norm": {"max_grad_norm": 1e-5},
    "vf_coef": {"vf_coef": 2.0},
    "ent_coef": {"ent_coef": 0.5},
    "loss_reduction": {"loss_reduction": "episode_sum"},
    "kl_level": {"kl_level": "sequence"},
    "kl_loss_coef": {"kl_loss_coef": 0.9},
    "kl_loss_estimator": {"kl_loss_estimator": "k3"},
    "kl_target": {"kl_target": 0.001},
    "value_trunk": {"value_trunk": "separate"},
    "precision": {"precision": "bf16"},
    "lora_rank": {"lora_rank": 2},
    "lora_alpha": {"lora_alpha": 16.0},
    "lora_targets": {"lora_targets": "q_proj"},
    "lora_layers": {"lora_layers": 1},
    "gae_lambda": {"gae_lambda": 0.3},
    "gamma": {"gamma": 0.5},
    "normalize_reward": {"normalize_reward": True},
    "normalize_advantage": {"normalize_advantage": None},  # the other one
    "clip_range": {"clip_range": 0.001},
    "clip_range_vf": {"clip_range_vf": 0.001},
    "target_kl": {"target_kl": 1e-9},
    "baseline": {"baseline": "none"},
    "labels": {"labels": "hard"},
}
"""What is changed of each; ``None`` turns a switch."""
WITH: dict[str, dict[str, Any]] = {
    "kl_loss_coef": IN_LOSS,
    "kl_loss_estimator": IN_LOSS,
    "lora_alpha": {"lora_rank": 2},
    "lora_targets": {"lora_rank": 2},
    "lora_layers": {"lora_rank": 2},
    "clip_range": {"n_epochs": 4},
    "clip_range_vf": {"n_epochs": 4},
}
"""Where a hyperparameter matters only beside another."""
EXACT = {"gradient_accumulation": 3, "memory_limit": 1000.0, "gradient_checkpointing": True, "cuda_graphs": True}
"""Those that change how something is computed, and not what; what a limit does is in ``test_memory.py``."""


SHARED = {field.name for field in dataclasses.fields(Hyperparameters)}


def fields(agent: str) -> list[str]:
    return [field.name for field in dataclasses.fields(AGENTS[agent].hyperparameter_type)]


def learned(agent: str, **options: Any) -> list[float]:
    """What two iterations make of every parameter, summed up with fixed random weights."""
    kl_coef = 0.0 if options.get("kl_loss_coef") else 0.5
    env = gym.make("Enumerable-v0", kl_coef=kl_coef)
    made = AGENTS[agent]("default", env, seed=0, **options)
    made.learn(2 * made.hyperparameters.episodes_per_iteration)
    tokens = torch.arange(4).repeat(3, 1)
    logits = made.policy.language_model.model(tokens).logits.detach().flatten()
    values = made.policy.evaluate_actions(tokens, torch.ones_like(tokens).bool(), 2, with_entropy=False).values
    return [*logits.tolist(), *([] if values is None else values.detach().flatten().tolist())]


CASES = [
    (agent, name)
    for agent in AGENTS
    for name in fields(agent)
    if name not in EXACT and (agent == "ppo" or name not in SHARED)
]
"""The shared ones of one agent, and what each agent has of its own."""


@pytest.fixture(scope="module")
def known() -> dict[str, list[float]]:
    """What was learned by settings that several cases share."""
    return {}


@pytest.mark.parametrize(("agent", "name"), CASES)
def test_a_changed_hyperparameter_changes_what_is_learned(agent: str, name: str, known: dict[str, list[float]]) -> None:
    base = {**BASE[""], **BASE.get(agent, {}), **WITH.get(name, {})}
    change = dict(CHANGES[name])
    for key, value in change.items():
        if value is None:
            change[key] = not getattr(AGENTS[agent].hyperparameter_type(**base), key)
    said = f"{agent} {sorted(base.items(), key=str)}"
    before = known.setdefault(said, []) or learned(agent, **base)
    known[said] = before
    after = learned(agent, **{**base, **change})
    assert len(before) != len(after) or before != pytest.approx(after, abs=1e-7)


@contextmanager
def counting(kind: type, method: str) -> Iterator[list[int]]:
    """How often a method of a class is called."""
    calls, plain = [0], getattr(kind, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return plain(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, counted)
        yield calls


@pytest.mark.filterwarnings("ignore:A minibatch of")
def test_what_changes_how_it_is_computed_changes_nothing_else() -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    counts: dict[str, tuple[int, int]] = {}
    results = {}
    for name, options in {"": {}, **{name: {name: value} for name, value in EXACT.items()}}.items():
        with counting(Minibatch, "evaluate") as pieces, counting(LlamaMLP, "forward") as layers:
            results[name] = learned("ppo", **BASE[""], **options)
        counts[name] = pieces[0], layers[0]
    for name in EXACT:
        assert results[name] == pytest.approx(results[""], abs=1e-4), name
    assert counts["gradient_accumulation"][0] == 3 * counts[""][0]
    assert counts["gradient_checkpointing"][1] > counts[""][1]


def test_every_hyperparameter_is_here() -> None:
    every = {name for agent in AGENTS for name in fields(agent)}
    assert every == CHANGES.keys() | EXACT.keys()
