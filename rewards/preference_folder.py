"""The folder of a preference model: the classifier, the facts beside it, and the padding that others read it by."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from ..models.folder import check_finite, check_folder, check_forward, load_tokenizer, loading, quiet
from ..typed_json import read_object
from .scorer import is_decoder

FACTS_FILE = "preference.json"
_NUMBERS = {"shift": float, "temperature": float}
_FURTHER = {
    "max_length": int | None,
    "facts": dict[str, object] | None,
    "skipped_token_id": int | None,
    "chat": bool | None,
    "types": bool | None,
}


def read_classifier(
    folder: Path, name: str, dtype: torch.dtype = torch.float32, **config: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """Return model, tokenizer and the names of the weights that the folder lacks."""
    check_folder(folder, name)
    with quiet():
        with loading(f'The model in "{name}"'):
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **config,
            )
        tokenizer = load_tokenizer(folder, name)
        if is_decoder(model):
            model.score.float()  # scores would else be rounded to two or three digits
        check_forward(model, name)
    check_finite(((key, tensor) for key, tensor in model.named_parameters() if key not in report["missing_keys"]), name)
    return model, tokenizer, sorted(report["missing_keys"])


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in a file as arguments of ``PreferenceModel``; none where there is no file."""
    if not path.is_file():
        return {}
    facts = read_object(path, _NUMBERS, _FURTHER, step="restore it, or train the preference model again")
    facts["chat"] = bool(facts["chat"])  # earlier versions wrote none, and read texts alone
    facts["types"] = facts["types"] is not False  # earlier versions always gave them
    return {key: facts[key] for key in (*_NUMBERS, *_FURTHER)}


def told_beside(folder: Path, model: PreTrainedModel) -> dict[str, Any]:
    """What stands beside the weights, as arguments of :class:`PreferenceModel`; of a folder made elsewhere too."""
    own = {"skipped_token_id": model.config.get_text_config().pad_token_id}
    elsewhere: dict[str, Any] = own if is_decoder(model) else {"types": False}
    return read_facts(folder / FACTS_FILE) or elsewhere


def tokenizer_to_save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, skipped_token_id: int | None
) -> PreTrainedTokenizerBase:
    """The tokenizer to save, with the configuration of a decoder set to its padding.

    transformers reads a decoder's score at the last token that is not the padding id. So padding is a token at which no
    text ends; where the tokenizer has none but EOS there is none, and transformers reads one text at a time.
    """
    if not is_decoder(model):
        return tokenizer
    config = model.config.get_text_config()
    if skipped_token_id is not None:
        config.pad_token_id = skipped_token_id
        return tokenizer
    names = ("pad_token", "unk_token", "bos_token")
    kept = [name for name in names if getattr(tokenizer, f"{name}_id") not in (None, tokenizer.eos_token_id)]
    config.pad_token_id = getattr(tokenizer, f"{kept[0]}_id") if kept else None
    if kept and kept[0] != "pad_token":
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = getattr(tokenizer, kept[0])
    return tokenizer
