"""The template of prompts that a model was trained with, in its folder: every later command prompts with it.

    prompt_template.json   {"template": "{prompt}\\n\\nTL;DR:"},
                           or {"template": "chat", "system_prompt": ..., "instruction": ...}

Here are the words only; ``prefgym.data.prompting`` makes a template of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..typed_json import read_object

PROMPTING_FILE = "prompt_template.json"


def read_prompting(folder: Path) -> dict[str, str | None] | None:
    """What a model folder tells; None where it tells nothing.

    Raises:
        InputError: the file is damaged.
    """
    file = folder / PROMPTING_FILE
    if not folder.is_dir() or not file.is_file():
        return None
    further = {"system_prompt": str | None, "instruction": str | None}
    told = read_object(file, {"template": str}, further, step="restore it, or remove it and give the template by hand")
    return {name: told[name] for name in ("template", *further) if told[name] is not None}


def write_prompting(folder: Path, told: Mapping[str, str | None] | None) -> None:
    """Write what is told, if anything."""
    if told is not None:
        (folder / PROMPTING_FILE).write_text(json.dumps(dict(told), indent=2) + "\n", encoding="utf-8")
