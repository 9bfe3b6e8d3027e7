"""The small world's table of scores."""

import numpy as np
import pytest

from prefgym.envs.tiny_world import TableReward, enumerable_options
from prefgym.errors import InputError


def test_a_response_is_looked_up_in_the_row_of_its_prompt_and_each_has_one():
    reward = TableReward(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), ["a"], 2)
    assert reward(["a", "a a"], ["a a", ""], table_row=[0, 1]) == [3.0, 4.0]
    with pytest.raises(ValueError, match="zip"):
        reward(["a", "a a"], ["a a", ""], table_row=[0])


def test_a_world_that_is_too_large_is_told_its_size():
    """Two tokens and 20 steps: 2**21 - 1 responses to each of three prompts."""
    with pytest.raises(InputError, match=f"make {3 * (2**21 - 1)} responses, more than"):
        enumerable_options(num_tokens=2, max_new_tokens=20, num_prompts=3)
