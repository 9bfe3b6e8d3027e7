"""Bringing a policy and an environment together: which model to train, and who pays -beta log pi.

All of it works for a single environment, a vector environment, and one that is wrapped or in worker processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import wrappers

from ..data.prompting import restored, tell_if_other
from ..envs.policy_kl import PolicyKL, PolicyTerm, VectorPolicyKL
from ..errors import InputError
from ..models.language_model import LanguageModel
from ..models.lora import AdaptedModel, LoRA
from .policy import LMPolicy

NEUTRAL_WRAPPERS = (
    PolicyKL,
    VectorPolicyKL,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    gym.wrappers.vector.RecordEpisodeStatistics,
)
"""Wrappers that leave observation, action and reward unchanged. They do not see what is not stepped:
``RecordEpisodeStatistics`` has nothing to record, and an agent's ``history`` has the figures."""


def env_attribute(env: Any, name: str) -> Any:
    """An attribute of the environment, or of the first sub-environment of a synchronous or asynchronous vector."""
    base = env.unwrapped
    if hasattr(base, name):
        return getattr(base, name)
    try:
        return base.get_attr(name)[0]
    except (AttributeError, TypeError) as error:
        raise InputError(f"{env} is not an environment of prefgym: it has no {name}.") from error


def make_policy(
    policy: Any,
    env: gym.Env | Any,
    *,
    value_head: bool,
    value_trunk: str = "shared",
    lora: LoRA | None = None,
    seed: int = 0,
) -> LMPolicy:
    """Turn a user's policy argument into an ``LMPolicy`` for ``env``.

    Args:
        policy: ``"default"`` (a copy of the environment's model), a model folder or hub id, a ``LanguageModel``
            (copied) or an ``LMPolicy`` (used as it is).
        env: provides the default model, the vocabulary and the shape of the distribution.
        value_head: whether the agent needs values.
        value_trunk: where they come from, as in ``LMPolicy``; an ``LMPolicy`` keeps its own.
        lora: train such an adapter; ``"default"`` is then a view of the environment's model, not a copy.
        seed: of the adapter's initial weights.

    Raises:
        InputError: none of these, a vocabulary other than the environment's, an ``LMPolicy`` that lacks a required
            value head or adapter or has another temperature, or an environment with an action mask.
    """
    if env_attribute(env, "masks_actions"):
        raise InputError(
            "This agent samples from the full distribution and ignores action masks; leave out mask_top_k and "
            "mask_top_p, or train sb3-contrib's MaskablePPO (prefgym.agents.sb3)."
        )
    model: LanguageModel = env_attribute(env, "language_model")
    decoding = env_attribute(env, "decoding")
    prompting = env_attribute(env, "prompting")  # a template that no folder can keep is refused before training
    if isinstance(policy, LMPolicy):
        if value_head and not policy.has_values:
            raise InputError("This agent needs values; build the LMPolicy with value_head=True.")
        if lora is not None and not isinstance(policy.language_model, AdaptedModel):
            raise InputError("lora_rank is set, but the LMPolicy has no adapter; build it on an AdaptedModel.")
        if policy.decoding != decoding:
            raise InputError(
                f"The LMPolicy samples with {policy.decoding}, the environment's reference with {decoding}; build it "
                "with decoding=env.unwrapped.decoding."
            )
        _check_vocabulary(policy.language_model, model)
        return policy
    if isinstance(policy, str | Path) and str(policy) != "default":
        model_to_train = LanguageModel.load(policy, device=model.device)
        if model_to_train.prompting:
            known = restored(model_to_train.prompting, model_to_train.tokenizer, model_to_train.name)
            tell_if_other(known, restored(prompting, model.tokenizer), model_to_train.name)
    elif isinstance(policy, LanguageModel):
        model_to_train = policy.copy()
    elif policy == "default":
        model_to_train = model if lora is not None else model.copy()
    else:
        raise InputError(f'policy must be "default", a model folder, a LanguageModel or an LMPolicy, not {policy!r}.')
    _check_vocabulary(model_to_train, model)
    if lora is not None:
        model_to_train = AdaptedModel.start(model_to_train, lora, seed)
    width = env_attribute(env, "max_prompt_tokens")
    return LMPolicy(
        model_to_train, decoding=decoding, value_head=value_head, value_trunk=value_trunk, max_prompt_tokens=width
    )


def attach(env: Any, policy: LMPolicy) -> Any:
    """Let ``env`` pay the policy's part of the reward, -beta log pi, inside all wrappers that change rewards.

    An environment in this process gets the policy through ``attach_policy``; sub-environments of a vector cannot, and
    are wrapped in ``PolicyKL``. An existing ``PolicyKL`` is given this policy.

    Returns:
        The environment to step.
    """
    outer, inner = None, env
    while True:
        if isinstance(inner, PolicyKL | VectorPolicyKL):
            if inner.term.policy is not policy:
                num_rows = getattr(inner, "num_envs", 1)
                inner.term = PolicyTerm(policy, env_attribute(env, "kl_estimator"), num_rows)
            return env
        if inner is env.unwrapped:
            break
        outer, inner = inner, inner.env
    if hasattr(inner, "attach_policy"):
        inner.attach_policy(policy)
        return env
    wrapped = PolicyKL(inner, policy)
    if outer is None:
        return wrapped
    outer.env = wrapped
    return env


def _check_vocabulary(model: LanguageModel, expected: LanguageModel) -> None:
    same = model.tokenizer is expected.tokenizer or model.tokenizer.get_vocab() == expected.tokenizer.get_vocab()
    if same and set(model.eos_token_ids) != set(expected.eos_token_ids):
        raise InputError(
            f'The policy "{model.name}" ends a response at the tokens {list(model.eos_token_ids)}, the environment\'s '
            f'model "{expected.name}" at {list(expected.eos_token_ids)}; give both the same eos_token_id.'
        )
    if not same:
        raise InputError(
            f'The policy "{model.name}" has another vocabulary than the environment\'s model "{expected.name}"; give '
            "the environment model=... of the policy's family."
        )


def is_neutral(env: Any) -> bool:
    """Whether no wrapper around the environment could change what a learner sees."""
    while env is not env.unwrapped:
        if type(env) not in NEUTRAL_WRAPPERS:
            return False
        env = env.env
    return hasattr(env, "encode_prompts")
