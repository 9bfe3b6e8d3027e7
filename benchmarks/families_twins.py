"""Every family of transformers that writes text, as a small model made from its default configuration."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

from prefgym.models.twin import NoTwin, kinds, twin_of

SHORT_WINDOW = 16
WINDOWS = re.compile(r"window|local_attention|local_radius|attention_chunk_size")
COMPLETED: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 16},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"head_dim": 128, "num_key_value_heads": 8},
    "qwen4_exp": {
        **{"indexer_n_heads": 16, "indexer_kv_heads": 1, "indexer_head_dim": 256},
        **{"indexer_budget": 2048, "indexer_compress_ratio": 4},
    },
    "xmod": {"default_language": "en_XX"},
}
"""What the default configuration of a family leaves open and its own code needs, or without which it has no attention.

It only makes models to study; nothing that serves users knows of it.
"""
COMPLETED["qwen4_exp_text"] = COMPLETED["qwen4_exp"]


def every_family() -> dict[str, str]:
    """Family -> class. Encoder-decoders that also have a decoder of their own stand apart, as ``bart (pairs)``."""
    causal: dict[str, Any] = dict(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    pairs: dict[str, Any] = dict(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    every = causal | {f"{name} (pairs)" if name in causal else name: kind for name, kind in pairs.items()}
    return {name: kind if isinstance(kind, str) else kind[0] for name, kind in every.items()}


def make_family(family: str, short_window: bool = False) -> PreTrainedModel:
    """The twin of a family's default configuration, completed where that alone makes no model.

    Args:
        family: of :func:`every_family`.
        short_window: attend to ``SHORT_WINDOW`` tokens where the family has a window.

    Raises:
        NoTwin: none can be built; the text says why.
    """
    kind = getattr(transformers, every_family()[family])
    try:
        config = _config(kind, family.removesuffix(" (pairs)"))
    except Exception as error:  # a family may ask for anything
        raise NoTwin(_sentence(error)) from error
    if short_window:
        set_windows(config, SHORT_WINDOW)
    try:
        with torch.device("meta"):
            wanted = kinds(kind(config))
    except Exception:  # the full size may need what the small one does not
        wanted = None
    return twin_of(kind, config, wanted)


def _config(kind: type[PreTrainedModel], family: str) -> PreTrainedConfig:
    config: Any = (kind.config_class or transformers.CONFIG_MAPPING[family])(**COMPLETED.get(family, {}))
    if hasattr(config, "is_decoder") and not config.is_encoder_decoder:
        config.is_decoder = True
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        begun = getattr(config.get_text_config(decoder=True), "bos_token_id", None)
        config.decoder_start_token_id = 0 if begun is None else begun
    return config


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def set_windows(config: Any, width: int) -> int:
    """Set every window of a configuration, and of those inside it; return how many there are."""
    found = 0
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            found += set_windows(value, width)
        elif WINDOWS.search(name) and _is_width(value):
            setattr(config, name, [width] * len(value) if isinstance(value, list) else width)
            found += 1
    return found


def _is_width(value: Any) -> bool:
    widths = value if isinstance(value, list) else [value]
    return bool(widths) and all(type(width) is int and width >= SHORT_WINDOW for width in widths)


def without_window(model: PreTrainedModel) -> PreTrainedModel | None:
    """The same weights without windows; None where there is none, or weights depend on it."""
    config = copy.deepcopy(model.config)
    if not set_windows(config, 2**20):
        return None
    try:
        other = type(model)(config).float().eval()
        other.load_state_dict(model.state_dict(), strict=False)
    except RuntimeError:  # the window is a size of weights
        return None
    return other
