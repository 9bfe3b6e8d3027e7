"""The weights that validated best: ``checkpoints/best-NNNNNN.safetensors``, or in memory where there is no folder.

The number is that of the iteration. A file is written before the iteration counts, and removed only when neither the
run nor any checkpoint in it calls that iteration the best: a run killed at any moment finds the one it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..storage.manifest import Manifest
from ..storage.signals import uninterrupted
from . import processes
from .checkpoint import best_file, drop_best
from .run_folder import DAMAGE, save_tensors
from .validated import best

if TYPE_CHECKING:
    from .base import PolicyGradient


class BestWeights:
    """Keeps what is trained of one agent's policy, an adapter alone if that is all.

    Args:
        agent: whose.
        folder: of the run; None keeps a copy in memory, and so do other processes than the first.
    """

    def __init__(self, agent: PolicyGradient, folder: str | Path | None) -> None:
        self.agent, self.folder = agent, None if folder is None else Path(folder)
        self._memory: dict[int, dict[str, Tensor]] = {}

    def keep(self, iteration: int) -> None:
        """Keep the weights as they are now, as the best: those of that iteration."""
        if self.folder is None or not processes.is_first():
            self._memory = {iteration: {name: tensor.cpu().clone() for name, tensor in self._trained().items()}}
            return
        file = best_file(self.folder, iteration)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(file, self._trained())
        drop_best(self.folder, iteration)

    def check(self) -> None:
        """Check that the weights of the best validation so far are there.

        Raises:
            InputError: they are missing or damaged.
        """
        row = best(self.agent.history)
        if row is not None:
            self._read(int(row["iteration"]))

    def put_back(self) -> None:
        """Give the policy the weights of the best validation."""
        row = best(self.agent.history)
        if row is None:
            return
        iteration = int(row["iteration"])
        weights, trained = self._read(iteration), self._trained()
        with torch.no_grad(), uninterrupted():
            for name, tensor in trained.items():
                tensor.copy_(weights[name])
            self.agent.kept_iteration = iteration

    def _trained(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.agent.policy.named_parameters() if p.requires_grad}

    def _read(self, iteration: int) -> dict[str, Tensor]:
        if iteration in self._memory:
            return self._memory[iteration]
        if self.folder is None:
            raise InputError(
                f"The best weights, of iteration {iteration}, are in the folder of the run; give learn that output."
            )
        file = best_file(self.folder, iteration)
        try:
            weights = load_file(file)
            manifest = Manifest.read(self.folder)
            name = file.relative_to(self.folder).as_posix()
            if (manifest is not None and not manifest.is_whole(name)) or weights.keys() != self._trained().keys():
                raise ValueError
        except DAMAGE:
            raise InputError(
                f'"{file}", the best weights so far, is missing or damaged; restore it from a backup or train again.'
            ) from None
        return weights
