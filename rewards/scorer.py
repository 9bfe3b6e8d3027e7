"""From the tokens of a text to one logit: running a sequence classifier, and initialising its head.

Text, shift and temperature are not known here; see ``preference_model.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import InputError
from ..models.accepts import taken
from ..models.padding import position_ids
from ..models.paths import Paths, paths_of
from ..models.plain import aligned, batches
from ..models.shared_prompt import first_rows, read_behind, shares_prompts


class Scorer(nn.Module):
    """Text tokens to one logit per row.

    A decoder (its head is the linear layer ``score``) is read at the last real token, determined by the mask and never
    by the padding id: an EOS that is also the padding token counts. Everything else pools as it was trained to.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.is_decoder = isinstance(getattr(model, "score", None), nn.Linear)
        self.takes_types = not self.is_decoder and getattr(model.config, "type_vocab_size", 0) > 1

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        prompt_of: Tensor | None = None,
        prompt_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return logits (B,) in fp32 of tokens (B, L) under a mask (B, L), 1 on real tokens.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, L).
            token_type_ids: (B, L), if the encoder takes them.
            prompt_of: (B,) int64 from 0 to G - 1, which of the batch's G prompts a row begins with. With
                ``prompt_lengths`` (B,), a decoder reads each prompt once; rows are then padded on the right.
            prompt_lengths: (B,) int64, fewer than the row's real tokens.
        """
        if not self.is_decoder:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits[:, 0].float()
        if (
            prompt_of is not None
            and prompt_lengths is not None
            and shares_prompts(self.model.base_model, input_ids.shape[1])
        ):
            last = self._last_hidden_shared(input_ids, attention_mask, prompt_of, prompt_lengths)
        else:
            last = self._last_hidden(input_ids, attention_mask)
        assert isinstance(self.model.score, nn.Linear)
        return self.model.score(last)[:, 0].float()

    def _last_hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, d) at the last real token."""
        paths = paths_of(self.model.base_model, input_ids.shape[1])
        rows = list(batches(paths, attention_mask.sum(dim=1)))
        if len(rows) > 1:
            input_ids, attention_mask = aligned(input_ids, attention_mask)
            last = torch.cat([self._read(paths, input_ids[some], attention_mask[some]) for some in rows])
            return last[torch.cat(rows).argsort()]
        return self._read(paths, input_ids, attention_mask)

    def _read(self, paths: Paths, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(n, d) of rows that may be read together."""
        options = taken(self.model.base_model, use_cache=False)
        if paths.positions is not None:
            options |= taken(self.model.base_model, position_ids=position_ids(attention_mask) + paths.positions)
        if paths.batch in ("left", "right"):
            options["attention_mask"] = attention_mask
        else:
            width = int(attention_mask.sum(dim=1).max())
            input_ids, attention_mask = input_ids[:, :width], attention_mask[:, :width]
        hidden = self.model.base_model(input_ids=input_ids, **options).last_hidden_state  # (n, L, d)
        last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)  # (n,)
        return hidden[torch.arange(len(last), device=last.device), last]

    def _last_hidden_shared(
        self, input_ids: Tensor, attention_mask: Tensor, prompt_of: Tensor, prompt_lengths: Tensor
    ) -> Tensor:
        """The same, with each prompt read once: rows are cut into G prompts and B responses."""
        first, rows = first_rows(prompt_of), torch.arange(len(prompt_of), device=prompt_of.device)
        width = int(prompt_lengths.max())
        columns = torch.arange(width, device=rows.device) - width + prompt_lengths[first, None]  # (G, P), < 0: padding
        lengths = attention_mask.sum(dim=1) - prompt_lengths  # (B,) of the responses, EOS included
        behind = torch.arange(int(lengths.max()), device=rows.device)
        places = (prompt_lengths[:, None] + behind).clamp(max=input_ids.shape[1] - 1)  # (B, R)
        outputs, slots = read_behind(
            self.model.base_model,
            input_ids[first].gather(1, columns.clamp(min=0)),
            (columns >= 0).long(),
            prompt_of,
            input_ids.gather(1, places),
            (behind < lengths[:, None]).long(),
        )
        hidden = torch.cat([output.last_hidden_state.flatten(0, 1) for output in outputs])  # (T, d)
        return hidden.index_select(0, slots.place[rows, lengths - 1])


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
