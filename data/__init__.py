"""Text on its way in: prompts, comparisons, instruction pairs, splits, templates, and the embedded world.

Importing this package loads neither torch nor ``datasets``.
"""

from .comparisons import Comparison, load_comparisons, parse_label_map
from .pairs import Pair, load_pairs
from .prompts import PromptSet, embedded_prompts, instruction_prompts, load_prompts, resolve_prompts
from .splits import assign_split, group_folds, split_prompts
from .tables import Table, read_table
from .templates import Template, render_instruction
from .truncation import FittedPrompt, fit_prompt

__all__ = [
    "Comparison",
    "FittedPrompt",
    "Pair",
    "PromptSet",
    "Table",
    "Template",
    "assign_split",
    "embedded_prompts",
    "fit_prompt",
    "group_folds",
    "instruction_prompts",
    "load_comparisons",
    "load_pairs",
    "load_prompts",
    "parse_label_map",
    "read_table",
    "render_instruction",
    "resolve_prompts",
    "split_prompts",
]
