"""The corpora people use, each pinned to a repository, config and revision that hold Parquet files.

The layouts below come from the data sets' public cards. This package reads no network on its own: a preset is loaded
only when the user names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .templates import SUMMARIZE, Template

PARQUET = "refs/convert/parquet"  # the branch on which the hub keeps every public data set as Parquet


@dataclass(frozen=True)
class Preset:
    """Where a corpus lies and how its columns are called.

    Attributes:
        repository: hub id.
        kind: what the rows are: prompts with references, comparisons, pairs, or benchmark questions.
        columns: from the name used here (``prompt``, ``reference``, ``chosen``, ``first``, ``label``, ...) to the
            corpus's own column, which may be a path such as ``summaries.0.text``.
        config: config (subset) of the data set; ``None`` for its default.
        revision: branch or commit that holds Parquet files.
        template: the text around a prompt.
        label_map: for comparisons with a label, what each label says.
    """

    repository: str
    kind: Literal["prompts", "comparisons", "pairs", "benchmark"]
    columns: Mapping[str, str]
    config: str | None = None
    revision: str = "main"
    template: Template = SUMMARIZE
    label_map: Mapping[str, str] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {}


def find(source: str | Path) -> Preset | None:
    """The preset called ``source``, or the one for that repository; ``None`` for anything else, local files first."""
    if not isinstance(source, str) or Path(source).exists():
        return None
    by_repository = {preset.repository: preset for preset in PRESETS.values()}
    return PRESETS.get(source) or by_repository.get(source)
