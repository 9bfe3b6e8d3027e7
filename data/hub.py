"""Find and read a Hugging Face hub data set, only if the user named it. No dataset script is ever run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..paths import user_path
from . import presets
from .splits import FRACTIONS, canonical_split

_HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(:(?P<config>[\w.-]+))?(@(?P<revision>[\w./-]+))?")
FILE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class HubDataset:
    """A hub data set: its repository, config (``None`` for the default) and revision (branch or commit)."""

    repository: str
    config: str | None = None
    revision: str | None = None

    def splits(self) -> dict[str, str]:
        """The data set's own splits: from ``train``, ``validation`` or ``test`` to its own name for it.

        Raises:
            InputError: the hub cannot be reached, or has no such data set.
        """
        import datasets

        try:
            names = datasets.get_dataset_split_names(self.repository, **self._options())
        except Exception as error:
            raise self._failure(error) from None
        own: dict[str, str] = {}
        for name in sorted(names, key=lambda name: name not in FRACTIONS):  # "validation" before "dev"
            split = canonical_split(name)
            if split is not None:
                own.setdefault(split, name)
        return own

    def read(self, split: str, limit: int | None = None) -> Any:
        """The rows of one split, as a ``datasets.Dataset``.

        Raises:
            InputError: the hub cannot be reached, or has no such data set or split.
        """
        import datasets

        try:
            options = self._options()
            rows = datasets.load_dataset(self.repository, options.pop("config_name", None), split=split, **options)
        except Exception as error:
            raise self._failure(error) from None
        return rows if limit is None else rows.select(range(min(limit, len(rows))))

    def _options(self) -> dict[str, Any]:
        options = {"revision": self.revision} if self.revision else {}
        if self.config is not None:  # on the Parquet branch a config is a folder, not a name
            options["data_dir" if self.revision == presets.PARQUET else "config_name"] = self.config
        return options

    def _failure(self, error: Exception) -> InputError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")
        step = "check the name and the connection, or give a local file"
        if "script" in reason:
            step = f'try "{self.repository}@{presets.PARQUET}", or download a data file'
        return InputError(f'Cannot load "{self.repository}" from the Hugging Face hub ({reason}); {step}.')


def find_hub_dataset(source: str | Path) -> HubDataset | None:
    """The hub data set that ``source`` names, or ``None`` for a path: local files take precedence.

    ``source`` is a preset (``"xsum"``), or ``owner/name``, ``owner/name:config``, ``owner/name@revision``,
    ``owner/name:config@revision``.
    """
    if not isinstance(source, str) or user_path(source).exists():
        return None
    preset = presets.find(source)
    if preset is not None:
        return HubDataset(preset.repository, preset.config, preset.revision)
    match = _HUB_ID.fullmatch(source)
    if match is None or match["repository"].lower().removesuffix(".gz").endswith(FILE_SUFFIXES):
        return None
    return HubDataset(match["repository"], match["config"], match["revision"])
