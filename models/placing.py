"""Where a model's weights are and how they are stored: devices and number formats by the names that users give."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import InputError, nearest

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_named(name: str | torch.device) -> torch.device:
    """The device of a name, such as ``cuda:1``; :class:`InputError` for any other word, ``auto`` included."""
    try:
        return torch.device(name)
    except (RuntimeError, TypeError):
        said = "a model is on one device and not spread over several, so " if "auto" in str(name) else ""
        raise InputError(
            f'The device "{name}" cannot be used: {said}name one, as in --env.device cpu, cuda or cuda:1.'
        ) from None


def dtype_named(name: str | torch.dtype, device: str | torch.device = "cpu") -> torch.dtype:
    """The number format of a name in :data:`DTYPES`, or one of them as torch's or by torch's name.

    Raises:
        InputError: it is unknown, or the device lacks it.
    """
    word = str(name).removeprefix("torch.")
    name = next((key for key, kind in DTYPES.items() if word == str(kind).removeprefix("torch.")), word)
    if name not in DTYPES:
        raise InputError(f'env.dtype "{name}" is not one of {", ".join(DTYPES)}.{nearest(str(name), DTYPES)}')
    dtype, place = DTYPES[name], device_named(device)
    if name != "fp32" and not _computes_in(dtype, place):
        able = [other for other, kind in DTYPES.items() if other == "fp32" or _computes_in(kind, place)]
        raise InputError(f'The device "{device}" does not compute in {name}; set env.dtype to {" or ".join(able)}.')
    return dtype


def _computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    try:
        if device.type == "cuda" and dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(False):
            return False  # it is emulated, slower than fp32
        ones = torch.ones(2, 2, dtype=dtype, device=device)
        return bool(torch.isfinite(nn.functional.linear(ones, ones).sum()))
    except (RuntimeError, TypeError, AssertionError):
        return False


def check_one_device(model: Any, name: str) -> None:
    """Refuse a model that transformers spread over several devices (``device_map``)."""
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if len(places) > 1:
        raise InputError(
            f'"{name}" is spread over {", ".join(sorted(places))} (device_map); load it on one device, as with '
            "--env.device cuda."
        )


def store_as(model: nn.Module, dtype: torch.dtype) -> None:
    """Store the weights in another format, but for those that the architecture keeps in fp32; buffers stay as they are.

    Tied weights stay tied.
    """
    kept = set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == torch.float16:
        kept |= set(getattr(model, "_keep_in_fp32_modules", None) or ())
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not kept.intersection(name.split(".")):
            parameter.data = parameter.data.to(dtype)
