"""What an evaluation has to write, read and score: the counts behind :func:`prefgym.evaluation.policies.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from .exam import BEST_OF

TEMPERATURES = 4
"""How many ``choose_temperature`` tries."""
QUOTED = 4
"""Candidates that no policy wrote, at most: references, another prompt's, lead sentences, the oracle's."""


@dataclass(frozen=True)
class Workload:
    """Counts of texts.

    Attributes:
        asked: prompts that a policy reads to answer.
        written: responses that it writes.
        read: texts whose log-probs the reference gives.
        scored: texts that each score judges, at most.
    """

    asked: int
    written: int
    read: int
    scored: int


def workload(policies: int, prompts: int, validation: int, chooses: bool = True) -> Workload:
    """The work of judging so many policies beside the start policy.

    Args:
        policies: beside the start policy.
        prompts: that all are judged on.
        validation: prompts that a temperature is chosen on, 0 for none.
        chooses: whether there is a score that chooses among the start policy's samples.

    >>> workload(policies=1, prompts=10, validation=0, chooses=False)
    Workload(asked=20, written=40, read=20, scored=80)
    """
    plain = 2 * (1 + policies) * prompts  # each policy and the start policy, sampled and greedy, in one reading
    tried = TEMPERATURES * validation + prompts if chooses and validation else 0
    best = prompts if chooses else 0
    return Workload(
        asked=plain // 2 + best + tried,
        written=plain + BEST_OF * best + tried,
        read=2 * policies * prompts + (prompts if tried else 0),
        scored=plain + BEST_OF * best + best + tried + QUOTED * prompts,
    )
