"""What ``--dry-run`` prints: the resolved config, the data, three prompts, and what a run would cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .config import Config

if TYPE_CHECKING:
    from .agents.base import PolicyGradient
    from .data.mixing import Mixture
    from .data.pairs import Pair
    from .data.prompts import PromptSet
    from .models.language_model import LanguageModel
    from .pair_data import PairData

SHOWN_TASKS = 40
MEASURED_STEPS = 2


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


def print_sft_dry_run(config: Config, model: LanguageModel, data: PairData, mixture: Mixture) -> None:
    """Print the same for ``prefgym sft``, with the share of each task; a few steps are run to measure time and memory.

    The model must not be used afterwards.
    """
    from .models.finetune import finetune
    from .models.supervised import TrainingOptions

    train = data.train
    print(config.to_yaml())
    print(data.told())
    _print_mixture(mixture)
    if asked := config["data.demonstrations"]:
        fewer = sum(pair.demonstrations < asked for pair in [*train, *data.held_out])
        print(f"{fewer} prompts show fewer than {asked} demonstrations: their task has no more, or there is no room")
    for pair in _of_different_tasks(train):
        ids = data.tokens(pair.prompt, pair.response)
        print(f"\n--- {pair.task or 'example'}: {len(ids[0])} + {len(ids[1])} tokens\n{pair.prompt}{pair.response}")
    options = {name: value for name, value in config.section("training").items() if name != "save_every"}
    steps = TrainingOptions(**{k: v for k, v in options.items() if k != "packing"}).steps(len(mixture))
    texts = [(pair.prompt, pair.response) for pair in train]
    facts = finetune(model, texts, max_steps=MEASURED_STEPS, epochs_of=mixture, tokens=data.tokens, **options)
    seconds = facts["seconds"] / MEASURED_STEPS
    print(
        f"\n{model.num_parameters:,} parameters; {steps} steps, {seconds:.2f} s each (measured on {MEASURED_STEPS}): "
        f"about {steps * seconds / 60:.1f} minutes of training without evaluations, and {peak_memory():.1f} GiB of "
        "memory. Nothing was written."
    )


def _print_mixture(mixture: Mixture) -> None:
    """The tasks, the largest first; if there are very many, the rest in one line."""
    rows = list(mixture.table().items())
    print(f"{len(rows)} task{'s' if len(rows) != 1 else ''}, {len(mixture)} pairs per epoch:")
    for task, row in rows[:SHOWN_TASKS]:
        share = f"{100 * row['share']:.1f} %"
        print(f"  {task or 'no task named'}: {row['examples']} pairs, {row['epoch']} per epoch, {share}")
    if rest := rows[SHOWN_TASKS:]:
        print(f"  {len(rest)} more: {100 * sum(row['share'] for _, row in rest):.1f} %")


def _of_different_tasks(pairs: list[Pair], count: int = 3) -> list[Pair]:
    """A few pairs, from different tasks where there are enough."""
    first = {pair.task: pair for pair in reversed(pairs)}
    return [*list(first.values())[::-1], *pairs[1:]][:count]


def peak_memory() -> float:
    """The peak memory of this process so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
