"""The learners: a language model as a policy, rollouts, and agents that climb the policy gradient."""

from .base import PolicyGradient
from .baselines import BASELINES
from .policy import LMPolicy
from .ppo import PPO
from .reinforce import REINFORCE
from .rollout import Rollout, collect_rollout

AGENTS: dict[str, type[PolicyGradient]] = {agent.name: agent for agent in (PPO, REINFORCE)}
"""Agents by the name that configs use."""

__all__ = ["AGENTS", "BASELINES", "PPO", "REINFORCE", "LMPolicy", "PolicyGradient", "Rollout", "collect_rollout"]
