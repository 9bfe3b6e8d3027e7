"""Model folders: finding, checking, reading and writing them, for language models and preference models alike.

Only safetensors and JSON are read and written; pickle weights are refused, and no code of a model repository is run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import InputError, nearest
from ..storage.atomic import machine_errors, partial_name, remove, sha256_of, sync
from ..storage.manifest import check_whole, claim, managed

EMBEDDED = Path(__file__).parent / "embedded"
ADAPTER_CONFIG = "adapter_config.json"
LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


def locate(name: str) -> Path:
    """Return the folder of an embedded model, of the user, or of a hub snapshot (downloaded without pickle files)."""
    if name == "embedded" or name.startswith("embedded/"):
        return embedded_path(name.removeprefix("embedded").removeprefix("/") or "start")
    path = Path(name).expanduser()
    if path.is_dir():
        check_whole(path)
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
    check_whole(EMBEDDED / name)
    return EMBEDDED / name


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder that is no model folder with safetensors weights, by an :class:`InputError` that says why."""
    if (folder / ADAPTER_CONFIG).is_file():
        refuse_pickle(folder, name, "adapter_model")
        held = "only an adapter" if is_adapter(folder) else "a model and an adapter"
        raise InputError(f'"{name}" holds {held}; merge it into its base model (peft: merge_and_unload) and save that.')
    if not (folder / "config.json").is_file():
        raise InputError(f'"{name}" is not a model folder: it has no config.json.')
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        refuse_pickle(folder, name, "pytorch_model")
        raise InputError(f'The model folder "{name}" has no weights: model.safetensors is missing.')


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and not the model that it adapts."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def refuse_pickle(folder: Path, name: str, stem: str) -> None:
    """Raise :class:`InputError` where weights are there as pickles alone."""
    pickles = sorted(path.name for path in folder.glob("*.bin") if path.name.startswith(stem))
    if pickles and not list(folder.glob(f"{stem}*.safetensors")):
        raise InputError(
            f'"{name}" has pickle weights only ({pickles[0]}), which can run code when loaded; convert them to '
            "safetensors with save_pretrained and load that."
        )


def load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder; :class:`InputError` when it has none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise InputError(f'The tokenizer in "{name}" cannot be loaded: {first_sentence(error)}') from error
    if not len(tokenizer):
        raise InputError(f'The model folder "{name}" has no tokenizer; save one there with save_pretrained.')
    return tokenizer


def check_vocabulary(name: str, vocab_size: int, num_rows: int) -> None:
    """Padded embedding rows are usual (up to a thousand); a tokenizer of less than half the rows is another's."""
    if vocab_size > num_rows or (vocab_size * 2 < num_rows and num_rows - vocab_size > 1024):
        raise InputError(
            f'The model "{name}" has a different vocabulary from the tokenizer: {num_rows} embedding rows for '
            f"{vocab_size} tokens; put the tokenizer the model was trained with into its folder."
        )


def checksum(module: nn.Module) -> str:
    """Return a SHA-256 over all parameters, buffers and their names: equal if and only if the weights are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def model_folder(folder: str | Path, last: str = "config.json") -> Iterator[Path]:
    """Give a temporary folder to write a model into; its files then move to ``folder``, each complete or not at all.

    The file ``last`` moves last: a folder without it is not taken for a model. What an earlier save of another kind of
    model (with an adapter, or without) left in ``folder`` is removed.

    Raises:
        InputError: ``folder`` has a file of one of these names that prefgym did not write.
    """
    with managed(folder) as manifest:
        folder = manifest.folder
        temporary = folder / partial_name()
        temporary.mkdir()
        try:
            with quiet(), machine_errors(folder):
                yield temporary
                files = (file for file in temporary.rglob("*") if file.is_file())
                written = sorted(files, key=lambda file: file.name == last)
                for file in written:
                    claim(folder / file.relative_to(temporary), sha256_of(file))
                for name in {"config.json", ADAPTER_CONFIG} - {last}:
                    if (folder / name).exists():
                        claim(folder / name)
                        (folder / name).unlink()
                for file in written:
                    place = folder / file.relative_to(temporary)
                    place.parent.mkdir(exist_ok=True)
                    sync(file)
                    os.replace(file, place)
        finally:
            remove(temporary)


def first_sentence(error: Exception) -> str:
    """The first line of an error, without the advice that follows."""
    first_line = str(error).strip().split("\n")[0] or type(error).__name__
    return first_line.rstrip(".") + "."


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress bar for local files, and no report of missing weights: callers check those themselves."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
