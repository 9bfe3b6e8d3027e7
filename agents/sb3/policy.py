"""A language model as the actor-critic policy that stable-baselines3's PPO and A2C train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from ...errors import InputError
from ...models.distribution import restrict, sample
from ...models.lora import EVERY_LINEAR, AdaptedModel
from ..hyperparameters import Hyperparameters
from ..policy import LMPolicy
from .buffer import join_transitions
from .choice import Choice, hand_over
from .spaces import TokenSpace

Observation = dict[str, Tensor]


class LMActorCriticPolicy(ActorCriticPolicy):
    """The environment's language model, with values from a head on its trunk, in stable-baselines3's interface.

    It starts as a copy of the environment's model; every value starts at 0. Rollouts read one new token per step with a
    key-value cache, which is dropped when parameters change. It has no reference to the environment, so ``save`` writes
    none.

    ``policy_kwargs={"lora_rank": 8}`` trains only the value head and an adapter, which changes nothing at the start.
    stable-baselines3's ``save`` writes the weights below it all the same, ``save_pretrained`` only the adapter.

    Notation: B rows, L columns, n transitions, V usable vocabulary.

    Args:
        observation_space: of the environment.
        action_space: from ``make_vec_env``; it carries the language model.
        lr_schedule: learning rate of the optimiser, called with the progress remaining.
        use_sde: stable-baselines3 passes False for tokens.
        optimizer_class: as for every policy of stable-baselines3.
        optimizer_kwargs: its arguments; None = ``eps=1e-5``.
        lora_rank: train an adapter of this rank; None trains all weights. This and the next three are as in our agents.
        lora_alpha: the adapter is scaled by this over its rank; None is twice the rank.
        lora_targets: linear layers to adapt.
        lora_layers: adapt only so many layers, the last ones.

    Raises:
        InputError: the environment is not from ``make_vec_env``, or the adapter cannot be made.
    """

    action_space: TokenSpace

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        use_sde: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        lora_targets: str = EVERY_LINEAR,
        lora_layers: int | None = None,
    ) -> None:
        if not isinstance(action_space, TokenSpace):
            raise InputError(
                f"{type(self).__name__} finds its language model through the environment; make that by "
                "prefgym.agents.sb3.make_vec_env."
            )
        optimizer_kwargs = {"eps": 1e-5} if optimizer_kwargs is None else optimizer_kwargs
        # Not ActorCriticPolicy's own, which builds MLPs.
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        self._lora = {
            "lora_rank": lora_rank,
            "lora_alpha": lora_alpha,
            "lora_targets": lora_targets,
            "lora_layers": lora_layers,
        }
        lora, model = Hyperparameters(**self._lora).lora, action_space.language_model.copy()  # type: ignore[arg-type]
        if lora is not None:
            model = AdaptedModel.start(model, lora, seed=int(torch.randint(2**31 - 1, ())))
        self.lm = LMPolicy(model, decoding=action_space.decoding, max_prompt_tokens=action_space.max_prompt_tokens)
        trained = [parameter for parameter in self.lm.parameters() if parameter.requires_grad]
        self.optimizer = optimizer_class(trained, lr=lr_schedule(1), **optimizer_kwargs)  # type: ignore[call-arg]

    def forward(  # type: ignore[override]
        self, obs: Observation, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the next token for every row: actions (B,), values (B, 1), log-probs (B,)."""
        log_dist, values = self._next(obs, action_masks)
        actions = self._draw(obs, log_dist, deterministic)
        return actions, values, log_dist.gather(-1, actions[:, None]).squeeze(-1)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Observation, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (n, 1), log-probs (n,) and entropies (n,) of n transitions, with gradient.

        Transitions of one episode are read together, in one forward pass of its longest text.
        """
        texts = join_transitions(obs["tokens"], obs["attention_mask"], actions, self.action_space.max_prompt_tokens)
        shape = (len(texts.tokens), texts.num_response, self.lm.vocab_size)
        allowed = None
        if action_masks is not None:
            allowed = torch.ones(shape, dtype=torch.bool, device=self.device)
            allowed[texts.text, texts.column] = self._as_masks(action_masks)
        result = self.lm.evaluate_actions(
            texts.tokens, texts.mask, texts.num_response, prompt_of=texts.prompt_of, allowed=allowed
        )
        assert result.values is not None
        assert result.entropy is not None
        places = (texts.text, texts.column)
        return result.values[places][:, None], result.log_probs[places], result.entropy[places]

    def predict_values(self, obs: Observation) -> Tensor:  # type: ignore[override]
        """Values (B, 1) of observations."""
        return self._next(obs, None)[1]

    def get_distribution(self, obs: Observation, action_masks: Any = None) -> CategoricalDistribution:  # type: ignore[override]
        """The distribution of the next token."""
        return CategoricalDistribution(self.lm.vocab_size).proba_distribution(self._next(obs, action_masks)[0])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the language model as a plain Hugging Face folder, or its adapter: safetensors, JSON, tokenizer."""
        self.lm.language_model.save(folder)

    def _predict(  # type: ignore[override]
        self, observation: Observation, deterministic: bool = False, action_masks: Any = None
    ) -> Tensor:
        return self.forward(observation, deterministic, action_masks)[0]

    def _next(self, obs: Observation, action_masks: Any) -> tuple[Tensor, Tensor]:
        """Log-probs (B, V) of the next tokens, and values (B, 1)."""
        if not (isinstance(obs, dict) and "tokens" in obs and not obs["tokens"].is_floating_point()):
            raise InputError(
                "A wrapper changes the observation, which must stay tokens; VecNormalize takes norm_obs=False."
            )
        log_dist, values = self.lm.next_distribution(obs)
        assert values is not None
        if action_masks is not None:
            log_dist = restrict(log_dist, self._as_masks(action_masks))
        return log_dist, values[:, None]

    def _draw(self, obs: Observation, log_dist: Tensor, deterministic: bool) -> Tensor:
        """Choose, and publish the choice for the environment."""
        if deterministic:
            hand_over(None)
            return log_dist.argmax(-1)
        hand_over(Choice(obs["tokens"], log_dist))
        return sample(log_dist, torch.rand(len(log_dist), device=log_dist.device))

    def _as_masks(self, action_masks: Any) -> Tensor:
        """Masks as stable-baselines3-contrib gives them, as (B, V) bool."""
        return torch.as_tensor(action_masks, device=self.device).bool().reshape(-1, self.lm.vocab_size)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            **self._lora,
        }
