"""What an iteration needs in memory, and the number of pieces that a limit leads to."""

import warnings
from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import nn

from prefgym.agents import DPO, PPO, REINFORCE
from prefgym.agents.checkpoint import save_checkpoint
from prefgym.agents.memory import (
    GIB,
    Line,
    MemoryModel,
    _of_logits,
    fitted,
    largest_piece,
    measure,
    measured_piece,
    resident_bytes,
    state_per_weight,
    without_gradients,
)
from prefgym.errors import InputError
from prefgym.models.tensor_memory import TensorMemory

BASE: dict[str, Any] = {"episodes_per_iteration": 16, "samples_per_prompt": 4, "batch_size": 8}


def test_memory_is_of_the_tensors_that_live_at_once() -> None:
    x, w = torch.ones(10, 4), torch.ones(4, 5, requires_grad=True)
    with TensorMemory() as memory:
        y = x @ w  # 10 x 5 numbers, 200 bytes
        assert memory.alive == 200
        z = y.exp()  # 200 more, which autograd keeps
        view = z[:5]
        loss = z.sum()  # 4
        del y, z
        assert memory.alive == 204  # exp keeps its result, the product only what was there before
        view = None  # noqa: F841
        loss.backward()
    assert memory.peak >= 404
    assert memory.alive == 4 + 4 * 5 * 4  # the loss, and the gradient of w
    del loss
    w.grad = None
    assert memory.alive == 0


def test_gradients_of_weights_are_counted_apart() -> None:
    x, w = torch.ones(10, 4), torch.ones(4, 5, requires_grad=True)
    with TensorMemory(apart=[w.shape]) as memory:
        (x @ w).sum().backward()
    assert w.grad is not None
    assert (memory.alive, memory.peak < 420) == (0, True)


def test_a_line_goes_through_its_three_points() -> None:
    line = Line.through(one=100.0, several=130.0, two=150.0, count=4)
    assert line == Line(constant=50.0, prompt=40.0, response=10.0)
    assert [line.at(1, 1), line.at(1, 4), line.at(2, 2)] == [100, 130, 150]
    assert line.at(1, 1, times=2) == 150  # the constant does not grow
    alone = Line.through(one=100.0, several=100.0, two=160.0, count=1)
    assert [alone.at(1, 1), alone.at(3, 3)] == [100, 220]


def test_logits_are_counted_for_as_many_tokens_as_are_computed_at_once() -> None:
    """10 bytes for each token; 20 of 50 columns are the response; 100 tokens at once."""
    nothing = Line(0, 0, 0)
    model = MemoryModel(0, 0, 0, nothing, nothing, 0, 50, logits=10, response=20, at_once=100)
    assert model.piece(1, 3, 50) == 10 * 60
    assert model.piece(1, 3, 25) == 10 * 30
    assert model.piece(2, 16, 50) == 10 * 100  # not 320


def test_what_a_tokens_logits_need_shows_where_half_are_computed_at_a_time() -> None:
    """50 kept and 7 added apart from logits, of which a token keeps 3 and adds 5, in a piece of 8 tokens."""
    assert _of_logits((50 + 24, 7 + 40), (50, 7 + 4 * 8), 8, 4) == (3, 5)
    assert _of_logits((50, 7), (50, 7), 8, 4) == (0, 0)  # a model that computes its own
    assert _of_logits((50, 7), (50, 7), 1, 1) == (0, 0)  # a single token cannot be halved


def test_the_peak_is_that_of_the_larger_phase() -> None:
    model = MemoryModel(
        resident=1000,
        gradients=10,
        state=20,
        kept=Line(5, 3, 2),
        added=Line(1, 1, 4),
        writing=7,
        measured=50,
    )
    # kept 5 + (2 * 3 + 6 * 2) * 2, added (1 + 1 + 4) + (1 * 1 + 5 * 4) * 2
    assert model.piece(2, 6, 100) == 41 + 48
    # state, its copy with the weights, and the piece; with earlier gradients; what is written, beside old gradients
    assert model.peak((2, 6), 1, 100, 1) == 1000 + 20 + 30 + 89
    assert model.peak((2, 6), 2, 100, 1) == 1000 + 20 + 30 + 89 + 10
    assert model.peak((2, 6), 1, 100, 100) == 1000 + 20 + 10 + 1400


@pytest.mark.parametrize(
    ("pieces", "shape"),
    [(1, (4, 32)), (2, (2, 16)), (3, (2, 11)), (4, (1, 8)), (5, (2, 7)), (32, (1, 1)), (99, (1, 1))],
)
def test_the_largest_piece_of_a_minibatch(pieces: int, shape: tuple[int, int]) -> None:
    assert largest_piece(32, 8, pieces) == shape


def test_an_optimisers_state_is_seen() -> None:
    weight = nn.Parameter(torch.zeros(3))
    assert state_per_weight(torch.optim.Adam([weight])) == 2
    assert state_per_weight(torch.optim.SGD([weight], lr=0.1)) == 0
    assert state_per_weight(torch.optim.SGD([weight], lr=0.1, momentum=0.9)) == 1


def test_gradients_are_let_go_and_come_back_afterwards() -> None:
    layer = nn.Linear(2, 2)
    with without_gradients(layer):
        layer(torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is None
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None


def agent(kind: type = PPO, **options: Any) -> Any:
    return kind("default", gym.make("Enumerable-v0"), seed=0, **{**BASE, **options})


def test_larger_pieces_need_what_small_ones_foretell() -> None:
    made = agent()
    model = measure(made)
    lengths = made.settings["max_prompt_tokens"], made.settings["max_new_tokens"]
    for prompts, samples in ((2, 4), (8, 4), (16, 2)):
        real = sum(measured_piece(made, prompts, samples, *lengths))
        assert model.piece(prompts, prompts * samples, sum(lengths)) == pytest.approx(real, rel=0.2)
    assert model.gradients == sum(4 * parameter.numel() for parameter in made.policy.parameters())
    assert model.state == 2 * model.gradients


def test_measuring_changes_nothing() -> None:
    one, other = agent(), agent()
    measure(one)
    assert all(parameter.grad is None for parameter in one.policy.parameters())
    one.learn(16)
    other.learn(16)
    for mine, its in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken but 100 MiB for each response of a piece."""
    from prefgym.agents import memory

    def measured(made: Any) -> MemoryModel:
        columns = made.settings["max_prompt_tokens"] + made.settings["max_new_tokens"]
        return MemoryModel(0, 0, 0, Line(0, 0, 0.1 * GIB), Line(0, 0, 0), 0, columns)

    monkeypatch.setattr(memory, "measure", measured)


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize(
    ("limit", "given", "pieces"), [(0.85, 1, 1), (0.75, 1, 2), (0.35, 1, 3), (0.85, 4, 4), (0.15, 1, 8)]
)
def test_the_smallest_number_of_pieces_that_fits_is_taken(limit: float, given: int, pieces: int) -> None:
    with pytest.warns(UserWarning, match=f"8 episodes is run in {pieces} piece"):
        made = agent(memory_limit=limit, gradient_accumulation=given)
    assert made.hyperparameters.gradient_accumulation == pieces
    assert made.hyperparameters.memory_limit == limit


@pytest.mark.usefixtures("tight")
def test_too_little_for_a_single_episode_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"0\.05 GiB, but even one episode at a time needs about 0\.1 GiB .* lower env"
    ):
        agent(memory_limit=0.05)


def test_what_is_taken_already_counts() -> None:
    taken = resident_bytes(torch.device("cpu"))
    assert taken > 2**26
    with pytest.raises(InputError, match="are taken already"):
        agent(memory_limit=taken / 2 / GIB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unlimited = agent()
    assert fitted(unlimited) is unlimited.hyperparameters


@pytest.mark.usefixtures("tight")
def test_pieces_that_a_limit_chose_learn_the_same_and_are_kept(tmp_path, monkeypatch) -> None:
    with pytest.warns(UserWarning, match="in 3 pieces"):
        limited = agent(memory_limit=0.35)
    whole = agent()
    whole.learn(32)
    limited.learn(16)
    save_checkpoint(tmp_path, limited)
    monkeypatch.setattr("prefgym.agents.memory.measure", lambda made: pytest.fail("measured again"))
    resumed = PPO.resume(tmp_path, gym.make("Enumerable-v0"))
    assert resumed.hyperparameters == limited.hyperparameters
    resumed.learn(16)
    limited.learn(16)
    for mine, its, all_at_once in zip(*(a.policy.parameters() for a in (resumed, limited, whole)), strict=True):
        assert torch.equal(mine, its)
        torch.testing.assert_close(mine, all_at_once, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("tight")
def test_a_loaded_agent_with_other_hyperparameters_chooses_anew(tmp_path) -> None:
    with pytest.warns(UserWarning, match="in 2 pieces"):
        agent(REINFORCE, memory_limit=0.75).save(tmp_path / "run")
    assert REINFORCE.load(tmp_path / "run", gym.make("Enumerable-v0")).hyperparameters.gradient_accumulation == 2
    with pytest.warns(UserWarning, match="in 3 pieces"):
        REINFORCE.load(tmp_path / "run", gym.make("Enumerable-v0"), memory_limit=0.35)


def test_a_limit_that_cannot_be_is_refused() -> None:
    for wrong in (0, -1.0, "much"):
        with pytest.raises(InputError, match="memory_limit must be a number above 0"):
            agent(memory_limit=wrong)
    with pytest.raises(InputError, match="without a memory_limit"):
        agent(DPO, memory_limit=1.0)
