"""Model folders: finding, checking, reading and writing them, for both language models and preference models.

Only safetensors and JSON are read and written; pickle weights are refused, and no code of a model repository is run.
"""

from __future__ import annotations

import errno
import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import InputError, nearest
from ..paths import user_path
from ..storage.atomic import machine_errors, partial_name, put, remove, sha256_of
from ..storage.manifest import check_whole, claim, is_open, managed
from ..typed_json import read_object
from .gguf_file import is_gguf, only_gguf_in
from .prompting import PROMPTING_FILE

EMBEDDED = Path(__file__).parent / "embedded"
ADAPTER_CONFIG = "adapter_config.json"
_OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "EBUSY")
)
_TOLD = frozenset({"prefgym.json", "preference.json", "config.yaml"})
"""Files of a run that say what its weights are."""
_ALWAYS_READ = (
    "config.json",
    ADAPTER_CONFIG,
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    PROMPTING_FILE,
    "training_rows.json",
)
"""What is read from a model folder if it is there, whatever wrote it: one of an earlier save would count."""
MOST_LABELS = 100_000
_LAYERS = re.compile(r"(^|_)(n_)?(num_)?(\w+_)?(layers?|blocks?|depth)$")


def locate(name: str) -> Path:
    """Return the folder of an embedded model, a user's model, or a hub snapshot (downloaded without pickle files).

    For a GGUF file, or a folder whose only weights it is, that file.
    """
    if name == "embedded" or name.startswith("embedded/"):
        return embedded_path(name.removeprefix("embedded").removeprefix("/") or "start")
    path = user_path(name)
    if path.is_dir():
        check_whole(path)
        return only_gguf_in(path) or path
    if is_gguf(path):
        return path
    if path.exists():
        raise InputError(f'"{name}" is a file; a model is a folder with config.json and model.safetensors, or a .gguf.')
    missing = f'"{name}" is neither a model folder nor a model that could be reached on the Hugging Face Hub'
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise InputError(f'There is no model folder "{name}".')
    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        if _is_of_the_machine(error):
            raise
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
    """Refuse a folder that is not a model folder with safetensors weights; the :class:`InputError` says why."""
    if is_gguf(folder):
        raise InputError(f'"{name}" is a GGUF file, which holds a language model; here a trained classifier is needed.')
    if (folder / ADAPTER_CONFIG).is_file():
        refuse_pickle(folder, name, "adapter_model")
        held = "only an adapter" if is_adapter(folder) else "a model and an adapter"
        raise InputError(f'"{name}" holds {held}; merge it into its base model (peft: merge_and_unload) and save that.')
    if not (folder / "config.json").is_file():
        raise InputError(f'"{name}" is not a model folder: it has no config.json.')
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        refuse_pickle(folder, name, "pytorch_model")
        raise InputError(f'The model folder "{name}" has no weights: model.safetensors is missing.')
    _check_layers(folder, name)


def _check_layers(folder: Path, name: str) -> None:
    """Refuse a config.json that asks for more layers than there are weights: building them would never end."""
    step = "restore it, or save the model again"
    config = read_object(folder / "config.json", {}, {"architectures": list[str] | None}, step=step)
    files = sorted(folder.glob("*.safetensors"))
    with loading(f'The model in "{name}"'):
        tensors = 0
        for file in files:
            with safe_open(file, framework="pt") as weights:
                tensors += len(weights.keys())
    for key, value in _numbers(config):
        if key in ("num_hidden_layers", "n_layer", "num_layers") and value < 1:
            raise InputError(f'The model in "{name}" cannot be loaded: its config.json says that it has no layers.')
        counts = _LAYERS.search(key) and not key.startswith("max_")  # a bound counts nothing: max_window_layers
        most = tensors if counts else MOST_LABELS if key == "num_labels" else math.inf
        if value > most:
            raise InputError(
                f'The model in "{name}" cannot be loaded: "{key}" in its config.json is larger than {most}, which its '
                f"{tensors} tensors of weights cannot be."
            )


def _numbers(config: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, float]]:
    """Every number in a configuration, including nested ones, by its key."""
    for key, value in config.items():
        if isinstance(value, dict) and depth < 3:
            yield from _numbers(value, depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value


def is_adapter(folder: Path) -> bool:
    """Whether a folder contains an adapter without its base model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def refuse_pickle(folder: Path, name: str, stem: str) -> None:
    """Raise :class:`InputError` if there are only pickled weights."""
    pickles = sorted(path.name for path in folder.glob("*.bin") if path.name.startswith(stem))
    if pickles and not list(folder.glob(f"{stem}*.safetensors")):
        raise InputError(
            f'"{name}" has only pickle weights ({pickles[0]}), which can run code when loaded; convert them to '
            "safetensors with save_pretrained and load that."
        )


def load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder; :class:`InputError` when it has none."""
    with loading(f'The tokenizer in "{name}"'):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return check_tokenizer(tokenizer, name)


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer that can be used; :class:`InputError` for any other."""
    with loading(f'The tokenizer in "{name}"'):
        size = len(tokenizer)
        if size:
            tokenizer.encode("a")  # errors in its files may show only here
            special = [tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id]
    if not size:
        raise InputError(f'The model folder "{name}" has no tokenizer; save one there with save_pretrained.')
    if not all(token is None or isinstance(token, int) for token in special):
        raise InputError(f'The tokenizer in "{name}" cannot be loaded: its special tokens are not in its vocabulary.')
    return tokenizer


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Report that ``what`` cannot be loaded if a library fails on its files.

    Libraries may raise anything: a wrong value may divide by zero, recurse or fail an assertion, and a tokenizer
    written in Rust panics with something that is not an ``Exception``. Only machine errors are passed on.

    Raises:
        InputError: for everything else that was raised.
    """
    try:
        yield
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"
        if isinstance(error, InputError) or not (isinstance(error, Exception) or panicked) or _is_of_the_machine(error):
            raise
        raise InputError(f"{what} cannot be loaded: {first_sentence(error)}") from error


def _is_of_the_machine(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE)


def check_forward(model: Any, name: str) -> None:
    """Run the model on two tokens, since many wrong values in config.json show only then; InputError if that fails.

    Only on the CPU in fp32: other types may need the model's target device.
    """
    if model.dtype != torch.float32 or model.device.type != "cpu":
        return
    ids = torch.zeros(1, 2, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with loading(f'The model in "{name}"'), torch.no_grad():
        if torch.isnan(model(**inputs).logits).any():
            raise InputError(f'The model in "{name}" computes NaN; restore the config.json it was saved with.')


def check_finite(tensors: Iterable[tuple[str, Tensor]], name: str) -> None:
    """Raise :class:`InputError` if a weight is NaN or infinite, which would look like diverged training."""
    for key, tensor in tensors:
        if tensor.numel() and tensor.is_floating_point():
            low, high = torch.aminmax(tensor.detach())  # does not copy the weights, as isfinite does; NaN propagates
            if not (torch.isfinite(low) and torch.isfinite(high)):
                kind = "NaN" if torch.isnan(low) or torch.isnan(high) else "infinite values"
                raise InputError(f'The weights of "{name}" hold {kind} in {key}; take an earlier copy of the model.')


def check_vocabulary(name: str, vocab_size: int, num_rows: int) -> None:
    """Padded embedding rows are common (up to a thousand); a tokenizer with less than half the rows is another's."""
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
    """Give a temporary folder to write a model into; its files then move to ``folder``, each atomically.

    The file ``last`` moves last: a folder without it is not recognised as a model. After that, files of an earlier save
    that would still be read (of another kind of model, or further chat templates) are removed.

    Raises:
        InputError: ``folder`` has a file of one of these names that prefgym did not write, or holds a run, of which
            what is not replaced would tell of other weights.
    """
    told = frozenset[str]() if is_open(Path(folder)) else _TOLD
    with managed(folder) as manifest:
        folder = manifest.folder
        temporary = folder / partial_name()
        temporary.mkdir()
        try:
            with quiet(), machine_errors(folder):
                yield temporary
                files = (file for file in temporary.rglob("*") if file.is_file())
                written = sorted(files, key=lambda file: file.name == last)
                for name in sorted(told.intersection(manifest.files) - {file.name for file in written}):
                    raise InputError(f"{folder} holds a run, whose {name} tells of other weights; give another folder.")
                for file in written:
                    claim(folder / file.relative_to(temporary), sha256_of(file))
                found = [file for name in _ALWAYS_READ for file in manifest.folder.glob(name)]
                stale = [file for file in found if not (temporary / file.relative_to(folder)).exists()]
                for file in stale:
                    claim(file)
                for file in written:
                    place = folder / file.relative_to(temporary)
                    place.parent.mkdir(exist_ok=True)
                    put(file, place)
                for file in stale:
                    file.unlink()
        finally:
            remove(temporary)


def first_sentence(error: BaseException) -> str:
    """The first line of an error, or two where the first only announces; with its type if it says little."""
    lines = str(error).strip().split("\n")
    first_line = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])[:300]
    if len(first_line) < 20:  # a KeyError says only the key
        first_line = f"{type(error).__name__} {first_line}".strip()
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
