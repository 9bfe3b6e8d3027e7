"""Writing text as a Markov decision process, for B rows at once and without Gymnasium.

    state       prompt tokens x and the response so far y_<t
    action      the next token y_t, one of V (the tokenizer's size)
    end         EOS (any that the model has), a stop string, or the budget ``max_new_tokens``; all are terminal
    reward      β log π_ref(y_t | x, y_<t) + [t = T] score(x, y)

That is the environment's own part of r_t = -β (log π - log π_ref) + [t = T] score. The rest, -β log π, belongs to the
policy and is added by ``policy_kl.PolicyTerm``; nothing here knows a policy.

Notation: B rows, P = ``max_prompt_tokens``, R = ``max_new_tokens``, L = P + R, V usable vocabulary. KL is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.error import InvalidAction, ResetNeeded
from numpy.typing import NDArray
from torch import Tensor

from ..data.prompting import AnyTemplate, Usual, resolve_template
from ..data.prompts import PromptSet, resolve_prompts
from ..errors import InputError, nearest
from ..models.distribution import Decoding, log_distribution
from ..models.language_model import LanguageModel
from ..models.placing import DTYPES, dtype_named
from ..models.response_text import ResponseText
from ..models.stepper import make_stepper
from ..numbers import is_number, plain
from ..rewards.kl import estimator
from ..rewards.reward import Reward, resolve_reward
from .episode import Episode
from .prompt_source import Prompt, PromptBatch, PromptSampler, PromptSource
from .scoring import Scores, score_responses
from .start import load_models

Observation = dict[str, NDArray[Any]]
RESET_OPTIONS = ("prompt", "index")


class TokenMDP:
    """B rows of the MDP: prompts, the frozen reference (log π_ref at every step), and the reward (paid at T).

    Args:
        num_rows: B.
        model: a language model, its folder, or its hub id; None = the embedded fine-tuned model. It provides the
            vocabulary, and the start weights of an agent's ``"default"`` policy.
        reference: the π_ref of the KL, likewise; it is frozen. None = a frozen copy of ``model``.
        reward: anything ``resolve_reward`` accepts; None = the embedded preference model.
        prompts: a file or hub id, a ``PromptSet``, a list of texts or of dicts; None = the embedded posts.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        template: the text around a prompt, with ``{prompt}`` in it, or ``"chat"``: the tokenizer's own chat template.
            None = that the model was trained with, as its folder says; else ``"chat"`` if the tokenizer has one, else
            ``"{prompt}\\n\\nTL;DR:"``. A conversation goes through a chat template whole.
        system_prompt: the system message of a chat template, before prompts without one; None = whatever the template
            does itself.
        instruction: the text around a prompt in the user's message of a chat template, with ``{prompt}`` in it;
            conversations bring their own. None = to summarize in one sentence.
        kl_coef: β. A new value applies to episodes that begin after it is set.
        kl_estimator: ``"k1"``, ``"k2"``, ``"k3"`` or ``"exact"``; what a policy pays. Without a policy it is k1 with
            log π = 0. Only with k1 is the policy gradient of the reward the gradient of the objective: the others
            depend on the policy where the reward is paid. ``"exact"`` becomes right, with less noise than k1, if the
            agent's loss has the same amount of it (``kl_loss_coef`` = β, ``kl_loss_estimator="exact"``).
        max_prompt_tokens: P; a longer prompt is cut and counted.
        max_new_tokens: R.
        missing_eos_penalty: subtracted from the score of a response ended by the budget.
        stop_strings: texts, any of which ends a response that contains it. The score is that of the text before it.
        keep_special_tokens: special tokens, such as ``["<think>", "</think>"]``, that stay in the text that rewards
            and judges receive, and in ``info["response"]``; all others are left out.
        temperature: of both π and π_ref.
        mask_top_k: ``action_masks`` allows the k likeliest tokens of the reference; 0 = all.
        mask_top_p: ``action_masks`` allows the reference's likeliest tokens up to mass p; 1 = all.
        device: for models that are loaded by name.
        dtype: how the weights of the reference and of preference models that are loaded here are stored: ``"fp32"``,
            ``"bf16"`` or ``"fp16"``; those of ``model``, from which training starts, are fp32.
        check_model: whether a model that is loaded here reads a few short texts, whose numbers must be those of a
            plain forward pass; see ``prefgym.check_model``.

    Raises:
        InputError: an argument out of its range, or a budget that does not fit the model's context.
    """

    def __init__(
        self,
        num_rows: int = 1,
        *,
        model: str | Path | LanguageModel | None = None,
        reference: str | Path | LanguageModel | None = None,
        reward: Any = None,
        prompts: str | Path | PromptSet | Sequence[str] | Sequence[Mapping[str, Any]] | None = None,
        split: str = "train",
        template: str | AnyTemplate | Usual | None = None,
        system_prompt: str | None = None,
        instruction: str | None = None,
        kl_coef: float = 0.05,
        kl_estimator: str = "k1",
        max_prompt_tokens: int = 192,
        max_new_tokens: int = 48,
        missing_eos_penalty: float = 1.0,
        stop_strings: Sequence[str] | None = None,
        keep_special_tokens: Sequence[str] | None = None,
        temperature: float = 1.0,
        mask_top_k: int = 0,
        mask_top_p: float = 1.0,
        device: str = "cpu",
        dtype: str | torch.dtype = "fp32",
        check_model: bool = True,
    ) -> None:
        num_rows = int(_number("num_envs", num_rows, 1, integer=True))
        max_new_tokens = int(_number("max_new_tokens", max_new_tokens, 1, integer=True))
        max_prompt_tokens = int(_number("max_prompt_tokens", max_prompt_tokens, 1, integer=True))
        missing_eos_penalty = _number("missing_eos_penalty", missing_eos_penalty, 0)
        temperature, mask_top_p = plain(temperature), plain(mask_top_p)
        if not (is_number(temperature) and temperature > 0):
            raise InputError(f"temperature must be a finite number above 0, not {temperature!r}.")
        mask_top_k = int(_number("mask_top_k", mask_top_k, 0, integer=True))
        if not (is_number(mask_top_p) and 0 < mask_top_p <= 1):
            raise InputError(f"mask_top_p must be in (0, 1], not {mask_top_p!r}.")
        estimator(kl_estimator)
        self.num_rows, self.kl_estimator, self.kl_coef = num_rows, kl_estimator, kl_coef
        self.max_prompt_tokens, self.max_new_tokens = max_prompt_tokens, max_new_tokens
        self.length = max_prompt_tokens + max_new_tokens  # L
        self.missing_eos_penalty, self.temperature = float(missing_eos_penalty), float(temperature)
        self.decoding = Decoding(temperature=self.temperature)
        self._masking = Decoding(self.temperature, top_k=mask_top_k, top_p=float(mask_top_p))
        stored = dtype_named(dtype, device)
        self.dtype = next(name for name, kind in DTYPES.items() if kind == stored)
        self.language_model, self.reference = load_models(model, reference, device, stored, check_model)
        self.template = resolve_template(
            template,
            self.language_model.tokenizer,
            stored=self.language_model.prompting,
            system_prompt=system_prompt,
            instruction=instruction,
            name=self.language_model.name,
        )
        self.vocab_size = self.language_model.vocab_size  # V
        self.eos_token_id, self.pad_token_id = self.language_model.eos_token_id, self.language_model.pad_token_id
        self.eos_token_ids = self.language_model.eos_token_ids  # any of which ends an episode
        self.response_text = ResponseText(self.language_model, stop_strings, keep_special_tokens)
        for each in (self.language_model, self.reference):
            if not each.fits(max_prompt_tokens, max_new_tokens):
                raise InputError(
                    f"max_prompt_tokens={max_prompt_tokens} plus max_new_tokens={max_new_tokens} does not fit the "
                    f"{each.context_length} tokens of context of {each.name}{each.context_of}; lower one of them."
                )
        self.reward: Reward = resolve_reward(reward, device=device, dtype=stored)
        self.prompts = resolve_prompts(prompts, split)
        self.source = PromptSource(
            self.prompts, self.template, self.language_model.encode_prompt, max_prompt_tokens, self.pad_token_id
        )
        self.reward.check_columns(self.prompts[0])
        self.samplers = [PromptSampler(len(self.prompts)) for _ in range(num_rows)]

        self._stepper = make_stepper(self.reference.model, max_prompt_tokens)
        self._tokens = np.full((num_rows, self.length), self.pad_token_id, dtype=np.int64)  # (B, L)
        self._mask = np.zeros((num_rows, self.length), dtype=np.int8)  # (B, L)
        self._mask[:, max_prompt_tokens - 1] = 1  # no model can read an empty row, even one that has not begun
        self.episodes: list[Episode | None] = [None] * num_rows

    @property
    def stop_strings(self) -> list[str] | None:
        """Texts that end a response."""
        return self.response_text.stop_strings

    @property
    def keep_special_tokens(self) -> list[str] | None:
        """Special tokens that stay in the text of a response."""
        return self.response_text.keep_special_tokens

    @property
    def kl_coef(self) -> float:
        """β."""
        return self._kl_coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._kl_coef = float(_number("kl_coef", value, 0))

    def observation(self) -> Observation:
        """A fresh copy of ``tokens`` (B, L) int64 and ``attention_mask`` (B, L) int8.

        The prompt ends at column P, where the response begins.
        """
        return {"tokens": self._tokens.copy(), "attention_mask": self._mask.copy()}

    def reset(self, row: int, generator: np.random.Generator, options: Mapping[str, Any] | None = None) -> None:
        """Begin a new episode in ``row``: at ``options["prompt"]``, at ``options["index"]``, or at the sampler's next.

        Raises:
            InputError: an unknown option, both options, an empty prompt, no such index, or a reward that needs a column
                missing from a prompt given by hand.
        """
        prompt = self._first_state(row, generator, options or {})
        self.reward.check_columns(prompt.row)
        end = self.max_prompt_tokens
        self._tokens[row], self._mask[row] = self.pad_token_id, 0
        self._tokens[row, end - len(prompt.ids) : end] = prompt.ids
        self._mask[row, end - len(prompt.ids) : end] = 1
        self.episodes[row] = Episode(prompt, self.kl_coef)

    def step(self, actions: Sequence[int] | NDArray[Any], rows: Sequence[int]) -> dict[int, tuple[float, bool, dict]]:
        """Append ``actions[row]`` in each of ``rows``; leave the others unchanged.

        Args:
            actions: (B,) tokens; entries outside ``rows`` are ignored.
            rows: the rows to step.

        Returns:
            row -> (reward, terminated, info).

        Raises:
            InvalidAction: an action outside 0 to V - 1.
            ResetNeeded: a row that has not begun or has ended.
        """
        for row in rows:
            self._check_step(row, actions[row])
        if not rows:
            return {}
        ref_log_dist = self._reference_log_distribution(self.decoding)  # (B, V)
        for row in rows:
            self._append(row, int(actions[row]), float(ref_log_dist[row, int(actions[row])]))
        final_infos = self._finish([row for row in rows if self._episode(row).finish_reason])
        results = {}
        for row in rows:
            episode = self._episode(row)
            info: dict[str, Any] = {"ref_log_prob": episode.ref_log_probs[-1], "kl_coef": episode.kl_coef}
            if self.kl_estimator == "exact":
                info["ref_log_probs"] = ref_log_dist[row].copy()
            info |= final_infos.get(row, {})
            results[row] = (episode.rewards[-1], row in final_infos, info)
        return results

    @property
    def masks_actions(self) -> bool:
        """Whether ``action_masks`` may leave a token out."""
        return self._masking.top_k > 0 or self._masking.top_p < 1.0

    def action_masks(self) -> NDArray[np.bool_]:
        """Which next tokens are worth considering, (B, V): the top-k and top-p of the frozen reference.

        As in NLPO (Ramamurthy et al. 2022, "Is Reinforcement Learning (Not) for Natural Language Processing?"), with
        the reference instead of a lagging copy of the policy, so that the mask never moves. The likeliest token is
        always allowed.

        A mask is advice: every action stays legal and gets a finite reward, so log π_ref is that of the full reference.
        A policy π restricted to the mask, like ``MaskablePPO``'s, pays its KL to the full reference:

            KL(π ‖ π_ref) = KL(π ‖ π_ref restricted likewise) + E_π[Σ_t -log Z(s_t)]

        where Z(s) is the reference's total probability of the allowed tokens. So such a policy does not start at KL 0,
        and it is drawn slightly towards states where the mask excludes little. The agents of this package sample from
        the full distribution and refuse an environment with a mask.
        """
        if not self.masks_actions:
            return np.ones((self.num_rows, self.vocab_size), dtype=np.bool_)
        return self._reference_log_distribution(self._masking) > -np.inf

    def score(self, batch: PromptBatch | Sequence[Prompt], tokens: Tensor, mask: Tensor) -> Scores:
        """The score of B responses: the [t = T] part of the reward, the same for a step and for a whole rollout.

        Args:
            batch: the B prompts.
            tokens: (B, R') response tokens, R' at most R.
            mask: (B, R') True = real token, the EOS included.

        Raises:
            RewardError: a reward raised, or returned NaN, inf or the wrong count.
        """
        prompts = batch.prompts if isinstance(batch, PromptBatch) else batch
        return score_responses(self.response_text, self.reward, self.missing_eos_penalty, prompts, tokens, mask)

    def close(self) -> None:
        """End every episode and forget the reference's cache."""
        self.episodes = [None] * self.num_rows
        self._stepper.reset()

    def _first_state(self, row: int, generator: np.random.Generator, options: Mapping[str, Any]) -> Prompt:
        for name in options:
            if name not in RESET_OPTIONS:
                raise InputError(f'reset has no option "{name}"; use prompt or index.{nearest(name, RESET_OPTIONS)}')
        if "prompt" in options and "index" in options:
            raise InputError('reset takes either the option "prompt" or the option "index", not both.')
        if "prompt" in options:
            return self.source.of(options["prompt"])
        if "index" in options:
            return self.source.at(options["index"])
        return self.source.at(self.samplers[row].draw(generator))

    def _check_step(self, row: int, action: Any) -> None:
        episode = self.episodes[row]
        if episode is None:
            raise ResetNeeded("There is no episode yet; call reset() before step().")
        if episode.finish_reason is not None:
            raise ResetNeeded(f"The episode has ended by {episode.finish_reason}; call reset() before the next step().")
        if not (np.issubdtype(np.asarray(action).dtype, np.integer) and 0 <= action < self.vocab_size):
            raise InvalidAction(f"Action {action!r} is not a token; use integers from 0 to {self.vocab_size - 1}.")

    def _episode(self, row: int) -> Episode:
        episode = self.episodes[row]
        assert episode is not None
        return episode

    @torch.no_grad()
    def _reference_log_distribution(self, decoding: Decoding) -> NDArray[np.float32]:
        """log π_ref of the next token of every row, (B, V)."""
        device = self.reference.device
        logits = self._stepper.next_logits(
            torch.from_numpy(self._tokens).to(device), torch.from_numpy(self._mask).to(device)
        )
        return log_distribution(logits, self.vocab_size, decoding).cpu().numpy()

    def _append(self, row: int, action: int, ref_log_prob: float) -> None:
        episode = self._episode(row)
        column = self.max_prompt_tokens + len(episode.response)
        self._tokens[row, column], self._mask[row, column] = action, 1
        episode.append(action, ref_log_prob)
        if action in self.eos_token_ids:
            episode.finish_reason = "eos"
        elif self.response_text.stop_strings and self.response_text.read(episode.response)[1] == "stop":
            episode.finish_reason = "stop"
        elif len(episode.response) == self.max_new_tokens:
            episode.finish_reason = "length"

    def _finish(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Score the rows that ended, in one batch, and pay them; row -> entries of the last info."""
        if not rows:
            return {}
        episodes = [self._episode(row) for row in rows]
        tokens = torch.from_numpy(self._tokens[rows, self.max_prompt_tokens :])
        mask = torch.from_numpy(self._mask[rows, self.max_prompt_tokens :])
        scores = self.score([episode.prompt for episode in episodes], tokens, mask)
        return {
            row: episode.finish(scores, place) for place, (row, episode) in enumerate(zip(rows, episodes, strict=True))
        }


def _number(name: str, value: Any, least: int, integer: bool = False) -> int | float:
    """A number that a user gave, as a Python number of at least ``least``."""
    value, kind = plain(value), "an integer" if integer else "a finite number"
    if not is_number(value) or value < least or (integer and value != int(value)):
        raise InputError(f"{name} must be {kind} of at least {least}, not {value!r}.")
    return value
