"""Writing files that appear complete or not at all."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from .storage.atomic import replacing
from .storage.manifest import claim


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write under another name in the same folder, then rename; a missing folder is created.

    In a folder that is open for writing (``storage/manifest.py``) the file goes on its list.

    Raises:
        InputError: in such a folder, somebody else's file is in the way.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    claim(path, sha256(content).hexdigest())
    with replacing(path) as writing:
        writing.write_bytes(content)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text; half a character, which UTF-8 cannot hold, becomes its escape."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> Path:
    """Write indented JSON; NaN and infinity, which JSON does not have, raise ``ValueError``."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
