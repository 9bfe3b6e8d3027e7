"""Text on its way in: prompts, comparisons, instruction pairs, splits, templates, and the embedded world."""
