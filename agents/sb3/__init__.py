"""Stock stable-baselines3 on a language model: its PPO and A2C, unpatched, with its callbacks, logger, save and load.

    from stable_baselines3 import PPO
    from prefgym.agents.sb3 import EpisodeRolloutBuffer, LMActorCriticPolicy, make_vec_env

    env = make_vec_env("Summarize-v0", 8)
    model = PPO(LMActorCriticPolicy, env, n_steps=192, gamma=1.0, rollout_buffer_class=EpisodeRolloutBuffer)
    model.learn(50_000, progress_bar=True)
    model.policy.save_pretrained("folder")  # a plain Hugging Face folder
    model.save("agent.zip")
    PPO.load("agent.zip", env)  # unpickles, as stable-baselines3 does: load only what you trust

``gamma=1.0`` is the discount of this task; stable-baselines3's own default is 0.99. ``learning_rate`` should be one for
language models, about 1e-5 to 1e-4. A saved agent contains weights, tokenizer and configuration, but no environment.
``policy_kwargs={"lora_rank": 8}`` trains an adapter instead of all weights (``pip install "prefgym[peft]"``).

With sb3-contrib (``pip install "prefgym[sb3-contrib]"``) its ``MaskablePPO`` takes ``MaskableLMActorCriticPolicy`` and
``MaskableEpisodeRolloutBuffer``; ``make_vec_env(..., mask_top_k=50)`` says which tokens the masks allow.
"""

from typing import Any

from .buffer import EpisodeRolloutBuffer
from .policy import LMActorCriticPolicy
from .spaces import TokenSpace
from .vec_env import LanguageVecEnv, make_vec_env

MASKABLE = ("MaskableEpisodeRolloutBuffer", "MaskableLMActorCriticPolicy")

__all__ = [
    "EpisodeRolloutBuffer",
    "LMActorCriticPolicy",
    "LanguageVecEnv",
    "MaskableEpisodeRolloutBuffer",
    "MaskableLMActorCriticPolicy",
    "TokenSpace",
    "make_vec_env",
]


def __getattr__(name: str) -> Any:
    """Import what needs sb3-contrib only on first use."""
    if name not in MASKABLE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import maskable
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sb3_contrib":
            raise
        raise ImportError(f'{name} needs sb3-contrib: pip install "prefgym[sb3-contrib]".') from error
    return getattr(maskable, name)
