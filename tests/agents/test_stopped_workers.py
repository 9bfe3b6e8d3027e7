"""Ctrl-C while worker processes step: they are busy, or got the signal too and are gone. Nothing of the run is lost."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from prefgym.agents import REINFORCE, PolicyGradient
from prefgym.errors import InputError

MAKE = partial(gym.make, "Enumerable-v0", num_prompts=5, kl_coef=0.1)


@pytest.fixture
def workers() -> Iterator[AsyncVectorEnv]:
    env = AsyncVectorEnv([MAKE] * 2, context="fork")
    yield env
    for process in env.processes:
        process.kill()
    env.closed = True  # its own close waits for answers of workers that are gone


def make_agent(env: Any) -> PolicyGradient:
    return REINFORCE("default", env, seed=11, episodes_per_iteration=4, learning_rate=1e-2, kl_target=0.01)


def stop_in_third_iteration(agent: PolicyGradient, folder: Path, monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    """Raise KeyboardInterrupt where the main process waits for the workers; with ``gone`` they end first."""
    env = agent.env.unwrapped

    def interrupted(*_: Any, **__: Any) -> Any:
        for process in env.processes if gone else ():
            process.kill()
            process.join()
        raise KeyboardInterrupt

    def arm(agent: PolicyGradient, _: Any) -> None:
        if agent.iteration == 2:
            monkeypatch.setattr(env, "step_wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        agent.learn(40, output=folder, save_every=100, callback=arm)


@pytest.mark.parametrize("gone", [False, True])
def test_the_last_whole_iteration_is_saved_and_goes_on(
    gone: bool, workers: AsyncVectorEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(workers)
    stop_in_third_iteration(agent, tmp_path / "run", monkeypatch, gone)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["iteration-000002"]

    other = make_agent(SyncVectorEnv([MAKE] * 2)).learn(8)
    assert agent.settings["kl_coef"] == pytest.approx(other.settings["kl_coef"])
    assert other.settings["kl_coef"] != 0.1  # the controller moved it

    resumed = REINFORCE.resume(tmp_path / "run", SyncVectorEnv([MAKE] * 2))
    assert (resumed.iteration, resumed.num_episodes) == (2, 8)
    assert resumed.settings["kl_coef"] == pytest.approx(other.settings["kl_coef"])
    assert resumed.settings.as_dict() == agent.settings.as_dict()


def test_environments_of_this_process_can_be_set_after_a_stop(tmp_path: Path) -> None:
    def stop(agent: PolicyGradient, _: Any) -> None:
        raise KeyboardInterrupt

    agent = make_agent(SyncVectorEnv([MAKE] * 2))
    with pytest.raises(KeyboardInterrupt):
        agent.learn(8, output=tmp_path / "run", save_every=1, callback=stop)
    agent.kl.coef = 0.7
    assert agent.env.unwrapped.get_attr("kl_coef") == (0.7, 0.7)


def test_a_worker_that_forgets_its_reset_is_told(tmp_path: Path) -> None:
    """Gymnasium 1.4: without shared memory, a reset does not end a worker's wish to begin anew at its next step."""
    env = AsyncVectorEnv([MAKE] * 2, context="fork", shared_memory=False)
    try:
        with pytest.raises(InputError, match=r"AsyncVectorEnv began an episode anew.*shared_memory=True"):
            make_agent(env).learn(40)
    finally:
        env.close()
