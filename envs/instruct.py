"""``Instruct-v0``: the same MDP over many tasks, where a prompt is an instruction about a post."""

from __future__ import annotations

from typing import Any

from ..data.prompting import INSTRUCTIONS
from ..data.prompts import instruction_prompts
from .token_env import TokenEnv
from .vector_env import TokenVectorEnv

REWARD = {
    "rouge_l": {"function": "rouge_l", "weight": 1.0},
    "exact_match": {"function": "exact_match", "weight": 0.0},
}
"""Overlap with the accepted answers is rewarded; being exactly right is only logged."""


def instruct_options(
    prompts: Any = None,
    split: str = "train",
    template: Any = None,
    reward: Any = None,
    max_prompt_tokens: int = 224,
    **options: Any,
) -> dict[str, Any]:
    """The arguments of ``TokenMDP`` for following instructions.

    Args:
        prompts: as there; None = instructions about embedded posts, ``data.prompts.instruction_prompts(split)``: only
            the seen families, so that the others can be tested.
        split: as there; the three have no post in common.
        template: as there, but the last resort is ``"{prompt}\\n\\n### Response:"``, the end of what
            ``render_instruction`` writes, and ``instruction`` adds nothing.
        reward: as there; None = ``REWARD``.
        max_prompt_tokens: P; an embedded instruction with its post fits.
        **options: further arguments of ``TokenMDP``.
    """
    return {
        "prompts": instruction_prompts(split) if prompts is None else prompts,
        "split": split,
        "template": INSTRUCTIONS if template is None else template,
        "reward": REWARD if reward is None else reward,
        "max_prompt_tokens": max_prompt_tokens,
        **options,
    }


class Instruct(TokenEnv):
    """``Instruct-v0``: a ``TokenEnv`` whose prompts ask for different things.

    The reward is ROUGE-L with the best of the accepted answers, a documented function of text. The default is not a
    learned preference: the embedded preference model compares summaries and knows no other task, so its verdict on an
    answer would mean nothing. Nor is there a gold preference. ROUGE-L is a proxy too, and a simple one: it rewards
    shared words, so a wrong answer worded like the right one scores higher than a right one worded unlike any accepted
    answer, and "yes no" earns two thirds of a yes. ``info["score_parts"]["exact_match"]`` reports, without paying for
    it, whether the answer was exactly right. The embedded start policy is a summarizer that was never tuned on
    instructions; it writes a summary whatever it is asked. ``prefgym sft --data.pairs embedded-instructions`` makes one
    that follows instructions; pass it as ``model``.

    A prompt given by hand, ``reset(options={"prompt": ...})``, has no answer and needs another ``reward``.

    Arguments: ``render_mode`` and those of ``instruct_options``.
    """

    complete = staticmethod(instruct_options)


class InstructVector(TokenVectorEnv):
    """``Instruct-v0`` as a native vector environment.

    Arguments: ``num_envs``, ``autoreset_mode``, ``render_mode`` and those of ``instruct_options``.
    """

    complete = staticmethod(instruct_options)
