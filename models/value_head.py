"""Values of states, read from the policy's trunk or from a separate one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers import PreTrainedModel

from .head import head_of, head_width

if TYPE_CHECKING:
    from .language_model import LanguageModel


class ValueHead(nn.Module):
    """A linear map from the trunk's last hidden state to the value of the state: (..., d) -> (...).

    It starts at zero, so that before the first update every value is 0 and advantages are returns.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = _zero_linear(hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return values (...) in fp32 for hidden states (..., d) of any float type."""
        return self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)


def value_model(language_model: LanguageModel) -> PreTrainedModel:
    """Return a copy of a language model whose one "logit" is the value of the state, 0 everywhere at first."""
    model = language_model.copy().model
    model.config.tie_word_embeddings = False
    head = head_of(model)
    value = _zero_linear(head_width(model)).to(model.device, model.dtype)
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if part is head:
                setattr(parent, name, value)
    return model


def _zero_linear(hidden_size: int) -> nn.Linear:
    linear = nn.Linear(hidden_size, 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
