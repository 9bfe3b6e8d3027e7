"""Finished folds of a cross-validation, kept in a folder until the run is over."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.comparisons import Comparison
from ..files import write_text
from ..models.supervised_checkpoint import check_inputs, digest
from ..storage.manifest import covering
from ..storage.signals import stopped
from .preference_model import PreferenceModel


class Fold(NamedTuple):
    """The results of a fold: by how much the preferred response leads, and how many texts did not fit."""

    leads: list[float]
    prompts_cut: int
    responses_cut: int


class KeptFolds:
    """Measures each fold only once.

    Args:
        folder: where results are kept, one file each.
        count: number of folds.
        inputs: hashes of what they depend on, from :func:`fold_inputs`.
        accept_changes: re-measure what was measured on other inputs, instead of refusing it.
    """

    def __init__(self, folder: Path, count: int, inputs: Mapping[str, str], accept_changes: bool) -> None:
        self.folder, self.count, self.inputs, self.accept_changes = folder.resolve(), count, inputs, accept_changes

    def get(self, fold: int, measure: Callable[[], Fold]) -> Fold:
        """The results of a fold, from the folder or measured now.

        Raises:
            InputError: it was measured on something else.
            Stopped: with a sentence that says which folds are saved.
        """
        path = self.folder / f"fold-{fold + 1}.json"
        found = self._read(path)
        if found is not None:
            return found
        try:
            measured = measure()
            write_text(path, json.dumps({**measured._asdict(), "inputs": dict(self.inputs)}) + "\n")
        except KeyboardInterrupt as error:
            stop = stopped(error)
            raise stopped(
                stop,
                f"stopped by {stop.name} after {fold} of {self.count} folds of the cross-validation, which are saved; "
                f"fold {fold + 1} will be repeated.",
            ) from None
        return measured

    def _read(self, path: Path) -> Fold | None:
        """The results of a finished fold; None if missing or damaged."""
        if not path.is_file():
            return None
        manifest = covering(path)
        try:
            if manifest is not None and not manifest.is_whole(path.relative_to(manifest.folder).as_posix()):
                raise ValueError("these are not the bytes that were written")
            told = json.loads(path.read_text(encoding="utf-8"))
            inputs = {name: str(told["inputs"][name]) for name in self.inputs}
            found = Fold(list(map(float, told["leads"])), int(told["prompts_cut"]), int(told["responses_cut"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            warnings.warn(f'"{path}" is damaged; its fold is measured again.', stacklevel=2)
            return None
        if inputs != self.inputs and self.accept_changes:
            return None
        check_inputs(inputs, self.inputs, path)
        return found


def fold_inputs(pm: PreferenceModel, comparisons: Sequence[Comparison], options: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of what a fold's results depend on."""
    return {
        "data": digest(comparisons),
        "model": digest([pm.checksum(), pm.max_length]),
        "options": digest(sorted((name, value) for name, value in options.items() if name != "progress")),
    }
