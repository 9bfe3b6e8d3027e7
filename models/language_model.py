"""A language model, causal or encoder-decoder, with its tokenizer: loading, checking, copying, saving.

Only safetensors and JSON are read and written; pickle weights are refused, and no code of a model repository is run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import InputError
from .encoder_decoder import is_encoder_decoder, start_token_id
from .folder import (
    check_finite,
    check_folder,
    check_forward,
    check_tokenizer,
    check_vocabulary,
    checksum,
    embedded_path,
    is_adapter,
    load_tokenizer,
    loading,
    locate,
    model_folder,
    quiet,
)
from .gguf_file import check_gguf, is_gguf, read_gguf
from .paths import first_position, is_ours, limit_of
from .placing import check_one_device, device_named
from .prompting import read_prompting, write_prompting
from .text_tokens import TextTokens

__all__ = ["LanguageModel", "disable_dropout", "embedded_path"]

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""Generation settings that have no effect on greedy decoding."""
KEPT = ("do_sample", *SAMPLING, "max_length", "max_new_tokens")
"""Generation settings that are saved again."""


class LanguageModel:
    """A language model and its tokenizer, dropout off.

    Attributes:
        model: the transformers model.
        tokenizer: its tokenizer.
        name: the name the user gave.
        texts: how texts become its tokens.
        prompting: the template of its prompts that it was trained with, as its folder tells (``prompting.py``);
            None where nobody said.
        eos_token_ids: the tokens that end a response: the tokenizer's EOS, then further ones that the model's
            generation settings and configuration name (chat models end a turn with their own).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "model") -> None:
        """Check that the two belong together, and switch dropout off.

        Raises:
            InputError: the vocabularies differ, the tokenizer has no EOS token, or the decoder no start token.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        check_one_device(model, name)
        self.prompting: dict[str, str | None] | None = None
        self._shares = False  # whether its weights are another model's too
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        embeddings: Any = model.get_input_embeddings()
        check_vocabulary(name, self.vocab_size, embeddings.weight.shape[0])
        if tokenizer.eos_token_id is None:
            raise InputError(
                f'The tokenizer of "{name}" has no EOS token, so a response could never end; set eos_token in its '
                "tokenizer_config.json."
            )
        if is_encoder_decoder(model):
            model.config.decoder_start_token_id = start_token_id(model)
            if model.config.decoder_start_token_id is None:
                raise InputError(
                    f'"{name}" does not say what its decoder starts with; set decoder_start_token_id in config.json.'
                )
        self.texts = TextTokens(tokenizer, is_encoder_decoder(model))
        self.eos_token_ids = _eos_token_ids(model, self.eos_token_id, self.vocab_size)
        disable_dropout(model)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        check: bool = True,
    ) -> LanguageModel:
        """Load ``"embedded"`` (or ``"embedded/NAME"``), a model folder, a GGUF file, or a Hugging Face hub id.

        The folder of an adapter (``peft``) gives its base model with the adapter merged in; a GGUF file, or a folder
        whose only weights it is, gives the model with its weights dequantized.

        Args:
            name_or_path: the model; ``"embedded"`` is ``"embedded/start"``.
            device: for the weights.
            dtype: their type; the distribution is computed in fp32 whatever it is.
            check: let it read short texts by every path that would serve it (see ``prefgym.check_model``).

        Raises:
            InputError: the folder is missing, has no configuration, weights or tokenizer, has only pickle weights, is
                not a language model, or its tokenizer has another vocabulary or no EOS token; or the base model of an
                adapter cannot be loaded.
        """
        name, device = str(name_or_path), device_named(device)
        folder = locate(name)
        if is_adapter(folder):
            from .lora import load_merged  # imported late: it builds on this module

            merged = load_merged(folder, name, device, dtype)
            merged.prompting = read_prompting(folder)
            return merged
        with quiet():
            model, tokenizer = _load_gguf(folder, name, dtype) if is_gguf(folder) else _load_folder(folder, name, dtype)
        loaded = cls(model, tokenizer, name)
        loaded.prompting = read_prompting(folder)
        if check and not is_ours(model):
            from .check import confirm  # imported late: it builds on this module

            confirm(model, name)
        model.to(device)  # type: ignore[arg-type]
        return loaded

    @property
    def eos_token_id(self) -> int:
        """The tokenizer's EOS, which a response learns to end with; ``eos_token_ids`` are all that end one."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_token_id(self) -> int:
        """The token that fills padding; EOS if the tokenizer has none. The mask decides what is padding."""
        pad = self.tokenizer.pad_token_id
        return self.eos_token_id if pad is None or pad >= self.vocab_size else int(pad)

    @property
    def context_length(self) -> int:
        """The maximum number of tokens the model can read; a very large number if it has no limit."""
        limit = limit_of(self.model)
        if limit is None:
            return int(self.tokenizer.model_max_length)
        return limit - first_position(self.model, 1)  # some models number their positions from 2

    @property
    def context_of(self) -> str:
        """What the context length is that of, for messages: empty for a decoder."""
        return ", which encoder and decoder have each" if is_encoder_decoder(self.model) else ""

    def fits(self, prompt: int, response: int) -> bool:
        """Whether a prompt and a response of so many tokens can be read; an encoder and a decoder have a limit each."""
        return (max(prompt, response) if is_encoder_decoder(self.model) else prompt + response) <= self.context_length

    @property
    def auto_class(self) -> type:
        """The transformers class that loads such a model."""
        return _auto_class(self.model.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def num_parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def encode(self, text: str) -> list[int]:
        """Return the text's tokens, without adding special ones; what a model reads comes from the next two."""
        return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def encode_prompt(self, text: str, framed: bool = False) -> list[int]:
        """Return the tokens of a prompt, with the special ones the tokenizer puts there; see :class:`TextTokens`.

        Args:
            text: the prompt as it is read.
            framed: whether it brings its own special tokens, as text from a chat template does.
        """
        return self.texts.prompt(text, framed)

    def encode_response(self, prompt: str, response: str, framed: bool = False) -> list[int]:
        """Return the tokens of a response after its prompt, with the EOS that ends it."""
        return self.ended(self.texts.response(prompt, response, framed))

    def ended(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens of a response with an EOS at the end: the tokenizer's, unless it ends with one already."""
        return list(tokens) if tokens and tokens[-1] in self.eos_token_ids else [*tokens, self.eos_token_id]

    def decode(self, tokens: Sequence[int] | torch.Tensor) -> str:
        """Return the text of tokens; special tokens are left out. That of a response is ``texts.text(tokens)``."""
        text = self.tokenizer.decode(
            list(map(int, tokens)), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def copy(self) -> LanguageModel:
        """Return a copy with its own weights, all trainable (the tokenizer is shared)."""
        model = copy.deepcopy(self.model)
        model.zero_grad(set_to_none=True)
        other = LanguageModel(model, self.tokenizer, self.name).unfreeze()
        other.prompting = self.prompting
        return other

    def view(self) -> LanguageModel:
        """Return another model on the same weights in memory, and freeze both; see :meth:`unfreeze`."""
        self.freeze()
        weights = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in self.model.parameters()}
        buffers = {id(buffer): buffer for buffer in self.model.buffers()}
        other = LanguageModel(copy.deepcopy(self.model, {**weights, **buffers}), self.tokenizer, self.name)
        self._shares = other._shares = True
        return other

    def equals(self, other: LanguageModel) -> bool:
        """Whether the other model has the same configuration and the same weights, in memory once or twice."""
        if self is other:
            return True
        ours, theirs = (dict(lm.model.named_parameters()) | dict(lm.model.named_buffers()) for lm in (self, other))
        if type(self.model) is not type(other.model) or ours.keys() != theirs.keys():
            return False
        if self.model.config.to_dict() != other.model.config.to_dict():
            return False
        return all(_same_tensor(tensor, theirs[name]) for name, tensor in ours.items())

    def freeze(self) -> LanguageModel:
        """Disable gradients for all parameters; return self."""
        self.model.requires_grad_(False)
        return self

    def unfreeze(self) -> LanguageModel:
        """Enable gradients for all parameters; return self.

        A model that shares its weights with a :meth:`view` first gets its own copy, so that training it does not change
        the other.
        """
        for parameter in self.model.parameters():
            if self._shares:
                parameter.data = parameter.data.clone()
            parameter.requires_grad_(True)
        self._shares = False
        return self

    def checksum(self) -> str:
        """Return a SHA-256 over all parameters and their names: equal if and only if the weights are."""
        return checksum(self.model)

    def save(self, folder: str | Path) -> None:
        """Write a Hugging Face model folder (safetensors, JSON, tokenizer); files appear complete or not at all.

        ``from_pretrained(folder).generate(do_sample=False)`` of its :attr:`auto_class` then gives the same tokens as
        greedy decoding here. The generation settings the model came with are kept as far as that stays true: those of
        sampling (temperature, top_p, ...) and lengths, but no beams, penalties or forced tokens, which nothing here
        applies.
        """
        unsaid = getattr(getattr(self.model, "generation_config", None), "do_sample", None) is None
        self.model.generation_config = self._generation_config()
        with model_folder(folder) as temporary:
            self.model.save_pretrained(temporary)
            settings = temporary / "generation_config.json"
            if unsaid and settings.is_file():  # a temperature is saved beside do_sample only, and greedy without it
                self.model.generation_config.do_sample = None
                told = json.loads(settings.read_text(encoding="utf-8"))
                told.pop("do_sample", None)
                settings.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            self.tokenizer.save_pretrained(temporary)
            write_prompting(temporary, self.prompting)

    def _generation_config(self) -> GenerationConfig:
        """Settings that transformers accepts, with which greedy decoding is ours."""
        given = getattr(self.model, "generation_config", None)
        kept = {name: value for name in KEPT if (value := getattr(given, name, None)) is not None}
        if kept.get("do_sample") is False:  # what only sampling uses is then refused by save_pretrained
            kept = {name: value for name, value in kept.items() if name not in SAMPLING}
        elif set(kept) & set(SAMPLING):
            kept["do_sample"] = True
        eos = list(self.eos_token_ids) if len(self.eos_token_ids) > 1 else self.eos_token_id
        missing = {
            "bos_token_id": self.tokenizer.bos_token_id,
            "pad_token_id": self.pad_token_id,
            "decoder_start_token_id": getattr(self.model.config, "decoder_start_token_id", None),
        }
        own = {name: getattr(given, name, None) for name in missing}
        tokens = {name: value if own[name] in (None, -1) else own[name] for name, value in missing.items()}
        return GenerationConfig(**kept, **tokens, eos_token_id=eos)


def _eos_token_ids(model: PreTrainedModel, first: int, vocab_size: int) -> tuple[int, ...]:
    """Every token that ends a response, that of the tokenizer first."""
    found: list[Any] = [first]
    for told in (getattr(model, "generation_config", None), model.config, model.config.get_text_config(decoder=True)):
        given = getattr(told, "eos_token_id", None)
        found += given if isinstance(given, list | tuple) else [given]
    usable = (token for token in found if isinstance(token, int) and 0 <= token < vocab_size)
    return tuple(dict.fromkeys(usable))


def disable_dropout(module: nn.Module) -> None:
    """Set every dropout probability to 0, so that train and eval mode compute the same.

    ``eval()`` is no substitute: in eval mode transformers skips gradient checkpointing. Models keep the probability in
    dropout modules, in their own attributes, or read it from their configuration on every forward; all three are set.
    """
    for part in module.modules():
        if isinstance(part, _DropoutNd):
            part.p = 0.0
        for holder in (part, getattr(part, "config", None)):
            for name, value in vars(holder).items() if holder is not None else ():
                if isinstance(value, float) and "drop" in name:
                    setattr(holder, name, 0.0)


def _auto_class(config: Any) -> Any:
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _load_folder(folder: Path, name: str, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    check_folder(folder, name)
    with loading(f'The model in "{name}"'):
        auto_class = _auto_class(AutoConfig.from_pretrained(folder, trust_remote_code=False))
        loaded: Any = auto_class.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    model, report = loaded
    return _checked(model, report, name), load_tokenizer(folder, name)


def _load_gguf(file: Path, name: str, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    check_gguf(file, name)
    with loading(f'The model in "{name}"'):
        model, report, tokenizer = read_gguf(file, _auto_class, dtype)
    return _checked(model, report, name), check_tokenizer(tokenizer, name)


def _checked(model: PreTrainedModel, report: dict[str, Any], name: str) -> PreTrainedModel:
    """A loaded model, if its weights are complete, finite and those of a language model."""
    other_head = [kind for kind in model.config.architectures or [] if "Classification" in kind or "MaskedLM" in kind]
    if report["missing_keys"] or other_head:
        lacking = other_head[0] if other_head else f"it lacks {sorted(report['missing_keys'])[0]}"
        raise InputError(f'The weights in "{name}" are not those of a language model: {lacking}.')
    check_finite(model.named_parameters(), name)
    check_forward(model, name)
    return _aligned(model)


def _aligned(model: PreTrainedModel) -> PreTrainedModel:
    """Copy weights out of the memory-mapped file: at its unaligned addresses kernels may round differently.

    A saved and reloaded model then computes the same bits as before.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def _same_tensor(a: torch.Tensor, b: torch.Tensor) -> bool:
    if (a.dtype, a.shape, a.device) != (b.dtype, b.shape, b.device):
        return False
    return (a.data_ptr(), a.stride()) == (b.data_ptr(), b.stride()) or torch.equal(a, b)
