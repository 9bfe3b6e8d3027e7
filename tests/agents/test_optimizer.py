"""The optimiser by name, its weight decay and learning rate, and its state in checkpoints."""

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer

from prefgym.agents import PPO, checkpoint
from prefgym.agents.hyperparameters import Hyperparameters
from prefgym.agents.optimizer import UNFIT, decays, lr_factor, make_optimizer, optimizers
from prefgym.agents.optimizer_state import packed, put_back
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError

SMALL: dict[str, Any] = {"episodes_per_iteration": 8, "batch_size": 4, "learning_rate": 0.01}


class Killed(Exception):
    """The process died here."""


def world() -> gym.Env:
    return gym.make("Enumerable-v0", model="tabular", num_prompts=3)


def agent(**options: Any) -> PPO:
    return PPO("default", world(), seed=3, **{**SMALL, **options})


def killed_and_resumed(folder: Path, cls: type[PPO] = PPO, **options: Any) -> PPO:
    """Trained for three iterations, but for the first killed in the third and resumed."""

    def dies(agent: Any, scalars: dict[str, float]) -> None:
        if agent.iteration == 2:
            raise Killed

    made = cls("default", world(), seed=3, **{**SMALL, **options})
    with pytest.raises(Killed):
        made.learn(24, output=folder, save_every=1, callback=dies)
    return cls.resume(folder, world()).learn(24)


def same(one: PPO, other: PPO) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("schedule", "warmup", "iterations", "expected"),
    [
        ("constant", 0.0, 3, [1, 1, 1]),
        ("linear", 0.0, 4, [1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", 0.0, 4, [1, (2 + math.sqrt(2)) / 4, 1 / 2, (2 - math.sqrt(2)) / 4]),
        ("constant", 0.5, 4, [1 / 3, 2 / 3, 1, 1]),
        ("linear", 0.25, 8, [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", 0.2, 5, [1 / 2, 1, (2 + math.sqrt(2)) / 4, 1 / 2, (2 - math.sqrt(2)) / 4]),
    ],
)
def test_schedules_worked_by_hand(schedule: str, warmup: float, iterations: int, expected: list[float]) -> None:
    rates = [lr_factor(schedule, warmup, done / iterations, 1 / iterations) for done in range(iterations)]
    assert rates == pytest.approx(expected)


def test_the_rate_of_each_iteration_is_told() -> None:
    learned = agent(warmup=0.4, lr_schedule="linear").learn(40)
    rates = [row["train/learning_rate"] for row in learned.history]
    assert rates == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.02 / 3, 0.01 / 3])


def test_an_optimiser_that_is_listed_takes_a_plain_step_and_one_that_is_not_does_not() -> None:
    plain = {name for name, kind in vars(torch.optim).items() if isinstance(kind, type)} - {"Optimizer"}
    assert optimizers().keys() | UNFIT.keys() == plain
    for name, kind in vars(torch.optim).items():
        if name in plain:
            weight = nn.Parameter(torch.ones(2, 2))
            weight.grad = torch.ones(2, 2)
            made: Any = kind([weight], lr=0.1)
            if name in UNFIT:
                with pytest.raises((TypeError, RuntimeError), match=r"closure|dense gradients"):
                    made.step()
            else:
                made.step()
                assert (weight < 1).all(), name


def test_a_run_of_an_optimiser_without_state_is_killed_and_resumed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "SGD", "warmup": 0.5, "lr_schedule": "cosine", "weight_decay": 0.1}
    whole = agent(**options).learn(24)
    assert type(whole.optimizer) is torch.optim.SGD
    assert not same(whole, agent(**options))
    assert same(whole, killed_and_resumed(tmp_path, **options))


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("name", optimizers())
def test_any_optimiser_goes_on_from_its_files_as_if_nothing_had_happened(name: str, steps: int, tmp_path: Path) -> None:
    """Before the first step there may be a state (Adagrad) or none."""
    h = Hyperparameters(learning_rate=0.05, optimizer=name, weight_decay=0.0 if name == "Rprop" else 0.1)
    model = nn.Linear(3, 2, bias=name != "Muon")
    made = make_optimizer(model, h)
    go_on(model, made, steps)
    tensors, rest = packed(made)
    save_file(tensors, tmp_path / "state.safetensors")
    other = nn.Linear(3, 2, bias=name != "Muon")
    other.load_state_dict(model.state_dict())
    again = make_optimizer(other, h)
    put_back(again, load_file(tmp_path / "state.safetensors"), json.loads(json.dumps(rest)))
    go_on(model, made, 2)
    go_on(other, again, 2)
    assert torch.equal(model.weight, other.weight)


def go_on(model: nn.Module, made: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        made.zero_grad()
        model(torch.tensor([1.0, -2.0, 0.5])).square().sum().backward()
        made.step()


def test_adamw_without_decay_is_adam() -> None:
    assert same(agent().learn(16), agent(optimizer="Adam").learn(16))
    assert not same(agent().learn(16), agent(optimizer="NAdam").learn(16))


def small_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    return model


def test_weight_decay_is_for_matrices_and_a_rate_of_a_tenth_takes_a_twentieth_of_them() -> None:
    model = small_model()
    make_optimizer(model, Hyperparameters(learning_rate=0.1, weight_decay=0.5)).step()
    values = {name: parameter.unique().item() for name, parameter in model.named_parameters()}
    assert values == pytest.approx({"0.weight": 1.9, "0.bias": 2.0, "1.weight": 2.0, "1.bias": 2.0})


def test_a_frozen_parameter_is_left_out_and_without_decay_there_is_one_group() -> None:
    model = small_model()
    model[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    (group,) = make_optimizer(model, Hyperparameters()).param_groups
    assert [id(one) for one in group["params"]] == [id(p) for p in model.parameters()][1:]
    assert (group["eps"], group["weight_decay"]) == (1e-5, 0.0)


def test_decay_is_for_the_parameters_that_supervised_runs_decay() -> None:
    model = tiny_language_model(8, 8).model
    ours = {name for name, parameter in model.named_parameters() if decays(name, parameter)}
    theirs = Trainer.get_decay_parameter_names(None, model)  # type: ignore[arg-type]
    assert ours == set(theirs) & {name for name, _ in model.named_parameters()}
    assert not decays("experts.gate_up_proj_bias", torch.zeros(2, 3))


def test_muon_is_for_matrices_alone() -> None:
    if "Muon" not in optimizers():
        pytest.skip("this torch has no Muon")
    with pytest.raises(InputError, match=r'optimizer "Muon" cannot train this policy \(Muon only supports 2D param'):
        agent(optimizer="Muon")
    model = nn.Linear(2, 2, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = torch.ones(2, 2)
    make_optimizer(model, Hyperparameters(optimizer="Muon")).step()
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamw"}, 'optimizer "adamw" is not an optimiser of torch.optim .* Did you mean "AdamW"'),
        ({"optimizer": "sgd"}, 'Did you mean "SGD"'),
        ({"optimizer": "Adagard"}, 'Did you mean "Adagrad"'),
        ({"optimizer": "lr_scheduler"}, 'optimizer "lr_scheduler" is not an optimiser of torch.optim'),
        ({"optimizer": "Optimizer"}, 'optimizer "Optimizer" is not an optimiser'),
        ({"optimizer": None}, 'optimizer "None" is not an optimiser'),
        ({"optimizer": "LBFGS"}, 'optimizer "LBFGS" cannot be used: it needs a closure'),
        ({"optimizer": "SparseAdam"}, 'optimizer "SparseAdam" cannot be used: it takes sparse gradients'),
        ({"optimizer": "Rprop", "warmup": 0.1}, 'optimizer "Rprop" sets its own step sizes'),
        ({"optimizer": "Rprop", "lr_schedule": "linear"}, 'set lr_schedule to "constant"'),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hyperparameters(**options)


def test_weight_decay_is_given_to_those_alone_that_take_it() -> None:
    with pytest.raises(InputError, match='optimizer "Rprop" has no weight decay; set weight_decay to 0'):
        Hyperparameters(optimizer="Rprop", weight_decay=0.1)
    (group,) = make_optimizer(small_model(), Hyperparameters(optimizer="Rprop")).param_groups
    assert "weight_decay" not in group


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had Adam's tensors by name, and the groups of parameters as the rest."""

    def as_before(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Any]:
        state = optimizer.state_dict()
        rows = state["state"].items()
        tensors = {f"optimizer.{index}.{name}": value for index, row in rows for name, value in row.items()}
        return tensors, [{**group, "decoupled_weight_decay": False} for group in state["param_groups"]]

    whole = agent().learn(24)
    monkeypatch.setattr(checkpoint, "packed", as_before)
    assert same(whole, killed_and_resumed(tmp_path))


class Slow(PPO):
    """An agent whose optimiser is its own."""

    name = "ppo"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.optimizer = torch.optim.SGD(self.policy.parameters(), lr=1e-3)


def test_the_state_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, Slow)
    with pytest.raises(InputError, match="it has the state of the optimiser SGD, not of AdamW; resume with SGD") as no:
        PPO.resume(tmp_path, world())
    assert "iteration-000002" in str(no.value)
    assert "\n" not in str(no.value)


class Keeping(torch.optim.SGD):
    """An optimiser that keeps what it is told to."""

    def keep(self, weight: torch.Tensor, **kept: Any) -> None:
        self.state[weight].update(kept)


def test_any_state_becomes_tensors_and_json_and_comes_back() -> None:
    weight = nn.Parameter(torch.ones(2))
    made = Keeping([weight], lr=torch.tensor(0.5), momentum=0.9)
    made.keep(weight, count=3, never=None, last=[torch.ones(2), [torch.zeros(1)]], pair=(1, 2.5))
    made.keep(weight, **{"by.size": {2: torch.ones(1), "x": True}, "last.0": torch.zeros(3)})
    made.state["of all"] = {"seen": torch.tensor(4)}  # type: ignore[index]
    tensors, rest = packed(made)
    assert all(name.startswith("optimizer.") for name in tensors)
    again = Keeping([weight], lr=0.1)
    put_back(again, tensors, json.loads(json.dumps(rest)))
    state: Any = again.state
    assert {name: state[weight][name] for name in ("count", "never", "pair")} == {
        "count": 3,
        "never": None,
        "pair": (1, 2.5),
    }
    assert torch.equal(state[weight]["last"][0], torch.ones(2))
    assert torch.equal(state[weight]["last.0"], torch.zeros(3))
    assert torch.equal(state[weight]["last"][1][0], torch.zeros(1))
    assert state[weight]["by.size"] == {2: torch.ones(1), "x": True}
    assert state["of all"] == {"seen": torch.tensor(4)}
    assert again.param_groups[0]["lr"] == torch.tensor(0.5)
    assert again.param_groups[0]["momentum"] == 0.9


def test_a_state_that_no_file_can_hold_is_told_by_its_name() -> None:
    weight = nn.Parameter(torch.ones(2))
    made = Keeping([weight], lr=0.5)
    made.keep(weight, seen={1, 2})
    with pytest.raises(InputError, match=r"The optimiser keeps a set \(optimizer\.0\.seen\)"):
        packed(made)
