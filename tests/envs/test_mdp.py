"""The arguments of an environment: what they are when nobody gives them, and which are refused."""

import pytest

from prefgym.envs import TokenEnv
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError


def test_budgets_that_nobody_gives_are_the_documented_ones(env_options):
    options = env_options(model=tiny_language_model(5, context=240))
    del options["max_prompt_tokens"], options["max_new_tokens"]
    mdp = TokenEnv(**options).unwrapped.mdp
    assert (mdp.max_prompt_tokens, mdp.max_new_tokens) == (192, 48)


@pytest.mark.parametrize("name", ["max_prompt_tokens", "max_new_tokens"])
def test_a_budget_of_nothing_is_refused(make_env, name):
    with pytest.raises(InputError, match=f"{name} must be an integer of at least 1, not 0"):
        make_env(**{name: 0})
