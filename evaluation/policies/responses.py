"""The settings by which all compared policies write, and what they wrote.

Shapes: N responses, R response columns (right padded). Every mask is True on real tokens, KL in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.prompting import AnyTemplate
from ...data.templates import SUMMARIZE
from ...envs.prompt_source import Prompt
from ...numbers import plain


@dataclass(frozen=True)
class DecodeSettings:
    """Settings shared by all compared policies.

    template: the text around a prompt.
    max_prompt_tokens: a longer prompt is cut, as the environment cuts it.
    max_new_tokens: the response budget, EOS included.
    temperature: of the policies compared, and of the reference; the one used in training.
    stop_strings: texts that end a response, as in the environment.
    keep_special_tokens: special tokens that stay in texts, likewise.
    batch_size: sampled responses written at once; prompts of similar length go together.
    """

    template: AnyTemplate = SUMMARIZE
    max_prompt_tokens: int = 192
    max_new_tokens: int = 48
    temperature: float = 1.0
    batch_size: int = 64
    stop_strings: Sequence[str] | None = None
    keep_special_tokens: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))


@dataclass(frozen=True)
class Responses:
    """N responses of one policy, in the order of their prompts.

    texts: N texts, as ``ResponseText`` reads them: without special tokens, up to the first stop string.
    prompts: N prompts as the policy read them.
    tokens: (N, R) int64; EOS is the last real token of a response that ended.
    mask: (N, R) bool.
    ended: (N,) bool, whether EOS was written within the budget.
    stopped: (N,) bool, whether a stop string ended the response; ``None`` where there are none.
    log_probs: (N, R) log π of the distribution sampled from; for greedy responses, of the one maximised.
    ref_log_probs: (N, R) log π_ref at the settings' temperature, or ``None`` without a reference. Both 0 on padding.
    """

    texts: list[str]
    prompts: list[Prompt]
    tokens: Tensor
    mask: Tensor
    ended: NDArray[np.bool_]
    log_probs: Tensor
    ref_log_probs: Tensor | None = None
    stopped: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each text, not counting EOS."""
        return self.mask.sum(1).numpy() - self.ended

    @property
    def cut_off(self) -> NDArray[np.bool_]:
        """(N,) whether the budget ended the response."""
        return ~self.ended if self.stopped is None else ~(self.ended | self.stopped)

    @property
    def kl(self) -> NDArray[np.float64] | None:
        """(N,) Σ_t log π(y_t) - log π_ref(y_t), or ``None`` without a reference.

        For sampled responses the mean estimates KL(π ‖ π_ref) per response, with π as it was sampled: a lower
        temperature costs KL too. For greedy ones it is the log-ratio of the greedy response, not an estimate of the KL.
        """
        if self.ref_log_probs is None:
            return None
        return (self.log_probs - self.ref_log_probs).sum(1).double().numpy()

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Responses:
        """The responses in some rows."""
        index = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        ref_log_probs = None if self.ref_log_probs is None else self.ref_log_probs[index]
        return Responses(
            [self.texts[i] for i in index],
            [self.prompts[i] for i in index],
            self.tokens[index],
            self.mask[index],
            self.ended[index.numpy()],
            self.log_probs[index],
            ref_log_probs,
            None if self.stopped is None else self.stopped[index.numpy()],
        )
