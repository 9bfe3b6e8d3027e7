"""prefgym: writing text as a Markov decision process, rewarded by a learned human preference minus a KL term.

Importing it registers the environments by name, without importing torch:

    import gymnasium as gym
    import prefgym

    env = gym.make("Summarize-v0")
"""

from importlib.metadata import version
from typing import Any

import gymnasium as gym

__version__ = version("prefgym")

_ENVIRONMENTS = {
    "Summarize-v0": ("prefgym.envs:TokenEnv", "prefgym.envs:TokenVectorEnv"),
    "Instruct-v0": ("prefgym.envs:Instruct", "prefgym.envs:InstructVector"),
    "Enumerable-v0": ("prefgym.envs:Enumerable", "prefgym.envs:EnumerableVector"),
}

for _id, (_single, _vector) in _ENVIRONMENTS.items():
    if _id not in gym.registry:
        gym.register(_id, entry_point=_single, vector_entry_point=_vector)


def __getattr__(name: str) -> Any:
    """``check_agent`` and ``check_model``, imported on first use because they need torch."""
    if name == "check_agent":
        from .evaluation.checking.check_agent import check_agent

        return check_agent
    if name == "check_model":
        from .models.check import check_model

        return check_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
