"""What an adapter's folder holds beside low-rank matrices: a tokenizer of its own, added tokens, whole weights.

``peft`` saves whole weights for ``modules_to_save``, for single rows of the embeddings (``trainable_token_indices``),
and for embeddings that grew with the tokenizer. A model with them is always a copy: the base stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..errors import InputError
from .folder import load_tokenizer
from .language_model import LanguageModel

_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_PLAIN = (nn.Embedding, nn.Linear, type(None))
_PREFIX = "base_model.model."
_SPECIAL = ("eos_token_id", "bos_token_id", "pad_token_id", "chat_template", "padding_side")


def tokenizer_of(folder: Path, base: LanguageModel) -> PreTrainedTokenizerBase:
    """The adapter's own tokenizer if it has one, else its base's; the base's too where both are the same."""
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return base.tokenizer
    own = load_tokenizer(folder, str(folder))
    same = own.get_vocab() == base.tokenizer.get_vocab()
    same = same and all(getattr(own, name) == getattr(base.tokenizer, name) for name in _SPECIAL)
    return base.tokenizer if same else own


def whole_weights(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those tensors that are no low-rank matrices."""
    return [key for key in tensors if "lora_" not in key]


def is_repeated(key: str) -> bool:
    """Whether ``peft`` writes this tensor a second time where embeddings grew, under its own or a tied layer's name."""
    return ".modules_to_save." in key or ".token_adapter." in key


def with_room(
    base: LanguageModel, tokenizer: PreTrainedTokenizerBase, tensors: Mapping[str, Tensor], config: Any, folder: Path
) -> LanguageModel:
    """A copy of the base, with as many embedding rows as the adapter's file has or its tokenizer needs.

    Raises:
        InputError: a row that the base lacks has no weights in the adapter's file.
    """
    vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
    embeddings = _embeddings(base.model)
    rows = _num_rows(base)
    saved = {name: len(tensors[key]) for name in embeddings if (key := _key_of(name, tensors))}
    if len(set(saved.values())) > 1:
        raise InputError(f'The adapter in "{folder}" has embeddings of {saved} rows; save it again with one tokenizer.')
    wanted = max([*saved.values(), 0]) or max(rows, vocab_size)
    for name in embeddings:
        lacking = set(range(rows, vocab_size)) - _single_rows(config, name, embeddings, base.model)
        if lacking and name not in saved:
            raise InputError(
                f'The tokenizer of the adapter in "{folder}" has {len(lacking)} tokens more than its base model '
                f'"{base.name}", and the adapter has no weights for them in {name}; save it again with '
                "save_embedding_layers=True."
            )
    grown = LanguageModel(base.copy().model, base.tokenizer, base.name)
    if wanted != rows:
        with torch.random.fork_rng(devices=[]):
            grown.model.resize_token_embeddings(wanted, mean_resizing=False)  # the adapter has all new rows
    return grown


def untie_where_adapted(model: Any) -> None:
    """Give the head weights of its own if it shares them with embeddings of which one has an adapter.

    Merging adds to weights in place, and so would change the other one too, which ``peft`` computes without.
    """
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    if all(isinstance(layer, _PLAIN) for layer in layers):
        return
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in seen:
                setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad))
            seen.add(id(parameter))


def tie_where_equal(model: Any) -> None:
    """Let head and embeddings share their weights again where they should and can; else the configuration says no."""
    config, first, head = model.config, model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is first.weight or not config.tie_word_embeddings:
        return
    if torch.equal(head.weight, first.weight):
        head.weight = first.weight
    else:
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False


def _embeddings(model: Any) -> list[str]:
    """The names of the embeddings, and of the head if its weights are others."""
    first, head = model.get_input_embeddings(), model.get_output_embeddings()
    modules = [first, *([head] if head is not None and head.weight is not first.weight else [])]
    names: dict[int, str] = {id(module): name for name, module in reversed(list(model.named_modules()))}
    return [names[id(module)] for module in modules]


def _key_of(name: str, tensors: Mapping[str, Tensor]) -> str | None:
    keys = (f"{_PREFIX}{name}.weight", f"{_PREFIX}{name}.base_layer.weight")
    return next((key for key in keys if key in tensors), None)


def _single_rows(config: Any, name: str, embeddings: list[str], model: nn.Module) -> set[int]:
    """The rows of one layer that ``trainable_token_indices`` names; a plain list is of the input embeddings."""
    given = config.trainable_token_indices or {}
    if not isinstance(given, dict):
        return set(given) if name == embeddings[0] else set()
    return {row for suffix, rows in given.items() if f".{name}".endswith(f".{suffix}") for row in rows}


def _num_rows(base: LanguageModel) -> int:
    embeddings: Any = base.model.get_input_embeddings()
    return int(embeddings.weight.shape[0])
