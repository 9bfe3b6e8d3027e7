"""Low-rank adapters: a language model with frozen weights, of which little is trained.

Each chosen linear map W becomes W + (alpha / rank) B A, where only A and B are trained; B starts at zero, so the
adapted model starts as its base (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3).
The layers come from the package ``peft``, an extra that is imported when the first adapter is made or read.

The base is not copied: the adapted model is a view of it, and the base itself is the model with the adapter off. What
is saved holds the base's checksum, since an adapter on other weights is another model.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from ..errors import InputError, nearest
from ..paths import shortened, user_path
from ..storage.atomic import sha256_of
from ..typed_json import read_object
from .adapter_parts import is_repeated, tie_where_equal, tokenizer_of, untie_where_adapted, whole_weights, with_room
from .encoder_decoder import is_encoder_decoder
from .folder import ADAPTER_CONFIG, check_finite, is_adapter, loading, locate, model_folder, refuse_pickle
from .language_model import LanguageModel
from .prompting import write_prompting

WEIGHTS = "adapter_model.safetensors"
EVERY_LINEAR = "all-linear"
_LAYER = re.compile(r"(?P<stack>.*?)\.(?P<number>\d+)\.")
_MARK = "prefgym.base"
"""The key in the head of the weights under which an adapter keeps what tells its base from another."""
_NAMED = {
    "peft_type": str,
    "base_model_name_or_path": str | None,
    "r": int,
    "lora_alpha": float,
    "target_modules": str | list[str] | None,
}
_FURTHER = {
    "lora_dropout": float | None,
    "fan_in_fan_out": bool | None,
    "use_rslora": bool | None,
    "use_dora": bool | None,
    "rank_pattern": dict[str, int] | None,
    "alpha_pattern": dict[str, float] | None,
    "layers_to_transform": int | list[int] | None,
    "layers_pattern": str | list[str] | None,
    "exclude_modules": str | list[str] | None,
    "modules_to_save": list[str] | None,
    "trainable_token_indices": list[int] | dict[str, list[int]] | None,
}
_READ = {*_NAMED, *_FURTHER, "task_type", "auto_mapping", "peft_version", "inference_mode"}
"""Adapter settings that do not affect its numbers, or that peft loads and merges exactly; others are refused."""


@dataclass(frozen=True)
class LoRA:
    """Shape of an adapter.

    Attributes:
        rank: of B A.
        alpha: B A is scaled by alpha / rank; None is twice the rank.
        targets: names of the linear layers to adapt, separated by commas, or ``"all-linear"``: all but the
            language-model head.
        layers: adapt only so many layers, the last ones; those before them then need neither a backward pass nor
            memory for one. None is all.
    """

    rank: int
    alpha: float | None = None
    targets: str = EVERY_LINEAR
    layers: int | None = None

    def settings(self, model: nn.Module, name: str) -> dict[str, Any]:
        """Return what ``peft`` is told of it; :class:`InputError` if the model lacks a layer of ``targets``."""
        return {
            "r": self.rank,
            "lora_alpha": 2 * self.rank if self.alpha is None else self.alpha,
            "target_modules": self.target_modules(model, name),
            "fan_in_fan_out": any(isinstance(module, Conv1D) for module in model.modules()),
        }

    def target_modules(self, model: nn.Module, name: str) -> str | list[str]:
        """Return the targets in ``peft``'s format; :class:`InputError` if the model has no such layer."""
        linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
        chosen = None if self.targets == EVERY_LINEAR else [target.strip() for target in self.targets.split(",")]
        known = sorted({_last_word(n) for n in linear})
        for target in chosen or ():
            if target not in known:
                raise InputError(
                    f'"{name}" has no linear layer "{target}"; it has {", ".join(known)}.{nearest(target, known)}'
                )
        if self.layers is None:
            return EVERY_LINEAR if chosen is None else chosen
        return [n for n in _in_last_layers(linear, self.layers, name) if chosen is None or _last_word(n) in chosen]


def _last_word(name: str) -> str:
    return name.rpartition(".")[2]


def _in_last_layers(linear: list[str], count: int, name: str) -> list[str]:
    """The modules in the last ``count`` layers of each stack of layers: an encoder and a decoder are one each."""
    numbered = [(n, found) for n in linear if (found := _LAYER.match(n))]
    stacks: dict[str, int] = {}
    for _, found in numbered:
        stacks[found["stack"]] = max(stacks.get(found["stack"], 0), int(found["number"]) + 1)
    most = max(stacks.values(), default=0)
    if count > most:
        raise InputError(f'"{name}" has {most} layers, so lora_layers cannot be {count}; leave it out to adapt all.')
    return [n for n, found in numbered if int(found["number"]) >= stacks[found["stack"]] - count]


class AdaptedModel(LanguageModel):
    """A language model with an adapter; only the adapter is trained and saved.

    Attributes:
        model: the transformers model, adapter layers in their places.
        base_name: the base model's name, also in the adapter's files.
        base_mark: tells the base from another one of that name, also in the adapter's files.
    """

    def __init__(
        self, peft_model: Any, tokenizer: PreTrainedTokenizerBase, base_name: str, name: str, base_mark: str
    ) -> None:
        super().__init__(peft_model.base_model.model, tokenizer, name)
        self.peft_model = peft_model
        self.base_name = base_name
        self.base_mark = base_mark

    @classmethod
    def start(cls, base: LanguageModel, lora: LoRA, seed: int = 0) -> AdaptedModel:
        """Return ``base`` with a new adapter, which changes nothing yet. The base is frozen; its weights are shared.

        Raises:
            InputError: ``peft`` is not installed, or the base has no layer of a name in ``lora.targets``.
        """
        config = peft_package().LoraConfig(
            task_type="SEQ_2_SEQ_LM" if is_encoder_decoder(base.model) else "CAUSAL_LM",
            **lora.settings(base.model, base.name),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # A is random
            return cls(_inject(base, config), base.tokenizer, base.name, base.name, _mark_of(base))

    @classmethod
    def read(
        cls,
        folder: str | Path,
        *,
        base: LanguageModel | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        accept_changes: bool = False,
    ) -> AdaptedModel:
        """Load an adapter folder to train it further.

        Args:
            folder: with adapter_config.json and adapter_model.safetensors.
            base: used, sharing its weights, if it has the name of the adapter's base; else that is loaded.
            device: where the base is loaded to.
            dtype: of its weights.
            accept_changes: whether the base may have other weights than those that the adapter was trained on.

        Raises:
            InputError: the adapter is damaged, a pickle or not LoRA, or its base is missing, another one or changed.
        """
        folder = Path(folder)
        config, tensors = _read_folder(folder)
        base_name = config.base_model_name_or_path
        if base is None or base.name != base_name:
            base = _load_base(base_name, folder, device, dtype)
        whole = [*whole_weights(tensors), *(config.modules_to_save or ())]
        if whole:
            raise InputError(
                f'The adapter in "{folder}" holds whole weights too ({whole[0]}), so it cannot be trained further as '
                "an adapter; load it as a model, which merges it, and save that."
            )
        mark = _check_mark(base, folder, accept_changes)
        peft_model, tokenizer = _attached(base, config, tensors, folder)
        return cls(peft_model, tokenizer, base_name, str(folder), mark)

    def merged(self) -> LanguageModel:
        """Return a plain model with its own weights, W + (alpha / rank) B A instead of W."""
        return _merge(copy.deepcopy(self.peft_model), self.tokenizer, self.name)

    def copy(self) -> AdaptedModel:
        """Return a copy with its own base weights and adapter."""
        other = AdaptedModel(copy.deepcopy(self.peft_model), self.tokenizer, self.base_name, self.name, self.base_mark)
        other.model.zero_grad(set_to_none=True)
        return other.unfreeze()

    def unfreeze(self) -> AdaptedModel:
        """Enable gradients for the adapter only; return self."""
        self.peft_model.set_adapter("default")
        return self

    def save(self, folder: str | Path) -> None:
        """Write the adapter in ``peft``'s own format, and the tokenizer; files appear complete or not at all.

        ``LanguageModel.load(folder)`` merges it into its base; ``.save(other)`` then writes a plain model folder.
        """
        peft = peft_package()
        config = copy.deepcopy(self.peft_model.peft_config["default"])
        config.base_model_name_or_path, config.inference_mode = self.base_name, True
        tensors = peft.get_peft_model_state_dict(self.peft_model, save_embedding_layers=False)
        with model_folder(folder, last=ADAPTER_CONFIG) as temporary:
            kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(kept, temporary / WEIGHTS, metadata={_MARK: self.base_mark})
            config.save_pretrained(temporary)
            self.tokenizer.save_pretrained(temporary)
            write_prompting(temporary, self.prompting)


def load_merged(folder: Path, name: str, device: str | torch.device, dtype: torch.dtype) -> LanguageModel:
    """Load an adapter folder as a plain model, merged into its base; errors as for :meth:`AdaptedModel.read`.

    It may hold whole weights and added tokens too; see :mod:`prefgym.models.adapter_parts`.
    """
    config, tensors = _read_folder(folder)
    base = _load_base(config.base_model_name_or_path, folder, device, dtype)
    _check_mark(base, folder)
    peft_model, tokenizer = _attached(base, config, tensors, folder)
    return _merge(peft_model, tokenizer, name)  # the base was loaded just for this


def _read_folder(folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The settings and the tensors of an adapter."""
    config = _read_config(folder)
    with loading(f'The adapter in "{folder}"'):
        tensors = load_file(folder / WEIGHTS)
        check_finite(tensors.items(), str(folder))
    return config, tensors


def _attached(
    base: LanguageModel, config: Any, tensors: dict[str, torch.Tensor], folder: Path
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The adapter on its base, or on a copy where that needs more rows or other whole weights; and the tokenizer."""
    peft, tokenizer = peft_package(), tokenizer_of(folder, base)
    if whole_weights(tensors) or tokenizer is not base.tokenizer:
        base = with_room(base, tokenizer, tensors, config, folder)
    with loading(f'The adapter in "{folder}"'):
        peft_model = _inject(base, config)
        asked = peft.get_peft_model_state_dict(peft_model, save_embedding_layers=False)
        wrong = [key for key in whole_weights(asked) if key not in tensors]
        if not wrong:
            report = peft.set_peft_model_state_dict(peft_model, tensors)
            wrong = [key for key in report.missing_keys if "lora_" in key]
            wrong += [key for key in report.unexpected_keys if not is_repeated(key)]
    if wrong:
        raise InputError(f'The adapter in "{folder}" does not fit its base model "{base.name}": {wrong[0]}.')
    return peft_model, tokenizer


def _check_mark(base: LanguageModel, folder: Path, accept_changes: bool = False) -> str:
    """The mark of a base; :class:`InputError` where the adapter was trained on another, which was not accepted."""
    mark = _mark_of(base)
    if not accept_changes and _is_other(mark, _told(folder)):
        raise InputError(
            f'The base model "{base.name}" changed since the adapter in "{folder}" was trained on it; put that '
            "model back (only train --resume continues with another, with --accept-changes)."
        )
    return mark


def _merge(peft_model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> LanguageModel:
    untie_where_adapted(peft_model.base_model.model)
    model = peft_model.merge_and_unload()
    tie_where_equal(model)
    return LanguageModel(model, tokenizer, name).unfreeze()


def _inject(base: LanguageModel, config: Any) -> Any:
    """A view of the base with adapter layers in it."""
    model = base.view().model
    config.base_model_name_or_path = model.__dict__.get("name_or_path") or None  # else peft warns that it sets it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls transformers by a deprecated name
        return peft_package().get_peft_model(model, config)


def _mark_of(base: LanguageModel) -> str:
    """The type of a base's weights and their checksum.

    Of a base that is an adapter itself it is that of its file: what merging computes may round otherwise elsewhere.
    """
    folder = user_path(base.name)
    return f"{base.model.dtype} {sha256_of(folder / WEIGHTS) if is_adapter(folder) else base.checksum()}"


def _told(folder: Path) -> str | None:
    """The mark of its base in the file of an adapter; None where version 0.1 or ``peft`` wrote it."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        return (file.metadata() or {}).get(_MARK)


def _is_other(mark: str, told: str | None) -> bool:
    """Whether a base is not the one that was told; weights of another type cannot be compared."""
    return told is not None and told.split()[:1] == mark.split()[:1] and told != mark


def _read_config(folder: Path) -> Any:
    refuse_pickle(folder, str(folder), "adapter_model")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f'The adapter folder "{folder}" has no weights: {WEIGHTS} is missing.')
    given = read_object(folder / ADAPTER_CONFIG, _NAMED, _FURTHER, step="restore it, or save the adapter again")
    plain = {field.name: _default(field) for field in dataclasses.fields(peft_package().LoraConfig)} | {
        "revision": "main"
    }
    unread = [key for key, value in given.items() if key not in _READ and value and value != plain.get(key)]
    if given["peft_type"] != "LORA" or unread:
        why = f"it has {shortened(unread[0])}" if given["peft_type"] == "LORA" else "it is of another kind"
        raise InputError(
            f'The adapter in "{folder}" is not plain LoRA ({why}); merge it into its base model (peft: '
            "merge_and_unload) and save that."
        )
    if not given["base_model_name_or_path"]:
        raise InputError(f'"{folder / ADAPTER_CONFIG}" names no base model; set base_model_name_or_path.')
    with loading(f'The adapter in "{folder}"'):
        config = peft_package().LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    return config


def _load_base(name: str, folder: Path, device: str | torch.device, dtype: torch.dtype) -> LanguageModel:
    try:
        if locate(name).resolve() == folder.resolve():
            raise InputError("it names itself.")
        return LanguageModel.load(name, device=device, dtype=dtype)
    except InputError as error:
        raise InputError(
            f'The base model "{name}" of the adapter in "{folder}" cannot be loaded: {error} Set '
            f"base_model_name_or_path in its {ADAPTER_CONFIG}."
        ) from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def peft_package() -> Any:
    """The package ``peft``; :class:`InputError` where it is not installed."""
    try:
        import peft
    except ImportError as error:
        raise InputError('LoRA needs the package peft: pip install "prefgym[peft]".') from error
    return peft
