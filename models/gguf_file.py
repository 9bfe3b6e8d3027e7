"""GGUF files: one file with the quantized weights, the tokenizer and the chat template of a model (llama.cpp's format).

transformers reads them with the package ``gguf``, an extra that is imported when the first one is read. The weights are
dequantized once; what is trained and saved is then a plain model.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.utils import is_gguf_available

from ..errors import InputError

ENDING = ".gguf"
_MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file, by its name."""
    return path.suffix.lower() == ENDING and path.is_file()


def only_gguf_in(folder: Path) -> Path | None:
    """The GGUF file in a folder without other weights; None where there is none.

    Raises:
        InputError: there are several.
    """
    files = sorted(path for path in folder.iterdir() if is_gguf(path))
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise InputError(f'"{folder}" holds several models: {names}; name one of them.')
    return files[0]


def check_gguf(file: Path, name: str) -> None:
    """Refuse what is no GGUF file, and any where the package is missing; the :class:`InputError` says why."""
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f'"{name}" is not a GGUF file, whatever its name says, or is damaged; download it again.')
    try:
        import gguf  # noqa: F401

        if not is_gguf_available():
            raise ImportError
    except ImportError as error:
        needed = 'needs the package gguf: pip install "prefgym[gguf]".'
        raise InputError(f'"{name}" is a GGUF file, which {needed}') from error


def read_gguf(file: Path, auto_class: Any, dtype: torch.dtype) -> tuple[PreTrainedModel, dict[str, Any], Any]:
    """The model, dequantized, what loading it reported, and its tokenizer; errors are those of the libraries.

    Args:
        file: the GGUF file.
        auto_class: from a configuration to the transformers class that loads such a model.
        dtype: of the weights.
    """
    where: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    where["pretrained_model_name_or_path"] = file.parent
    with _read_once():
        config = AutoConfig.from_pretrained(**where)
        model, report = auto_class(config).from_pretrained(
            **where, config=config, dtype=dtype, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(**where, config=config)
    del model.config.quantization_config  # or it could be neither trained nor saved
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):
        vars(model).pop(mark, None)
    return model, report, tokenizer


@contextmanager
def _read_once() -> Iterator[None]:
    """Let transformers index a file once, which takes seconds, not for configuration, weights and tokenizer each."""
    import gguf

    reader = gguf.GGUFReader
    gguf.GGUFReader = functools.cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader
