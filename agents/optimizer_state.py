"""The state of any optimiser as tensors and JSON, and back.

What ``state_dict`` gives is a tree of dicts, lists and tuples. Its tensors are taken out, and a note with a name stands
in the place of each, so that one file holds the tensors and another one the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

TENSOR, TUPLE, PAIRS = "<tensor>", "<tuple>", "<pairs>"
"""Keys of notes: the name of a tensor, the items of a tuple, the pairs of a dict, whose keys need not be texts."""


def packed(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the state, by names that begin with ``optimizer.``, and the rest as JSON; no tensor is copied.

    Raises:
        InputError: there is something else in it than tensors, numbers, texts and containers of them.
    """
    tensors: dict[str, Tensor] = {}
    tree = optimizer.state_dict()
    state = _pack(tree["state"], "optimizer", tensors)
    groups = _pack(tree["param_groups"], "optimizer.groups", tensors)
    return tensors, {"kind": type(optimizer).__name__, "state": state, "groups": groups}


def put_back(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: Any) -> None:
    """Restore what :func:`packed` gave; its tensors become the optimiser's.

    Raises:
        InputError: it is the state of another optimiser.
    """
    if isinstance(rest, list):  # earlier versions had Adam alone, whose state is all tensors, and wrote its groups
        state, groups = _by_name(tensors), rest
    else:
        kind = type(optimizer).__name__
        if rest["kind"] != kind:
            raise InputError(
                f"it has the state of the optimiser {rest['kind']}, not of {kind}; resume with {rest['kind']}."
            )
        state, groups = _unpack(rest["state"], tensors), _unpack(rest["groups"], tensors)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        while name in tensors:  # the keys "a.b" and "b" in "a" give the same
            name += "_"
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, dict):
        return {PAIRS: [[_plain(key, name), _pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{name}.{place}", tensors) for place, item in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    return _plain(value, name)


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if TUPLE in value:
        return tuple(_unpack(item, tensors) for item in value[TUPLE])
    return {key: _unpack(item, tensors) for key, item in value[PAIRS]}


def _plain(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"The optimiser keeps a {type(value).__name__} ({name}), which a checkpoint cannot hold; let it keep tensors, "
        "numbers and texts, or train without save_every."
    )


def _by_name(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    return state
