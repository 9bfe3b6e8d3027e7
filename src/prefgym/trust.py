"""Code runs only where the user named it: on the command line, in Python, or in a ``--config FILE``.

The config in a run's folder names a reward, a judge and an agent too, and a folder can come from anybody. Code that it
names by path runs without asking only if this account made the run: the folder's id, what the config names and the
bytes of that code are then on record outside the folder (``account.py``).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .account import knows, remember
from .config import Option
from .errors import InputError
from .output import CONFIG_FILE
from .storage.manifest import Manifest

CODE_KEYS = ("env.reward", "evaluation.judge", "agent.name")
TRUST = Option(
    "trust",
    object,
    None,
    "Other people's run folders whose config may run the code that it names (a reward, judge or agent in Python).",
    several=True,
    only_typed=True,
)


def named_code(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The paths to code that a config names, by option."""
    from .agents import AGENTS
    from .rewards.reward import code_named

    found = {key: code_named(config.get(key)) for key in ("env.reward", "evaluation.judge")}
    found["evaluation.judge"] = [spec for spec in found["evaluation.judge"] if spec != "preference"]
    agent = config.get("agent.name")
    found["agent.name"] = [] if agent is None or agent in AGENTS else [str(agent)]
    return {key: specs for key, specs in found.items() if specs}


def remember_run(folder: Path, config: Mapping[str, Any]) -> None:
    """Record that this account named the code in this run's config."""
    manifest = Manifest.read(folder)
    if manifest is not None and named_code(config):
        remember(run=manifest.head["run"], code=_digest(config))


def check_trust(
    folder: Path, config: Mapping[str, Any], given: Collection[str] = (), trusted: Sequence[str] | None = None
) -> None:
    """Raise :class:`InputError` where the config of a run folder would run code that nobody vouches for.

    Args:
        folder: of the run.
        config: its config.
        given: options that the user gave in this call, whatever the folder says.
        trusted: folders that the user named with ``--trust``.
    """
    named = {key: specs for key, specs in named_code(config).items() if key not in given}
    if not named or any(Path(name).resolve() == folder.resolve() for name in trusted or ()):
        return
    manifest = Manifest.read(folder)
    if manifest is not None and knows(run=manifest.head["run"], code=_digest(config)):
        return
    told = "; ".join(f"{key}: {', '.join(specs)}" for key, specs in named.items())
    raise InputError(
        f"{folder / CONFIG_FILE} would run code ({told}), and there is no record that this account made the run with "
        f"that code as it is now; read it, then add --trust {shlex.quote(str(folder))}."
    )


def _digest(config: Mapping[str, Any]) -> str:
    """A hash of what a config names, of the paths of the files that define it, and of their content."""
    from .rewards.importing import sources_of

    named = named_code(config)
    told = {key: config[key] for key in CODE_KEYS if key in named}
    for specs in named.values():
        for spec in specs:
            for source in sources_of(spec):
                told[str(source.resolve())] = hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
