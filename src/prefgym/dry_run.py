"""What ``prefgym train --dry-run`` prints: the resolved config, the data, three prompts, and what a run would cost."""

from __future__ import annotations

import resource
import time
from typing import Any

import yaml

from .config import Config


def print_dry_run(config: Config, agent: Any, splits: dict[str, Any]) -> None:
    """Print everything; one iteration is run to measure time and memory, and its result thrown away."""
    print(yaml.safe_dump(config.nested(), sort_keys=False, allow_unicode=True))
    for split, prompts in splits.items():
        print(f"{split}: {len(prompts)} prompts from {prompts.name}")
    core = agent.env.unwrapped.mdp
    for prompt in map(core.source.at, range(min(3, len(splits["train"])))):
        print(f"\n--- prompt {prompt.index}: {len(prompt.ids)} tokens of at most {core.max_prompt_tokens}\n{prompt.text}")
    hyperparameters = agent.hyperparameters
    began = time.perf_counter()
    agent.learn(hyperparameters.episodes_per_iteration)
    seconds = time.perf_counter() - began
    iterations = -(-config["agent.total_episodes"] // hyperparameters.episodes_per_iteration)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{core.language_model.num_parameters:,} parameters; {iterations} iterations of "
        f"{hyperparameters.episodes_per_iteration} episodes, {seconds:.1f} s each (measured once): about "
        f"{iterations * seconds / 60:.1f} minutes of training, {peak:.1f} GiB of memory."
    )
