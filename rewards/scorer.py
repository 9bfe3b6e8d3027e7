"""From the tokens of a text to one logit: reading a sequence classifier, and drawing its head.

Nothing here knows text, shift or temperature; see ``preference_model.py``.
"""

from __future__ import annotations

import inspect
import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import InputError
from ..models.forward import position_ids


class Scorer(nn.Module):
    """Text tokens to one logit per row.

    A decoder (its head is the linear layer ``score``) is read at the last real token, which the mask names and never
    the id of padding: an EOS that is also the padding token counts. Everything else pools as it was trained to.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.is_decoder = isinstance(getattr(model, "score", None), nn.Linear)
        self.takes_types = not self.is_decoder and getattr(model.config, "type_vocab_size", 0) > 1
        self.takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return logits (B,) in fp32 of tokens (B, L) under a mask (B, L), 1 on real tokens."""
        if not self.is_decoder:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits[:, 0].float()
        positions = {"position_ids": position_ids(attention_mask)} if self.takes_positions else {}
        hidden = self.model.base_model(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **positions
        ).last_hidden_state  # (B, L, d)
        last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)  # (B,)
        assert isinstance(self.model.score, nn.Linear)
        return self.model.score(hidden[torch.arange(len(last), device=last.device), last])[:, 0].float()


def init_head(model: PreTrainedModel, seed: int = 0) -> None:
    """Draw the output layer from N(0, 1/(d+1)), bias 0 (Stiennon et al. 2020, appendix C)."""
    trunk = {id(module) for module in model.base_model.modules()}
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 1 and id(m) not in trunk]
    if not heads:
        raise InputError(f"{type(model).__name__} has no linear output layer with one output.")
    head = heads[-1]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        draw = torch.randn(head.weight.shape, generator=generator) / math.sqrt(head.in_features + 1)
        head.weight.copy_(draw)
        if head.bias is not None:
            head.bias.zero_()
