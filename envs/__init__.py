"""The Markov decision process of writing text, as Gymnasium environments."""

from .enumerable import Enumerable, EnumerableVector
from .instruct import Instruct, InstructVector
from .mdp import Scores, TokenMDP
from .policy_kl import PolicyKL, PolicyTerm, VectorPolicyKL
from .prompt_source import Prompt, PromptBatch
from .token_env import TokenEnv
from .vector_env import TokenVectorEnv

__all__ = [
    "Enumerable",
    "EnumerableVector",
    "Instruct",
    "InstructVector",
    "PolicyKL",
    "PolicyTerm",
    "Prompt",
    "PromptBatch",
    "Scores",
    "TokenEnv",
    "TokenMDP",
    "TokenVectorEnv",
    "VectorPolicyKL",
]
