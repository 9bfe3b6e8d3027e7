"""A causal language model with its tokenizer: loading, checking, copying, saving.

Only safetensors and JSON are read and written; pickle weights are refused, and no code of a model repository is run.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from ..errors import InputError, nearest

EMBEDDED = Path(__file__).parent / "embedded"
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


class LanguageModel:
    """A causal language model and its tokenizer, dropout off.

    Attributes:
        model: the transformers model.
        tokenizer: its tokenizer.
        name: what the user called it.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "model") -> None:
        """Check that the two belong together and switch dropout off.

        Raises:
            InputError: the vocabularies differ, or the tokenizer has no EOS token.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        _check_vocabulary(name, self.vocab_size, model.get_input_embeddings().weight.shape[0])
        if tokenizer.eos_token_id is None:
            raise InputError(
                f'The tokenizer of "{name}" has no EOS token, so a response could never end; set eos_token in its '
                "tokenizer_config.json."
            )
        disable_dropout(model)

    @classmethod
    def load(
        cls, name_or_path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> LanguageModel:
        """Load ``"embedded"`` (or ``"embedded/NAME"``), a model folder, or a Hugging Face hub id.

        Args:
            name_or_path: the model; ``"embedded"`` is ``"embedded/start"``.
            device: where the weights go.
            dtype: their type; the distribution is computed in fp32 whatever it is.

        Raises:
            InputError: the folder is missing, has no configuration, weights or tokenizer, has pickle weights only,
                is no causal language model, or its tokenizer has another vocabulary or no EOS token.
        """
        name = str(name_or_path)
        folder = _locate(name)
        check_folder(folder, name)
        with _quiet():
            model = _load_model(folder, name, dtype)
            tokenizer = _load_tokenizer(folder, name)
        return cls(model.to(device), tokenizer, name)

    @property
    def eos_token_id(self) -> int:
        """The token that ends a response."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_token_id(self) -> int:
        """The token that fills padding; EOS where the tokenizer has none. The mask decides what padding is."""
        pad = self.tokenizer.pad_token_id
        return self.eos_token_id if pad is None or pad >= self.vocab_size else int(pad)

    @property
    def context_length(self) -> int:
        """The most tokens the model can read; a very large number where it has no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return int(limit or self.tokenizer.model_max_length)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def num_parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def encode(self, text: str) -> list[int]:
        """Return the text's tokens, no special ones added."""
        return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def decode(self, tokens: Sequence[int] | torch.Tensor) -> str:
        """Return the text of tokens; special tokens are left out."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def copy(self) -> LanguageModel:
        """Return a model with weights of its own (the tokenizer is shared)."""
        model = copy.deepcopy(self.model)
        model.zero_grad(set_to_none=True)
        return LanguageModel(model, self.tokenizer, self.name)

    def freeze(self) -> LanguageModel:
        """Let no parameter take a gradient; return self."""
        self.model.requires_grad_(False)
        return self

    def checksum(self) -> str:
        """Return a SHA-256 over all parameters and their names: equal if and only if the weights are."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write a Hugging Face model folder (safetensors, JSON, tokenizer); files appear complete or not at all.

        ``AutoModelForCausalLM.from_pretrained(folder).generate(do_sample=False)`` then gives the same tokens as
        greedy decoding here.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.generation_config = GenerationConfig(
            bos_token_id=self.tokenizer.bos_token_id, eos_token_id=self.eos_token_id, pad_token_id=self.pad_token_id
        )
        temporary = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        try:
            self.model.save_pretrained(temporary)
            self.tokenizer.save_pretrained(temporary)
            # config.json last: a folder without it is not taken for a model
            for file in sorted(temporary.iterdir(), key=lambda file: file.name == "config.json"):
                os.replace(file, folder / file.name)
        finally:
            shutil.rmtree(temporary)


def embedded_path(name: str = "start") -> Path:
    """Return the packaged folder of an embedded model: ``"start"``, ``"pretrained"`` or ``"preference"``.

    Raises:
        InputError: there is no embedded model of that name.
    """
    available = sorted(path.parent.name for path in EMBEDDED.glob("*/config.json"))
    if name not in available:
        raise InputError(
            f'There is no embedded model "{name}"; there are {", ".join(available) or "none"} '
            f"(`prefgym build-assets` makes them).{nearest(name, available)}"
        )
    return EMBEDDED / name


def disable_dropout(module: nn.Module) -> None:
    """Set every dropout probability to 0, so that train and eval mode compute the same.

    Not by ``eval()``: in eval mode transformers skips gradient checkpointing. Models keep the probability in dropout
    modules, in their own attributes, or read it from their configuration on every forward; all three are set.
    """
    for part in module.modules():
        if isinstance(part, _DropoutNd):
            part.p = 0.0
        for holder in (part, getattr(part, "config", None)):
            for name, value in vars(holder).items() if holder is not None else ():
                if isinstance(value, float) and ("drop" in name):
                    setattr(holder, name, 0.0)


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder that is no model folder with safetensors weights, by an :class:`InputError` that says why."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            _refuse_pickle(folder, name, "adapter_model")
            raise InputError(
                f'"{name}" holds only an adapter; merge it into its base model (peft: merge_and_unload) and save that.'
            )
        raise InputError(f'"{name}" is not a model folder: it has no config.json.')
    if (folder / "adapter_config.json").is_file():
        _refuse_pickle(folder, name, "adapter_model")
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        _refuse_pickle(folder, name, "pytorch_model")
        raise InputError(f'The model folder "{name}" has no weights: model.safetensors is missing.')


def _refuse_pickle(folder: Path, name: str, stem: str) -> None:
    pickles = sorted(path.name for path in folder.glob("*.bin") if path.name.startswith(stem))
    if pickles and not list(folder.glob(f"{stem}*.safetensors")):
        raise InputError(
            f'"{name}" has pickle weights only ({pickles[0]}), which can run code when loaded; convert them to '
            "safetensors with save_pretrained and load that."
        )


def _locate(name: str) -> Path:
    """Return the folder of an embedded model, of the user, or of a hub snapshot (downloaded without pickle files)."""
    if name == "embedded" or name.startswith("embedded/"):
        return embedded_path(name.removeprefix("embedded").removeprefix("/") or "start")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f'"{name}" is a file; a model is a folder with config.json and model.safetensors.')
    missing = f'"{name}" is neither a model folder nor a model that could be reached on the Hugging Face Hub'
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise InputError(f'There is no model folder "{name}".')
    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{missing} ({type(error).__name__}); check the name, or give a folder.") from error


def _load_model(folder: Path, name: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except _LOADING_ERRORS as error:
        raise InputError(
            f'The model in "{name}" cannot be loaded as a causal language model: {_sentence(error)}'
        ) from error
    other_head = [kind for kind in model.config.architectures or [] if "Classification" in kind or "MaskedLM" in kind]
    if report["missing_keys"] or other_head:
        lacking = other_head[0] if other_head else f"it lacks {sorted(report['missing_keys'])[0]}"
        raise InputError(f'The weights in "{name}" are not those of a causal language model: {lacking}.')
    return model


def _load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except _LOADING_ERRORS as error:
        raise InputError(f'The tokenizer in "{name}" cannot be loaded: {_sentence(error)}') from error
    if not len(tokenizer):
        raise InputError(f'The model folder "{name}" has no tokenizer; save one there with save_pretrained.')
    return tokenizer


def _check_vocabulary(name: str, vocab_size: int, num_rows: int) -> None:
    """Padded embedding rows are usual (up to a thousand); a tokenizer of less than half the rows is another's."""
    if vocab_size > num_rows or (vocab_size * 2 < num_rows and num_rows - vocab_size > 1024):
        raise InputError(
            f'The model "{name}" has a different vocabulary from the tokenizer: {num_rows} embedding rows for '
            f"{vocab_size} tokens; put the tokenizer the model was trained with into its folder."
        )


def _sentence(error: Exception) -> str:
    """The first line of an error, without the advice that follows."""
    first_line = str(error).strip().split("\n")[0] or type(error).__name__
    return first_line.rstrip(".") + "."


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no progress bar for reading a local file."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
