"""A record of what this account made, outside any run folder: the runs that name its own code, the files it wrote.

A folder can be passed on, with everything in it; this record cannot. It is kept in ``PREFGYM_STATE``, else in
``XDG_STATE_HOME/prefgym``, else in ``~/.local/state/prefgym``. Where it cannot be written, nothing is on record, and
the user is asked instead.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

RECORDS = "records.jsonl"


def state_folder() -> Path:
    """Return where the record is kept."""
    own = os.environ.get("PREFGYM_STATE")
    if own:
        return Path(own)
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "prefgym"


def remember(**fact: Any) -> None:
    """Put a fact on record, if possible."""
    with suppress(OSError):
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / RECORDS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(fact, sort_keys=True) + "\n")


def knows(**fact: Any) -> bool:
    """Whether a fact is on record."""
    with suppress(OSError, UnicodeDecodeError):
        line = json.dumps(fact, sort_keys=True)
        return line in (state_folder() / RECORDS).read_text(encoding="utf-8").split("\n")
    return False
