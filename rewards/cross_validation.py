"""Cross-validation of a preference model: on prompts, and on systems, that it was not trained on.

Where it is known which system wrote a response, a model can learn to tell the systems apart and how good each is,
rather than what is good. Held-out prompts do not show that, as the same systems answer them; held-out systems do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from ..data.splits import group_folds
from ..errors import InputError
from . import training
from .accuracy import accuracy_of_leads, advantage_of_leads, leads
from .breakdown import breakdown
from .encoded import Cuts
from .kept_folds import Fold, KeptFolds, fold_inputs
from .preference_model import PreferenceModel

SYSTEM_BLOCKS = 4
"""Systems are held out two blocks at a time: 6 pairs of blocks, so that any two systems are held out together once."""


class Part(NamedTuple):
    """Comparisons (their places) to measure a model on, and those to train it on."""

    tested: list[int]
    learned: list[int]


def cross_validate(
    make_model: Callable[[], PreferenceModel],
    comparisons: Sequence[Comparison],
    *,
    folds: int = 5,
    seed: int = 0,
    keep_in: Path | None = None,
    accept_changes: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Measure new models on comparisons that they were not trained on: all comparisons of a prompt are in one fold.

    Where all comparisons know their ``systems``, both systems of a comparison are unknown to the model as well: it is
    trained on other prompts and on comparisons between other systems, see :func:`parts_of`. Nothing is selected on what
    is held out: epochs and all other ``options`` (as in :func:`train_preference_model`) are fixed beforehand.

    Args:
        make_model: returns a new, untrained model.
        comparisons: all of them.
        folds: number of folds, at most the number of distinct prompts. With systems, 6 models are trained for each.
        seed: of the folds and of training.
        keep_in: folder that keeps the results of finished folds, which are not computed again; None keeps none.
        accept_changes: recompute folds that were computed on other inputs, instead of refusing them.

    Returns:
        The results of :func:`prefgym.rewards.breakdown.breakdown`; on the same comparisons ``longer`` (how often the
        longer response in characters wins) and ``minus_longer`` (the difference); ``system`` (how often the response of
        the better system wins, as known from other prompts) and ``systems`` (how many), None if unknown; ``chance``
        (0.5); ``folds`` (the accuracy of each model); ``comparisons``, ``prompts``, ``ties``, ``prompts_cut`` and
        ``responses_cut`` (held-out texts that did not fit).

    Raises:
        InputError: a kept fold was computed on something else.
        Stopped: with ``keep_in``, with a sentence that says which folds are saved.
    """
    parts = parts_of(comparisons, folds, seed)
    kept = None
    if keep_in is not None:
        inputs = fold_inputs(make_model(), comparisons, {**options, "folds": folds, "seed": seed})
        kept = KeptFolds(keep_in, len(parts), inputs, accept_changes)
    lead = np.zeros(len(comparisons))
    each, prompts_cut, responses_cut = [], 0, 0
    for number, part in enumerate(parts):
        held_out, learned = ([comparisons[i] for i in places] for places in part)

        def measure(learned: list[Comparison] = learned, held_out: list[Comparison] = held_out) -> Fold:
            pm = make_model()
            training.train_preference_model(pm, learned, seed=seed, **options)
            pm.cuts = Cuts()
            return Fold(leads(pm, held_out).tolist(), pm.cuts.prompts, pm.cuts.responses)

        measured = measure() if kept is None else kept.get(number, measure)
        lead[part.tested] = measured.leads
        each.append(accuracy_of_leads(lead[part.tested], held_out))
        prompts_cut, responses_cut = prompts_cut + measured.prompts_cut, responses_cut + measured.responses_cut
    longer = np.array([float(len(c.chosen) - len(c.rejected)) for c in comparisons])
    systems = {name for comparison in comparisons for name in comparison.systems or ()}
    return {
        **breakdown(lead, comparisons, seed),
        "longer": accuracy_of_leads(longer, comparisons),
        "minus_longer": advantage_of_leads(lead, longer, comparisons),
        "system": accuracy_of_leads(better_system(comparisons, folds, seed), comparisons) if systems else None,
        "systems": len(systems) or None,
        "chance": 0.5,
        "folds": each,
        "comparisons": len(comparisons),
        "prompts": len({comparison.split_group for comparison in comparisons}),
        "ties": sum(comparison.tie for comparison in comparisons),
        "prompts_cut": prompts_cut,
        "responses_cut": responses_cut,
    }


def parts_of(comparisons: Sequence[Comparison], folds: int, seed: int = 0) -> list[Part]:
    """What to measure and what to learn, in each part; every comparison is measured in exactly one.

    By prompt alone: a fold is measured, the others are learned. With systems they are divided into ``SYSTEM_BLOCKS``
    blocks, and each fold has a part for each pair of blocks: it measures that fold's comparisons between systems of
    these blocks, and learns the other folds' comparisons between systems of the other blocks.

    Raises:
        InputError: too many folds, fewer systems than blocks, systems that are known for some comparisons only, or a
            part with nothing to learn.
    """
    fold_of = group_folds([comparison.split_group for comparison in comparisons], folds, seed)
    known = [comparison.systems for comparison in comparisons if comparison.systems is not None]
    if not known:
        return list(_parts(fold_of, [frozenset[int]()] * len(comparisons), [frozenset[int]()] * len(comparisons)))
    if len(known) < len(comparisons):
        raise InputError("Only some comparisons name the systems that wrote the responses; name all or none.")
    names = sorted({name for pair in known for name in pair})
    if len(names) < SYSTEM_BLOCKS:
        raise InputError(
            f"Systems cannot be held out, as there are {len(names)} and it takes {SYSTEM_BLOCKS}; leave "
            "data.system_column out."
        )
    block = dict(zip(names, group_folds(names, SYSTEM_BLOCKS, seed), strict=True))
    blocks = [frozenset(block[name] for name in pair) for pair in known]
    held_out = [pair if len(pair) == 2 else pair | {(min(pair) + 1) % SYSTEM_BLOCKS} for pair in blocks]
    return list(_parts(fold_of, blocks, held_out))


def _parts(
    fold_of: Sequence[int], blocks: Sequence[frozenset[int]], held_out: Sequence[frozenset[int]]
) -> Iterator[Part]:
    """The parts of folds and of the pairs of blocks that are held out together."""
    pairs = [frozenset(pair) for pair in combinations(range(SYSTEM_BLOCKS), 2)] if any(blocks) else [frozenset[int]()]
    for fold in sorted(set(fold_of)):
        for pair in pairs:
            rows = range(len(fold_of))
            tested = [i for i in rows if fold_of[i] == fold and held_out[i] == pair]
            learned = [i for i in rows if fold_of[i] != fold and not blocks[i] & pair]
            if tested and not learned:
                raise InputError(
                    "With a fold and a few systems held out there is no comparison left to learn from; take fewer "
                    "folds, or leave data.system_column out."
                )
            if tested:
                yield Part(tested, learned)


def better_system(comparisons: Sequence[Comparison], folds: int, seed: int = 0) -> NDArray[np.float64]:
    """The lead (N,) of the chosen response's system: its share of wins minus the other's, in the other folds' prompts.

    It shows how far one gets by knowing who wrote a response and nothing else.
    """
    fold_of = np.array(group_folds([comparison.split_group for comparison in comparisons], folds, seed))
    lead = np.zeros(len(comparisons))
    for fold in range(folds):
        outcomes: dict[str, list[float]] = defaultdict(list)
        for i in np.flatnonzero(fold_of != fold).tolist():
            chosen, rejected = comparisons[i].systems or ("", "")
            outcomes[chosen].append(0.5 if comparisons[i].tie else 1.0)
            outcomes[rejected].append(0.5 if comparisons[i].tie else 0.0)
        share = defaultdict(lambda: 0.5, {name: float(np.mean(own)) for name, own in outcomes.items()})
        for i in np.flatnonzero(fold_of == fold).tolist():
            chosen, rejected = comparisons[i].systems or ("", "")
            lead[i] = share[chosen] - share[rejected]
    return lead
