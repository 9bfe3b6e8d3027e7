"""Two processes, played by two threads, are one: same updates, same scalars, same decisions, one writer.

``TwoProcesses`` puts real sums and real shares in the place of ``processes.py``; a place that forgets to ask it is then
found by its figures. The first process gets a quarter of the prompts, so that means of means would be wrong.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from prefgym.agents import (
    A2C,
    DPO,
    PPO,
    REINFORCE,
    ExpertIteration,
    PolicyGradient,
    Rollout,
    Validation,
    collecting,
    monitor,
    processes,
)
from prefgym.errors import RewardError
from prefgym.evaluation.checking.check_agent import make_world, move

ITERATION = 12  # episodes: 4 prompts with 3 samples each
MAKING = threading.Lock()  # a model's first weights come from torch's one generator
Act = Callable[[int], Any]


class TwoProcesses:
    """What ``processes.py`` promises, between two threads that are numbered 0 and 1."""

    def __init__(self) -> None:
        self.thread = threading.local()
        self.barrier = threading.Barrier(2, timeout=10)
        self.given: list[Any] = [None, None]
        self.failure: BaseException | None = None

    def run(self, act: Act) -> list[Any]:
        """``act(0)`` and ``act(1)`` side by side; what each returned, or the error that ended it."""
        results: list[Any] = [None, None]

        def play(number: int) -> None:
            self.thread.number = number
            try:
                results[number] = act(number)
            except BaseException as error:
                self.barrier.abort()
                results[number] = error

        threads = [threading.Thread(target=play, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def gathered(self, mine: Any) -> list[Any]:
        """What each process gives, in their order."""
        self.given[self.thread.number] = mine
        self.barrier.wait()
        given = list(self.given)
        self.barrier.wait()
        return given

    def is_first(self) -> bool:
        return self.thread.number == 0

    def share(self, prompts: Any) -> Any:
        few = max(1, len(prompts) // 4)
        return prompts[:few] if self.is_first() else prompts[few:]

    def draws(self, generator: torch.Generator) -> torch.Generator:
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return torch.Generator().manual_seed(seed + self.thread.number)

    def whole(self, rollout: Rollout) -> Rollout:
        return joined(self.gathered(rollout))

    def total(self, number: Any) -> Any:
        return sum(self.gathered(number))

    def add_up_gradients(self, module: torch.nn.Module) -> None:
        mine = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        first, second = self.gathered([gradient.clone() for gradient in mine])
        for gradient, a, b in zip(mine, first, second, strict=True):
            gradient.copy_(a + b)

    def anyone(self, flag: bool) -> bool:
        return any(self.gathered(flag))

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except threading.BrokenBarrierError:
            if self.failure is None:
                raise
            raise type(self.failure)(*self.failure.args) from None
        except BaseException as error:
            self.failure = error
            self.barrier.abort()
            raise


def joined(rollouts: Sequence[Rollout]) -> Rollout:
    """Several rollouts as one: prompts padded on the left, responses on the right, groups numbered on."""
    widths = {name: max(getattr(r, name).shape[1] for r in rollouts) for name in ("prompt_tokens", "response_tokens")}
    offsets = torch.tensor([0, *(int(r.groups.max()) + 1 for r in rollouts)]).cumsum(0)

    def column(name: str) -> Any:
        values = [getattr(rollout, name) for rollout in rollouts]
        if name == "groups":
            return torch.cat([value + offset for value, offset in zip(values, offsets, strict=False)])
        if isinstance(values[0], torch.Tensor) and values[0].ndim == 2:
            of_prompt = name.startswith("prompt_")
            width = widths["prompt_tokens" if of_prompt else "response_tokens"]
            missing = [width - value.shape[1] for value in values]
            padding = [(n, 0) if of_prompt else (0, n) for n in missing]
            return torch.cat([functional.pad(value, pad) for value, pad in zip(values, padding, strict=True)])
        if isinstance(values[0], torch.Tensor):
            return torch.cat(values)
        if isinstance(values[0], dict):
            return {part: torch.cat([value[part] for value in values]) for part in values[0]}
        return None if values[0] is None else [entry for value in values for entry in value]

    return Rollout(**{field.name: column(field.name) for field in dataclasses.fields(Rollout)})


@pytest.fixture(autouse=True)
def _each_prompt_has_draws_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a prompt gets the same responses whoever writes them, beside whichever others."""
    generate = collecting._generate

    def one_by_one(
        env: Any, policy: Any, indices: Sequence[int], samples: int, generator: Any, greedy: bool
    ) -> Rollout:
        draws = [torch.Generator().manual_seed(index) for index in indices]
        pairs = zip(indices, draws, strict=True)
        return joined([generate(env, policy, [index], samples, draw, greedy) for index, draw in pairs])

    monkeypatch.setattr(collecting, "_generate", one_by_one)


def in_two(act: Act) -> list[Any]:
    """``act(0)`` and ``act(1)`` in two processes; what each returned, or the error that ended it."""
    two = TwoProcesses()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("is_first", "share", "draws", "whole", "total", "add_up_gradients", "anyone", "together"):
            patch.setattr(processes, name, getattr(two, name))
        return two.run(act)


def make(kind: type[PolicyGradient], **options: Any) -> PolicyGradient:
    """An agent that is away from its start, in a world of 6 prompts whose responses have 1 to 3 tokens."""
    shape = {"episodes_per_iteration": ITERATION, "samples_per_prompt": 3, "learning_rate": 0.05}
    with MAKING:
        agent = kind("default", make_world(0.5, num_prompts=4), seed=5, **(shape | options))
        move(agent.policy)
    return agent


def outcome(agent: PolicyGradient) -> tuple[list[torch.Tensor], list[dict[str, float]], float]:
    """What training made: parameters, scalars without times, and the KL coefficient."""
    rows = [{name: value for name, value in row.items() if not name.startswith("time/")} for row in agent.history]
    return [parameter.detach() for parameter in agent.policy.parameters()], rows, agent.kl.coef


CASES: list[tuple[type[PolicyGradient], dict[str, Any]]] = [
    *((REINFORCE, {"baseline": name, "batch_size": 6}) for name in ("none", "value", "greedy", "leave_one_out")),
    *((REINFORCE, {"baseline": name}) for name in ("moving_average", "group_mean", "group_normalised")),
    (REINFORCE, {"normalize_advantage": True, "loss_reduction": "episode_sum", "ent_coef": 0.1, "kl_target": 0.1}),
    (REINFORCE, {"kl_loss_coef": 0.2, "kl_loss_estimator": "exact", "kl_target": 0.1, "gradient_accumulation": 2}),
    (A2C, {"normalize_advantage": True, "normalize_reward": True, "vf_coef": 0.5}),
    (PPO, {"batch_size": 6, "n_epochs": 3, "kl_target": 0.1, "max_grad_norm": 0.1}),
    (PPO, {"batch_size": 6, "n_epochs": 3, "target_kl": 0.004}),
    (DPO, {"batch_size": 6, "labels": "soft"}),
    (ExpertIteration, {"batch_size": 2, "n_epochs": 2}),
]


@pytest.mark.filterwarnings("ignore:The KL counts twice")
@pytest.mark.parametrize(("kind", "options"), CASES, ids=[f"{kind.name} {options}" for kind, options in CASES])
def test_two_processes_learn_what_one_does(kind: type[PolicyGradient], options: Any) -> None:
    weights, rows, coef = outcome(make(kind, **options).learn(2 * ITERATION))
    found = in_two(lambda number: outcome(make(kind, **options).learn(2 * ITERATION)))
    assert not any(isinstance(result, BaseException) for result in found), found
    for its_weights, its_rows, its_coef in found:
        for a, b in zip(its_weights, weights, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        assert [row.keys() for row in its_rows] == [row.keys() for row in rows]
        for its_row, row in zip(its_rows, rows, strict=True):
            assert its_row == pytest.approx(row, rel=1e-4, abs=1e-5)
        assert its_coef == pytest.approx(coef, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(found[0][0], found[1][0], strict=True))


def test_every_process_holds_what_one_would_have_written() -> None:
    def act(number: int) -> Rollout:
        agent = make(A2C)
        return collecting.collect_rollout(agent.env, agent.policy, 4, 3)

    expected = act(0)
    for rollout in in_two(act):
        assert rollout.responses == expected.responses
        for field in dataclasses.fields(Rollout):
            value = getattr(expected, field.name)
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(getattr(rollout, field.name), value)
    lengths = expected.response_mask.sum(1).float()
    assert abs(lengths[:3].mean() - lengths[3:].mean()) > 0.1  # of the two shares: means of means would be wrong


def test_processes_sample_with_draws_of_their_own_and_keep_one_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    generate, drawn = collecting._generate, threading.local()

    def noted(env: Any, policy: Any, indices: Any, samples: int, generator: Any, greedy: bool) -> Rollout:
        drawn.numbers = torch.rand(4, generator=generator).tolist()
        return generate(env, policy, indices, samples, generator, greedy)

    monkeypatch.setattr(collecting, "_generate", noted)

    def act(number: int) -> tuple[list[float], list[float]]:
        agent = make(REINFORCE).learn(ITERATION)
        return drawn.numbers, torch.rand(4, generator=agent.generator).tolist()

    (first, after), (second, also_after) = in_two(act)
    assert not set(first) & set(second)
    assert after == also_after


def test_target_kl_is_one_decision() -> None:
    def act(number: int) -> list[bool]:
        agent = make(PPO, batch_size=6, n_epochs=3, target_kl=0.004)
        decisions: list[bool] = []
        keep_going = agent.keep_going
        agent.keep_going = lambda stats: decisions.append(keep_going(stats)) or decisions[-1]  # type: ignore[method-assign]
        agent.learn(2 * ITERATION)
        return decisions

    expected = act(0)
    assert set(expected) == {True, False}
    assert in_two(act) == [expected, expected]


def test_processes_validate_and_stop_as_one(tmp_path: Path) -> None:
    prompts = [{"prompt": text, "table_row": row} for row, text in enumerate(("a", "b c"))] * 4

    def act(number: int) -> tuple[Any, int, int | None]:
        """Steps so large that the policy gets worse; in two processes the first alone has a folder."""
        agent = make(REINFORCE, learning_rate=2.0)
        output = tmp_path / f"run-{number}"
        agent.learn(6 * ITERATION, output=output, validation=Validation(prompts, 1, patience=1))
        return outcome(agent), agent.iteration, agent.kept_iteration

    (weights, rows, _), iteration, kept = act(2)
    assert kept is not None
    assert iteration == kept + 1 < 6
    for (its_weights, its_rows, _), its_iteration, its_kept in in_two(act):
        assert (its_iteration, its_kept) == (iteration, kept)
        assert [row.get("validation/score") for row in its_rows] == pytest.approx(
            [row.get("validation/score") for row in rows], rel=1e-3, abs=1e-4
        )
        for a, b in zip(its_weights, weights, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "run-0" / "checkpoints").is_dir()
    assert not (tmp_path / "run-1").exists()


def test_a_callback_of_any_process_stops_all() -> None:
    def act(number: int) -> int:
        return make(A2C).learn(4 * ITERATION, callback=lambda agent, scalars: number == 0).iteration

    assert in_two(act) == [1, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RewardError("The reward failed.")])
def test_what_ends_an_iteration_in_one_process_ends_it_in_all(error: BaseException, tmp_path: Path) -> None:
    """Both are then as after the first iteration where a stop asks for that, and the first has saved it."""
    ended: dict[int, PolicyGradient] = {}

    def act(number: int) -> None:
        agent = ended[number] = make(A2C)
        loss = agent.loss

        def failing(minibatch: Any) -> Any:
            if number == 1 and agent.iteration == 1:
                raise error
            return loss(minibatch)

        agent.loss = failing  # type: ignore[method-assign]
        agent.learn(3 * ITERATION, output=tmp_path / str(number), save_every=5)

    assert [type(result) for result in in_two(act)] == [type(error)] * 2
    assert [agent.iteration for agent in ended.values()] == [1, 1]
    first, second = ([p.detach() for p in ended[number].policy.parameters()] for number in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    once = make(A2C).learn(ITERATION)
    for a, b in zip(first, once.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)
    saved = sorted(path.name for path in (tmp_path / "0" / "checkpoints").glob("*"))
    assert saved == (["iteration-000001"] if isinstance(error, KeyboardInterrupt) else [])
    assert not (tmp_path / "1").exists()


def test_a_gradient_that_is_no_number_in_one_process_stops_all() -> None:
    def act(number: int) -> None:
        agent = make(A2C)
        loss = agent.loss

        def broken(minibatch: Any) -> Any:
            whole, stats = loss(minibatch)
            return (whole * float("nan") if number == 1 else whole), stats

        agent.loss = broken  # type: ignore[method-assign]
        agent.learn(ITERATION)

    assert [str(result)[:19] for result in in_two(act)] == ["The gradient is nan"] * 2


def test_only_the_first_process_writes_and_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []
    monkeypatch.setattr(monitor, "tqdm", lambda **options: bars.append(tqdm(**options, disable=True)) or bars[-1])

    def act(number: int) -> None:
        home = tmp_path / str(number)
        agent = make(A2C, tensorboard_log=home / "events")
        agent.learn(2 * ITERATION, output=home / "run", save_every=1, progress_bar=True)
        agent.save(home / "model")

    assert in_two(act) == [None, None]
    assert len(bars) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["events", "model", "run"]
    rows = [json.loads(line) for line in (tmp_path / "0/run/history.jsonl").read_text().splitlines()]
    assert [row["episodes"] for row in rows] == [ITERATION, 2 * ITERATION]
