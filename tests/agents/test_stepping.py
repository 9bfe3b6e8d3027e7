"""The rows of a vector environment, one wave after another."""

from typing import Any

import torch

from prefgym.agents.stepping import _VectorRows


class Rows:
    """A vector environment that notes the seeds of its resets."""

    num_envs = 2

    def __init__(self) -> None:
        self.unwrapped, self.seeds = self, list[Any]()

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.seeds.append(seed)
        return {}, {}


class Native(Rows):
    """One whose order of prompts is saved."""

    def sampler_state(self) -> list[Any]:
        return []


def test_an_order_that_is_saved_goes_on_and_any_other_begins_at_a_seed_of_the_agent() -> None:
    for kind in (Rows, Native):
        env = kind()
        waves = list(_VectorRows(env).waves(4, 1, torch.Generator().manual_seed(3), None))
        assert waves == [[0, 1], [2, 3]]
        seed = int(torch.randint(2**31 - 1, (1,), generator=torch.Generator().manual_seed(3)))
        assert env.seeds == [None if kind is Native else seed, None]
