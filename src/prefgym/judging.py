"""Who judges a run: whether the judge that a config names works, and whether it is independent of the reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .config import Config
from .errors import InputError
from .experiment import PROBED_PROMPTS, SAMPLE, paid_functions, sample_responses, world_of
from .options import ACCEPT_SHARED

if TYPE_CHECKING:
    from .data.prompts import PromptSet
    from .data.templates import Template
    from .envs.prompt_source import Prompt
    from .evaluation.policies.judge import Judge


def check_judge(config: Config, prompts: PromptSet) -> Judge | None:
    """Ask the judge once about a few of the prompts, so that a broken one fails now, not after training.

    Returns:
        The judge, where the config names one of its own.

    Raises:
        InputError: nothing has that name, or it needs a column that the prompts do not have.
        RewardError: it raised, or did not return one number per prompt.
    """
    from .envs.prompt_source import columns_of
    from .evaluation.policies.judge import resolve_judge

    judge = config["evaluation.judge"]
    if judge == "gold" and not all("facts" in row and "distractors" in row for row in prompts):
        raise InputError(
            'evaluation.judge is "gold", which knows the embedded posts only; name a preference model or a function.'
        )
    if judge in (None, "gold"):
        return None
    asked = resolve_judge("embedded" if judge == "preference" else judge)
    template = world_of(config["env.id"]).template.template  # no model is loaded yet that could say another
    few = _few(prompts, template)
    if few and config["evaluation.prompts"]:
        texts, other = sample_responses(few, template), [template.render_response(SAMPLE)] * len(few)
        asked.compare([prompt.text for prompt in few], texts, other, columns_of(few))
    return None if judge == "preference" else asked


def check_independence(
    config: Config, judge: Judge | None, env: Any, prompts: PromptSet, trained_for: Sequence[Any] = ()
) -> None:
    """Refuse a judge that learned from the rows that the reward learned from, or from the prompts to be judged.

    Args:
        config: of the run.
        judge: from :func:`check_judge`.
        env: its environment.
        prompts: that are judged.
        trained_for: rewards that runs were trained with, as their configs name them, where it is not that of ``env``.

    Raises:
        InputError: it did, and the config does not accept that.
    """
    from .evaluation.policies.independence import functions_of, independence

    if judge is None or config[ACCEPT_SHARED] or not config["evaluation.prompts"]:
        return
    rewards = paid_functions(env.unwrapped.reward)
    for spec in trained_for:
        rewards += _rewards_named(spec)
    asked = [row["prompt"] for row in prompts]
    independence(functions_of(judge), rewards, asked).check(judge.name)


def _rewards_named(spec: Any) -> list[Any]:
    """The preference models in the reward of an earlier run; none where they are no longer there."""
    from .rewards.reward import code_named, resolve_reward

    if spec is None or code_named(spec):
        return []
    try:
        return paid_functions(resolve_reward(spec))
    except InputError:
        return []


def _few(prompts: PromptSet, template: Template) -> list[Prompt]:
    from .envs.prompt_source import Prompt

    rows = list(prompts[:PROBED_PROMPTS])
    bodies = [template.body(row["prompt"]) for row in rows]
    return [
        Prompt(template.render(row["prompt"]), [], row, index, body=body)
        for index, (row, body) in enumerate(zip(rows, bodies, strict=True))
    ]
