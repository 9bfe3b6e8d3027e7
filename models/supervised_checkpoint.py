"""Checkpoints of supervised runs: everything that the next optimiser step depends on, in folders complete or absent.

    run/checkpoints/step-000040/
        state.safetensors    weights, AdamW's moments, the best weights, random states, the loss since the last log
        state.json           counters, schedule, the smallest held-out loss, hashes of data, start model and options
        trainer_state.json   the Trainer's counters and its history

The Trainer's own resume files are pickles; none is written or read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from ..errors import InputError
from ..files import write_text
from ..storage.atomic import replacing, sha256_of
from ..storage.manifest import claim
from ..storage.whole import discard, is_whole, whole_folder

KEEP = 2  # checkpoints
FOLDER, STATE, TENSORS = "checkpoints", "state.json", "state.safetensors"
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, SafetensorError)
"""Errors that reading a damaged checkpoint can raise."""
COUNTERS = ("global_step", "epoch", "num_input_tokens_seen", "total_flos")
_TOLD = {
    "data": "the examples",
    "model": "the model that training started from",
    "options": "the options of training",
}


class Best(NamedTuple):
    """The smallest evaluation loss so far, its optimiser step, and the weights of that step if kept."""

    loss: float = math.inf
    step: int = 0
    weights: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Moment:
    """What the next step depends on besides weights and optimiser, recorded when a step is over.

    Attributes:
        due: whether the evaluation after the step is still to come.
        counters: of the ``TrainerState``.
        points: how many points the history had.
        sums: of loss and operations, and when they were last logged.
        tensors: random states, and the loss since the last log.
    """

    due: bool
    counters: dict[str, Any]
    points: int
    sums: dict[str, float]
    tensors: dict[str, Tensor]

    @property
    def step(self) -> int:
        """The optimiser step."""
        return int(self.counters["global_step"])

    @classmethod
    def of(cls, trainer: Any, due: bool) -> Moment:
        """A trainer's current moment."""
        state: TrainerState = trainer.state
        tensors = {"loss": trainer._tr_loss.detach().clone(), "random.cpu": torch.get_rng_state()}
        if trainer.args.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(trainer.args.device)
        sums = {name: getattr(trainer, name) for name in _SUMS}
        return cls(due, {name: getattr(state, name) for name in COUNTERS}, len(state.log_history), sums, tensors)

    def put_back(self, trainer: Any) -> None:
        """Restore a trainer's sums; the ``TrainerState`` restores its own counters."""
        trainer._tr_loss = self.tensors["loss"].to(trainer.args.device, copy=True)
        for name, value in self.sums.items():
            setattr(trainer, name, value)

    def put_back_random(self, device: torch.device) -> None:
        """Restore the random states."""
        torch.set_rng_state(self.tensors["random.cpu"])
        if "random.cuda" in self.tensors and device.type == "cuda":
            torch.cuda.set_rng_state(self.tensors["random.cuda"], device)


_SUMS = ("_total_loss_scalar", "_globalstep_last_logged", "current_flos")


@dataclass
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: its folder.
        moment: its moment in training.
        history: the points logged until then.
        best: the best evaluation until then.
        seconds: how long training took until then.
        state: the rest of ``state.json``.
        tensors: the rest of the tensors, by group: ``model`` and ``optimizer``.
    """

    path: Path
    moment: Moment
    history: list[dict[str, Any]]
    best: Best
    seconds: float
    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def save_checkpoint(
    folder: Path, trainer: Any, moment: Moment, best: Best, inputs: Mapping[str, str], seconds: float
) -> None:
    """Write ``checkpoints/step-NNNNNN`` under the run folder and drop all but the last ``KEEP``.

    A checkpoint with somebody else's file in it is kept.
    """
    optimizer = trainer.optimizer.state_dict()
    tensors = {f"moment.{name}": value for name, value in moment.tensors.items()}
    tensors |= {f"model.{name}": value for name, value in weights_of(trainer.model).items()}
    tensors |= {f"best.{name}": value for name, value in (best.weights or {}).items()}
    for index, values in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    state = {
        "due": moment.due,
        "sums": moment.sums,
        "best": None if math.isinf(best.loss) else [best.loss, best.step],
        "optimizer": optimizer["param_groups"],
        "schedule": trainer.lr_scheduler.state_dict(),
        "seconds": seconds,
        "inputs": dict(inputs),
    }
    history = trainer.state.log_history[: moment.points]
    told = dataclasses.replace(trainer.state, log_history=history, stateful_callbacks={}, **moment.counters)
    with whole_folder(folder / FOLDER / f"step-{moment.step:06d}") as writing:
        with replacing(writing / TENSORS) as file:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
            claim(writing / TENSORS, sha256_of(file))
        write_text(writing / STATE, json.dumps(state) + "\n")
        write_text(writing / TRAINER_STATE_NAME, json.dumps(dataclasses.asdict(told)) + "\n")
    drop_old(folder)


def drop_old(folder: Path) -> None:
    """Remove all checkpoints but the last ``KEEP``, for a run that was killed before it could do so."""
    for old in checkpoints(folder)[:-KEEP]:
        discard(old)


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints of a run folder, the newest last."""
    found = (Path(folder) / FOLDER).glob("step-*")
    numbered = {path: path.name.removeprefix("step-") for path in found}
    return sorted((path for path, number in numbered.items() if number.isdecimal()), key=lambda p: int(numbered[p]))


def read_latest(folder: str | Path) -> Checkpoint | None:
    """The last complete checkpoint of a run folder, None if there is none; a damaged one is reported and skipped.

    Raises:
        InputError: all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            if is_whole(path):
                return _read(path)
        except DAMAGE:  # a folder made by somebody else, or by another version
            pass
        if path != found[0]:
            warnings.warn(f'The checkpoint "{path}" is damaged; the one before it is used.', stacklevel=2)
    if found:
        raise InputError(
            f'The checkpoint "{found[-1]}" is damaged, and there is no intact one before it; start over in another '
            "folder, or with --overwrite."
        )
    return None


def check_inputs(saved: Any, given: Mapping[str, str], what: Path) -> None:
    """Raise :class:`InputError` if a run was trained on something other than what is given now."""
    for name, hashed in given.items():
        if isinstance(saved, dict) and saved.get(name) != hashed:
            raise InputError(
                f"{_TOLD.get(name, name)} changed since {what} was saved, and resuming would train another model; put "
                "it back, or add --accept-changes (in Python accept_changes=True)."
            )


def digest(rows: Iterable[Any]) -> str:
    """A hash of a sequence of numbers, texts and nested values."""
    found = hashlib.sha256()
    for row in rows:
        found.update(repr(row).encode("utf-8", "surrogatepass") + b"\n")
    return found.hexdigest()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, but frozen ones; tied ones once, under one of their names."""
    found, seen = dict[str, Tensor](), set[tuple[Any, ...]]()
    frozen = {name for name, given in model.named_parameters(remove_duplicate=False) if not given.requires_grad}
    for name, tensor in model.state_dict().items():
        if name in frozen:
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        if not tensor.numel() or place not in seen:
            seen.add(place)
            found[name] = tensor
    return found


def put_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights from :func:`weights_of` into a model's parameters and buffers."""
    own = weights_of(model)
    if own.keys() != weights.keys():
        raise KeyError("these are weights of another model")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    told = TrainerState.load_from_json(str(path / TRAINER_STATE_NAME))
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in ("moment", "model", "best", "optimizer")}
    for key, tensor in load_file(path / TENSORS).items():
        group, _, name = key.partition(".")
        groups[group][name] = tensor
    counters = {name: getattr(told, name) for name in COUNTERS}
    moment = Moment(bool(state["due"]), counters, len(told.log_history), state["sums"], groups.pop("moment"))
    weights = groups.pop("best") or None
    best = Best() if state["best"] is None else Best(float(state["best"][0]), int(state["best"][1]), weights)
    return Checkpoint(path, moment, told.log_history, best, float(state["seconds"]), state, groups)
