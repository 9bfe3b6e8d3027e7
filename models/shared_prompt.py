"""Reading a prompt once for all the responses to it, with gradients.

A decoder's keys and values of the prompt do not depend on what follows. They are computed once and then precede every
response; autograd sums the gradients from the responses. Beyond its keys and values, the last layer's output for a
prompt is not used, and not computed. Notation: G prompts of P columns (left padded), N texts of R columns (right
padded), g rows of W slots in a chunk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import InputError
from .accepts import taken
from .attention import additive_mask
from .encoder_decoder import is_encoder_decoder
from .head import unchanged
from .layout import Chunk, Slots, lay_out, slots_of
from .padding import position_ids
from .paths import first_position, paths_of


def read_behind(
    model: nn.Module, prompts: Tensor, prompt_mask: Tensor, prompt_of: Tensor, texts: Tensor, mask: Tensor
) -> tuple[list[Any], Slots]:
    """Read N texts, each after one of G prompts, with each prompt read once and almost no padding.

    Args:
        model: a decoder, with or without head. Dropout, if on, is drawn once per prompt.
        prompts: (G, P) int64, padded on the left, so that prompt and text are contiguous.
        prompt_mask: (G, P), 1 on real tokens.
        prompt_of: (N,) int64, which prompt comes before a text.
        texts: (N, R) int64, padded on the right, with at least one real token each.
        mask: (N, R), 1 on real tokens.

    Returns:
        The model's outputs on the texts, one for each chunk of :func:`prefgym.models.layout.lay_out`, and the slots.
    """
    kept = PromptCache()
    kept.read(model, prompts, prompt_mask)
    columns = prompts.shape[1]
    chunks = lay_out_for(model, "together", prompt_of, mask.sum(dim=1), columns)
    return [read_chunk(model, kept, prompt_mask, texts, chunk) for chunk in chunks], slots_of(chunks, mask.bool())


def lay_out_for(
    model: nn.Module, path: Literal["together", "packed"], prompt_of: Tensor, lengths: Tensor, columns: int = 0
) -> list[Chunk]:
    """Lay texts out for a model: several in a row only as far as that path serves it."""
    cost = pair_cost(model)
    chunks = lay_out(prompt_of, lengths, columns=columns, pair_cost=cost)
    most = max(columns + chunk.text.shape[1] for chunk in chunks)
    if all(chunk.single for chunk in chunks) or getattr(paths_of(model, most), path):
        return chunks
    return lay_out(prompt_of, lengths, columns=columns, pair_cost=cost, together=False)


def read_chunk(model: nn.Module, kept: PromptCache, prompt_mask: Tensor, texts: Tensor, chunk: Chunk) -> Any:
    """Read one chunk of :func:`read_behind`, each row after its prompt."""
    seen, real = prompt_mask[chunk.prompts], chunk.text >= 0  # (g, P), (g, W)
    mask = torch.cat([seen, real.to(seen.dtype)], dim=1)
    return model(
        input_ids=texts[chunk.text.clamp(min=0), chunk.column],
        attention_mask=mask if chunk.single else packed_mask(seen, chunk, next(model.parameters()).dtype),
        position_ids=seen.sum(dim=1, keepdim=True) + chunk.column + first_position(model, mask.shape[1]),
        past_key_values=kept.before(chunk.prompts),
        use_cache=True,
    )


def packed_mask(seen: Tensor, chunk: Chunk, dtype: torch.dtype) -> Tensor:
    """(g, 1, W, P + W), to be added to attention scores: a slot sees its prompt and its own text up to itself.

    Args:
        seen: (g, P), 1 on real tokens of the prompts; P may be 0.
        chunk: the rows.
        dtype: that of the scores.
    """
    slots = torch.arange(chunk.text.shape[1], device=seen.device)
    own = (chunk.text[:, :, None] == chunk.text[:, None, :]) & (slots <= slots[:, None])  # (g, W, W)
    before = seen.bool()[:, None, :].expand(-1, len(slots), -1)
    return additive_mask(torch.cat([before, own], dim=-1), dtype)


def pair_cost(model: nn.Module) -> float:
    """Approximate cost of attention to one column, in tokens."""
    return 1 / float(getattr(_text_config(model), "hidden_size", None) or 1024)


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "module", model).config
    return config.get_text_config()


class _AllKept(Exception):
    """The last layer's keys and values are known; nothing after them is needed."""


class PromptCache(Cache):
    """The keys and values of G prompts, with their autograd graph."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_PromptLayer)
        self.last_layer: int | None = None

    def read(self, model: nn.Module, prompts: Tensor, prompt_mask: Tensor) -> None:
        """Read prompts (G, P), and stop once the last layer has its keys and values: the rest is not used."""
        replaced = [module.forward for module in model.modules() if "forward" in vars(module)]
        plain = not hasattr(model, "module") and all(forward is unchanged for forward in replaced)
        self.last_layer = _text_config(model).num_hidden_layers - 1 if plain else None
        with suppress(_AllKept):
            model(
                input_ids=prompts,
                attention_mask=prompt_mask,
                position_ids=position_ids(prompt_mask) + first_position(model, prompt_mask.shape[1]),
                past_key_values=self,
                use_cache=True,
                **taken(model, logits_to_keep=1),
            )

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep (G, H, P, D) states."""
        states = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self.last_layer:
            raise _AllKept
        return states

    def before(self, prompt_of: Tensor) -> Cache:
        """Return a cache in which they precede N rows, those of prompt ``prompt_of[i]`` before row i."""
        layers = [layer for layer in self.layers if isinstance(layer, _PromptLayer)]  # all of them
        assert layers[0].keys is not None
        repeats = _even_repeats(prompt_of, len(layers[0].keys))
        return Cache(layers=[_ResponseLayer(layer, prompt_of, repeats) for layer in layers])


class _Layer(CacheLayerMixin):
    """The common base: nothing changes when a recomputed layer writes to it again."""

    columns = 0  # of the prompts, before the query

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is allocated."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns attended to, and 0: the mask starts with the first."""
        return self.columns + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of columns before the query."""
        return self.columns

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


class _PromptLayer(_Layer):
    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keep (G, H, P, D) states the first time and attend to them."""
        if not self.is_initialized:
            self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


class _ResponseLayer(_Layer):
    def __init__(self, prompts: _PromptLayer, prompt_of: Tensor, repeats: int | None) -> None:
        super().__init__()
        assert prompts.keys is not None
        assert prompts.values is not None
        self.prompts, self.prompt_of, self.repeats = (prompts.keys, prompts.values), prompt_of, repeats
        self.columns = prompts.keys.shape[-2]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return the prompts' states followed by those (N, H, R, D) of the responses, which are not needed again."""
        keys, values = (
            torch.cat([self._rows(prompts), states], dim=-2)
            for prompts, states in zip(self.prompts, (key_states, value_states), strict=True)
        )
        return keys, values

    def _rows(self, states: Tensor) -> Tensor:
        """(G, H, P, D) -> (N, H, P, D)."""
        if self.repeats is None:
            return states.index_select(0, self.prompt_of)
        # the backward pass of a repetition is a sum, far cheaper than that of indexing rows
        return states.unsqueeze(1).expand(-1, self.repeats, -1, -1, -1).flatten(0, 1)


def _even_repeats(prompt_of: Tensor, num_prompts: int) -> int | None:
    """How many rows each prompt has, if all have the same number and are in prompt order; else None."""
    repeats, rest = divmod(len(prompt_of), num_prompts)
    even = torch.arange(len(prompt_of), device=prompt_of.device) // max(repeats, 1)
    return repeats if rest == 0 and torch.equal(prompt_of, even) else None


def shares_prompts(model: nn.Module, columns: int = 1) -> bool:
    """Whether prompts can be read once for all responses to them, in rows of up to so many columns.

    An encoder reads them separately anyway. Under transformers' own gradient checkpointing a decoder keeps no cache,
    which is why there is :func:`recomputing`.
    """
    return paths_of(model, columns).behind and (is_encoder_decoder(model) or not checkpoints(model))


def checkpoints(model: nn.Module) -> bool:
    """Whether transformers' gradient checkpointing is on; in train mode it then drops every cache silently."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@contextmanager
def recomputing(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """In forward passes made here, let layers store only their inputs and recompute the rest in the backward pass.

    Gradient checkpointing (Chen et al. 2016) that works with a shared prompt: a recomputed layer changes nothing in
    this module's caches.

    Raises:
        InputError: transformers cannot checkpoint the model's layers.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    if wanted and not layers:
        raise InputError(f"{type(model).__name__} has no layers that can be recomputed; keep their outputs.")
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def numbered(prompts: Sequence[Hashable]) -> Tensor:
    """Number the distinct prompts of B rows from 0, in the format of ``prompt_of``, (B,) int64.

    >>> numbered(["b", "a", "b"])
    tensor([0, 1, 0])
    """
    number = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    return torch.tensor([number[prompt] for prompt in prompts])


def first_rows(prompt_of: Tensor) -> Tensor:
    """Return the first row (G,) of each prompt: (B,) int64 with values 0 to G - 1.

    >>> first_rows(torch.tensor([1, 0, 0, 1, 2]))
    tensor([1, 0, 4])
    """
    rows = torch.arange(len(prompt_of), device=prompt_of.device)
    first = rows.new_full((int(prompt_of.max()) + 1,), len(prompt_of))
    return first.scatter_reduce(0, prompt_of, rows, "amin")
