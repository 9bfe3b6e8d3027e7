"""Finished parts of long work, kept as files, so that the same work continues where it was interrupted."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...files import write_text
from ..benchmarks.scores import Result
from .candidates import Candidate
from .responses import Responses

T = TypeVar("T")

KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Candidate, Responses, Result)}
"""What a part may contain besides numbers, texts, arrays, tensors, and lists and mappings of these."""

SHARED = {(Responses, "prompts")}
"""Fields that are left out, as they would be the same in all parts; they are read back empty."""

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors that reading a damaged file can raise."""


class Parts:
    """A memo on disk: what was made once is read instead of made again.

    A file with another key or name, or a damaged one, counts as missing and is replaced.

    Args:
        folder: of the files, created with the first one; ``None`` keeps nothing.
        key: a hash of everything that the parts depend on (``fingerprint.py``).
    """

    def __init__(self, folder: str | Path | None = None, key: str = "") -> None:
        self.folder = None if folder is None else Path(folder)
        self.key = key

    def remember(self, name: str, make: Callable[[], T]) -> T:
        """The part of that name, as made before, or made now and kept."""
        if self.folder is None:
            return make()
        file = self.folder / file_name(name)
        found = self._read(file, name)
        if found is not None:
            return found
        made = make()
        value = pack(made)
        kept = {"name": name, "key": self.key, "checksum": _checksum(value), "value": value}
        write_text(file, json.dumps(kept) + "\n")
        return made

    def _read(self, file: Path, name: str) -> Any:
        try:
            kept = json.loads(file.read_bytes())
            if (kept["name"], kept["key"], kept["checksum"]) == (name, self.key, _checksum(kept["value"])):
                return unpack(kept["value"])
        except (FileNotFoundError, *UNREADABLE):
            return None
        return None


def file_name(name: str) -> str:
    """A file name for any part: a readable word and a hash.

    >>> file_name("sampled/../a b")
    'sampled-a-b-1410ba56.json'
    """
    word = re.sub(r"[^a-zA-Z0-9]+", "-", name)[:40].strip("-")
    return f"{word}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}.json"


def _checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def pack(value: Any) -> Any:
    """A value as JSON, from which ``unpack`` restores it exactly, to the last bit of every number."""
    if isinstance(value, Tensor):
        return {"tensor": pack(value.cpu().numpy())}
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": content, "type": value.dtype.str, "shape": list(value.shape)}
    if type(value).__name__ in KINDS:
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: [] if (type(value), name) in SHARED else pack(getattr(value, name)) for name in names}
        return {"kind": type(value).__name__, "fields": fields}
    if isinstance(value, Mapping):
        return {"items": [[key, pack(one)] for key, one in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [pack(one) for one in value]
    return value


def unpack(value: Any) -> Any:
    """The value that ``pack`` was given.

    Raises:
        ValueError, KeyError, TypeError: it is not from ``pack``.
    """
    if isinstance(value, list):
        return [unpack(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return torch.from_numpy(unpack(value["tensor"]))
    if "array" in value:
        content = base64.b64decode(value["array"], validate=True)
        return np.frombuffer(content, dtype=np.dtype(value["type"])).reshape(value["shape"]).copy()
    if "items" in value:
        return {key: unpack(one) for key, one in value["items"]}
    return KINDS[value["kind"]](**{name: unpack(one) for name, one in value["fields"].items()})
