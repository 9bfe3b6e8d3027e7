"""Measuring a preference model by prompt: each fold by a model that was trained on the others.

With a folder, every finished fold is kept there, and not computed again.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..data.comparisons import Comparison
from ..data.splits import group_folds
from ..files import write_text
from ..models.supervised_checkpoint import check_inputs, digest
from ..storage.manifest import covering
from ..storage.signals import stopped
from .accuracy import accuracy_of_leads, leads
from .breakdown import breakdown
from .preference_model import PreferenceModel
from .training import train_preference_model


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
    """Measure on each fold a new model that was trained on the others; all comparisons of a prompt share a fold.

    Nothing is chosen on the held-out fold: epochs and all other ``options`` (as in :func:`train_preference_model`)
    are fixed beforehand.

    Args:
        make_model: returns a new, untrained model.
        comparisons: all of them.
        folds: number of folds, at most the number of distinct prompts.
        seed: of the folds and of training.
        keep_in: folder of finished folds, which are read from there; None keeps none. See :func:`discard_folds`.
        accept_changes: compute folds again that were computed on something else, instead of refusing them.

    Returns:
        The measures of :func:`prefgym.rewards.breakdown.breakdown`; on the same comparisons ``longer`` (how often the
        longer response in characters wins); ``chance`` (0.5); ``folds`` (each fold's own accuracy); ``comparisons``,
        ``prompts``, ``ties``, ``prompts_cut`` and ``responses_cut`` (held-out texts that did not fit).

    Raises:
        InputError: a kept fold was computed on something else.
        Stopped: with a sentence that says which folds are saved.
    """
    groups = [comparison.split_group for comparison in comparisons]
    fold_of = group_folds(groups, folds, seed)
    inputs = _inputs(make_model, comparisons, folds, seed, options) if keep_in is not None else {}
    measured = []
    for fold in range(folds):
        path = None if keep_in is None else keep_in / f"fold-{fold + 1}.json"
        held_out = [item for item, its in zip(comparisons, fold_of, strict=True) if its == fold]
        learned = [item for item, its in zip(comparisons, fold_of, strict=True) if its != fold]
        found = None if path is None else _read(path, inputs, accept_changes)
        try:
            measured.append(found or _measure(make_model(), learned, held_out, seed, options))
            if path is not None and found is None:
                write_text(path, json.dumps({**measured[-1], "inputs": inputs}) + "\n")
        except KeyboardInterrupt as error:
            if path is None:
                raise
            raise _told(error, fold, folds) from None
    lead = np.zeros(len(comparisons))
    each = []
    for fold, measures in enumerate(measured):
        tested = [i for i in range(len(comparisons)) if fold_of[i] == fold]
        lead[tested] = measures["leads"]
        each.append(accuracy_of_leads(lead[tested], [comparisons[i] for i in tested]))
    longer = np.array([float(len(c.chosen) - len(c.rejected)) for c in comparisons])
    return {
        **breakdown(lead, comparisons, seed),
        "longer": accuracy_of_leads(longer, comparisons),
        "chance": 0.5,
        "folds": each,
        "comparisons": len(comparisons),
        "prompts": len(set(groups)),
        "ties": sum(comparison.tie for comparison in comparisons),
        **{name: sum(measures[name] for measures in measured) for name in ("prompts_cut", "responses_cut")},
    }


def discard_folds(keep_in: Path) -> None:
    """Remove the finished folds of a run that needs them no more; files of others there are kept."""
    for path in keep_in.glob("fold-*.json"):
        manifest = covering(path.resolve())
        if manifest is None or manifest.holds(path.resolve()):
            path.unlink()
    with suppress(OSError):
        keep_in.rmdir()


def _measure(
    pm: PreferenceModel,
    learned: Sequence[Comparison],
    held_out: Sequence[Comparison],
    seed: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    train_preference_model(pm, learned, seed=seed, **options)
    pm.prompts_cut = pm.responses_cut = 0
    lead = [float(value) for value in leads(pm, held_out)]
    return {"leads": lead, "prompts_cut": pm.prompts_cut, "responses_cut": pm.responses_cut}


def _inputs(
    make_model: Callable[[], PreferenceModel],
    comparisons: Sequence[Comparison],
    folds: int,
    seed: int,
    options: dict[str, Any],
) -> dict[str, str]:
    """Hashes of what a fold's measures depend on."""
    pm = make_model()
    fixed = sorted((name, value) for name, value in options.items() if name != "progress")
    return {
        "data": digest(comparisons),
        "model": digest([pm.checksum(), pm.max_length]),
        "options": digest([folds, seed, *fixed]),
    }


def _read(path: Path, inputs: dict[str, str], accept_changes: bool) -> dict[str, Any] | None:
    """The measures of a finished fold; None where there are none, or damaged ones."""
    if not path.is_file():
        return None
    manifest, place = covering(path.resolve()), path.resolve()
    try:
        if manifest is not None and not (
            manifest.holds(place) and manifest.is_whole(place.relative_to(manifest.folder).as_posix())
        ):
            raise ValueError("other bytes than were written")
        found = json.loads(path.read_text(encoding="utf-8"))
        saved = {name: str(found["inputs"][name]) for name in inputs}
        measures = {name: found[name] for name in ("leads", "prompts_cut", "responses_cut")}
    except (ValueError, KeyError, TypeError, RecursionError):
        warnings.warn(f'"{path}" is damaged; its fold is computed again.', stacklevel=2)
        return None
    if saved != inputs and accept_changes:
        return None
    check_inputs(saved, inputs, path)
    return measures


def _told(error: KeyboardInterrupt, fold: int, folds: int) -> KeyboardInterrupt:
    stop = stopped(error)
    return stopped(
        stop,
        f"stopped by {stop.name} after {fold} of {folds} folds of the cross-validation, which are saved; fold "
        f"{fold + 1} will be repeated.",
    )
