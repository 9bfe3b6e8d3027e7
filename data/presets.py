"""Common corpora, each pinned to a repository, config and revision with data files that need no script.

A preset is loaded only when the user names it: ``tldr``, its repository ``trl-lib/tldr``, or with another config,
``bigbench:navigate``. Repositories, configs, columns and commits were checked against public cards and code; the files
themselves were not downloaded. Not checked: the columns of ``tasksource/bigbench`` (taken from ``google/bigbench``),
and that its Parquet branch holds every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..paths import user_path
from .templates import INSTRUCT, PLAIN, SUMMARIZE, Template

EMBEDDED_INSTRUCTIONS = "embedded-instructions"
"""Pairs of the embedded world, which need no hub; some families of them: ``embedded-instructions:who,when``."""

PARQUET = "refs/convert/parquet"  # the branch where the hub keeps public data sets as Parquet, one folder per config


@dataclass(frozen=True)
class Preset:
    """Where a corpus is and what its columns are called.

    Attributes:
        repository: hub id.
        kind: what its rows are.
        columns: from our name of a column (``prompt``, ``reference``, ``chosen``, ``first``, ``label``, ...) to the
            corpus's own, which may be a path (``summaries.0.text``) or several columns (``info.title,info.post``).
        config: config (subset) of the data set; ``None`` for its default.
        revision: branch or commit.
        template: the text around a prompt.
        label_map: what each label means.
    """

    repository: str
    kind: Literal["prompts", "comparisons", "pairs", "benchmark"]
    columns: Mapping[str, str]
    config: str | None
    revision: str
    template: Template = SUMMARIZE
    label_map: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str, given: str, default: str) -> str:
        """The corpus's column for ``name``, unless the user ``given`` one that is not the ``default``."""
        return self.columns.get(name, given) if given == default else given


PRESETS: Mapping[str, Preset] = {
    "tldr": Preset(
        "trl-lib/tldr",
        "prompts",
        {"prompt": "prompt", "reference": "completion", "instruction": "prompt", "output": "completion"},
        config=None,
        revision="21233da376667088e6eb1ce4ce19ed832c2935d3",
    ),
    "summarize_from_feedback": Preset(
        "openai/summarize_from_feedback",
        "comparisons",
        {
            "prompt": "info.title,info.post,info.article",  # a Reddit post has no article, a news story no post
            "first": "summaries.0.text",
            "second": "summaries.1.text",
            "label": "choice",
        },
        config="comparisons",
        revision=PARQUET,
        label_map={"0": "first", "1": "second"},
    ),
    "hh-rlhf": Preset(  # the prompt is the beginning that chosen and rejected share
        "Anthropic/hh-rlhf",
        "comparisons",
        {"chosen": "chosen", "rejected": "rejected"},
        config=None,
        revision="09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
        template=PLAIN,
    ),
    "cnn_dailymail": Preset(
        "abisee/cnn_dailymail",
        "prompts",
        {"prompt": "article", "reference": "highlights", "instruction": "article", "output": "highlights"},
        config="3.0.0",
        revision="96df5e686bee6baa90b8bee7c28b81fa3fa6223d",
    ),
    "xsum": Preset(
        "EdinburghNLP/xsum",
        "prompts",
        {"prompt": "document", "reference": "summary", "instruction": "document", "output": "summary"},
        config="default",
        revision=PARQUET,
    ),
    "natural-instructions": Preset(  # Super-NaturalInstructions, one row per instance
        "Muennighoff/natural-instructions",
        "pairs",
        {"instruction": "definition", "input": "inputs", "output": "targets", "task": "task_name"},
        config="default",
        revision=PARQUET,
        template=INSTRUCT,
    ),
    "mmlu": Preset(
        "cais/mmlu",
        "benchmark",
        {"question": "question", "choices": "choices", "answer": "answer", "task": "subject"},
        config="all",
        revision="c30699e8356da336a370243923dbaf21066bb9fe",
        template=PLAIN,
    ),
    "bigbench": Preset(  # one config per task
        "tasksource/bigbench",
        "benchmark",
        {"question": "inputs", "choices": "multiple_choice_targets", "answer": "multiple_choice_scores"},
        config="date_understanding",
        revision=PARQUET,
        template=PLAIN,
    ),
}


def find(source: object) -> Preset | None:
    """The preset that ``source`` names, by its own name or its repository, else ``None``; local files go first."""
    if not isinstance(source, str) or user_path(source).exists():
        return None
    name, _, config = source.partition(":")
    by_repository = {preset.repository: preset for preset in PRESETS.values()}
    preset = PRESETS.get(name) or by_repository.get(name)
    return replace(preset, config=config) if preset and config else preset
