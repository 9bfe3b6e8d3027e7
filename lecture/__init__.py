"""The lecture: what makes a language model do what people want, one measured figure for each claim.

``FIGURES`` lists the claims in presentation order. Each has a module of that name in ``figures``, which says what is
measured (``measure``), how it is drawn (``draw``) and what was found (``finding``); a ``Workshop`` makes the models
they share and remembers what was measured, so that a stopped lecture continues where it was. All data are those of the
embedded world: synthetic.
"""

from __future__ import annotations

from importlib import import_module

from .figure import Figure

FIGURES = (
    "intent",
    "one_task_or_many",
    "data_and_scale",
    "benchmarks",
    "flan",
    "token_level",
    "open_ended",
    "policy_gradient",
    "pairwise_or_ratings",
    "reward_models",
    "rlhf_or_sft",
    "over_optimisation",
    "hallucination",
    "less_human_data",
)
"""Names of the figures, in order."""


def load_figure(name: str) -> Figure:
    """The figure of that name, one of ``FIGURES``; only its own module is imported."""
    figure: Figure = import_module(f".figures.{name}", __package__).FIGURE
    return figure


__all__ = ["FIGURES", "Figure", "load_figure"]
