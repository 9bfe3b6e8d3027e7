"""The learners: a language model as a policy, rollouts, and policy-gradient agents."""

from .a2c import A2C
from .base import PolicyGradient
from .baselines import BASELINES
from .collecting import collect_rollout
from .dpo import DPO
from .expert_iteration import ExpertIteration
from .policy import LMPolicy
from .ppo import PPO
from .reinforce import REINFORCE
from .rollout import Rollout
from .validation import Validation

AGENTS: dict[str, type[PolicyGradient]] = {agent.name: agent for agent in (PPO, REINFORCE, A2C, DPO, ExpertIteration)}
"""Agents by the name that configs use."""

__all__ = [
    "A2C",
    "AGENTS",
    "BASELINES",
    "DPO",
    "PPO",
    "REINFORCE",
    "ExpertIteration",
    "LMPolicy",
    "PolicyGradient",
    "Rollout",
    "Validation",
    "collect_rollout",
]
