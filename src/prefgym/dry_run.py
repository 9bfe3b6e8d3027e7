"""What ``prefgym train --dry-run`` prints: the resolved config, the data, three prompts, and what a run would cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .config import Config

if TYPE_CHECKING:
    from .agents.base import PolicyGradient
    from .data.prompts import PromptSet


def print_dry_run(config: Config, agent: PolicyGradient, splits: Mapping[str, PromptSet]) -> None:
    """Print everything; one iteration is run to measure time and memory, and its result thrown away."""
    env: Any = agent.env.unwrapped
    print(config.to_yaml())
    for split, prompts in splits.items():
        print(f"{split}: {len(prompts)} prompts from {prompts.name}")
    for prompt in env.encode_prompts(range(min(3, len(env.prompts)))).prompts:
        print(
            f"\n--- prompt {prompt.index}: {len(prompt.ids)} tokens of at most {env.max_prompt_tokens}\n{prompt.text}"
        )
    episodes = agent.hyperparameters.episodes_per_iteration
    began = time.perf_counter()
    agent.learn(episodes)
    seconds = time.perf_counter() - began
    iterations = -(-config["agent.total_episodes"] // episodes)
    print(
        f"\n{env.language_model.num_parameters:,} parameters; {iterations} iterations of {episodes} episodes, "
        f"{seconds:.1f} s each (measured on one): about {iterations * seconds / 60:.1f} minutes of training, and "
        f"{peak_memory():.1f} GiB of memory. Nothing was written."
    )


def peak_memory() -> float:
    """The most memory this process has held so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
