"""Reading text: prompts, comparisons, instruction pairs, splits, templates, and the embedded world.

Importing this package loads neither torch nor ``datasets``.
"""

from .comparisons import Comparison, load_comparisons, parse_label_map
from .mixing import Mixture
from .pairs import Pair, instruction_pairs, load_pairs
from .prompts import PromptSet, embedded_prompts, instruction_prompts, load_prompts, resolve_prompts
from .rated import Rated, rated_comparisons
from .splits import assign_split, group_folds, split_prompts
from .tables import Table, read_table
from .task_files import TaskFile, read_task_file
from .templates import Template, render_instruction
from .truncation import FittedPrompt, fit_prompt

__all__ = [
    "Comparison",
    "FittedPrompt",
    "Mixture",
    "Pair",
    "PromptSet",
    "Rated",
    "Table",
    "TaskFile",
    "Template",
    "assign_split",
    "embedded_prompts",
    "fit_prompt",
    "group_folds",
    "instruction_pairs",
    "instruction_prompts",
    "load_comparisons",
    "load_pairs",
    "load_prompts",
    "parse_label_map",
    "rated_comparisons",
    "read_table",
    "read_task_file",
    "render_instruction",
    "resolve_prompts",
    "split_prompts",
]
