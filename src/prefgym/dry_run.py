"""What ``--dry-run`` prints: the resolved config, the data, three prompts, and what a run would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .agents.memory import GIB
from .config import Config
from .estimate import Trial, told

if TYPE_CHECKING:
    from .agents.base import PolicyGradient
    from .data.mixing import Mixture
    from .data.pairs import Pair
    from .data.prompts import PromptSet
    from .models.language_model import LanguageModel
    from .pair_data import PairData

SHOWN_TASKS = 40


def print_dry_run(config: Config, agent: PolicyGradient, splits: Mapping[str, PromptSet]) -> None:
    """Print everything; pieces of an iteration are run to foretell time and memory, and the agent is not to be used."""
    env: Any = agent.env.unwrapped
    print(config.to_yaml())
    for split, prompts in splits.items():
        print(f"{split}: {len(prompts)} prompts from {prompts.name}")
    for prompt in env.encode_prompts(range(min(3, len(env.prompts)))).prompts:
        print(
            f"\n--- prompt {prompt.index}: {len(prompt.ids)} tokens of at most {env.max_prompt_tokens}\n{prompt.text}"
        )
    print("\ntiming pieces of an iteration ...", flush=True)
    trial = Trial(agent)
    estimate = trial.run()
    episodes = agent.hyperparameters.episodes_per_iteration
    iterations = -(-config["agent.total_episodes"] // episodes)
    parts = ", ".join(f"{name} {seconds:.2g}" for name, seconds in estimate.seconds.items())
    print(told(estimate))
    print(
        f"training: {env.language_model.num_parameters:,} parameters; {iterations} iterations of {episodes} episodes, "
        f"{estimate.iteration:.3g} s each ({parts}): about {minutes(iterations * estimate.iteration)}, checkpoints "
        "not counted"
    )
    if config["evaluation.every"] is not None:
        print(_validation_told(config, trial, splits, iterations))
    print(_evaluation_told(config, trial, splits))
    print(
        f"memory: {estimate.peak / GIB:.2f} GiB at the peak of an iteration, {_in_pieces(agent)}. Nothing was written."
    )


def _validation_told(config: Config, trial: Trial, splits: Mapping[str, PromptSet], iterations: int) -> str:
    """The line about validations: before the first iteration, every few, and after the last."""
    from .evaluation.policies.workload import Workload

    times, prompts = 1 + -(-iterations // config["evaluation.every"]), len(splits["validation"])
    seconds = trial.evaluation(Workload(asked=prompts, written=prompts, read=prompts, scored=prompts))
    return f"validation: {times} times {prompts} prompts, about {minutes(times * seconds)} in all"


def _evaluation_told(config: Config, trial: Trial, splits: Mapping[str, PromptSet]) -> str:
    """The line about the evaluation in the end."""
    from .evaluation.policies.workload import workload

    if not config["evaluation.prompts"]:
        return "evaluation: none"
    work = workload(1, len(splits["test"]), len(splits["validation"]), chooses=config["evaluation.yardsticks"])
    return (
        f"evaluation: {work.written} responses to {len(splits['test'])} held-out prompts, about "
        f"{minutes(trial.evaluation(work))}, the judge not counted"
    )


def minutes(seconds: float) -> str:
    """Seconds in words.

    >>> minutes(40), minutes(600), minutes(36000)
    ('40 seconds', '10.0 minutes', '10.0 hours')
    """
    for name, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"


def _in_pieces(agent: PolicyGradient) -> str:
    """In how many pieces a minibatch is run."""
    pieces = agent.hyperparameters.gradient_accumulation
    return "each minibatch in one piece" if pieces == 1 else f"each minibatch in {pieces} pieces"


def print_sft_dry_run(config: Config, model: LanguageModel, data: PairData, mixture: Mixture) -> None:
    """Print the same for ``prefgym sft``, with the share of each task; pieces of a step foretell time and memory.

    The model must not be used afterwards.
    """
    from .estimate_sft import estimate_finetuning
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
    options = {
        name: value for name, value in config.section("training").items() if name not in ("save_every", "packing")
    }
    settings = TrainingOptions(**{"learning_rate": 5e-4, **options})
    print("\ntiming pieces of a step ...", flush=True)
    estimate = estimate_finetuning(model, data, settings, len(mixture), config["training.packing"])
    print(estimate.told())
    print(
        f"training: {model.num_parameters:,} parameters; {estimate.steps} steps, {estimate.step:.3g} s each: about "
        f"{minutes(estimate.steps * estimate.step)}, checkpoints not counted"
    )
    print(
        f"evaluation: {estimate.evaluations} times {len(data.held_out)} pairs, about "
        f"{minutes(estimate.evaluations * estimate.evaluation)} in all"
    )
    print(f"memory: {estimate.peak / GIB:.2f} GiB at the peak of a step. Nothing was written.")


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
