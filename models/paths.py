"""By which paths a model may be read: the fast ones that give what a plain forward pass gives, else the plain one.

No list of architectures decides this. A model's configuration is tried once (see :mod:`prefgym.models.examination`), at
least as far as texts reach; what was found serves every model of that configuration.

Notation: a *column* is a place that attention may look at. Texts that share a row, as several answers to one prompt do,
need more columns than each of them has tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .folder import EMBEDDED

Batch = Literal["left", "right", "equal", "alone"]

_MARK = "_prefgym_paths"
_SHORTEST = 64
"""Columns that are tried at least."""
_FOUND: dict[tuple[str, int], Paths] = {}
_IDLE = frozenset(
    (
        "transformers_version",
        "_name_or_path",
        "name_or_path",
        "architectures",
        "dtype",
        "torch_dtype",
        "use_cache",
        "tie_word_embeddings",
    )
).union(("id2label", "label2id", "problem_type", "return_dict", "output_hidden_states", "output_attentions"))
"""What a configuration says that does not change how texts are read."""


@dataclass(frozen=True)
class Paths:
    """What gives the numbers of a plain forward pass of each text alone.

    Attributes:
        batch: how the plain path reads several texts at once: padded on the ``"left"`` or on the ``"right"``, only
            those of ``"equal"`` length together, or each ``"alone"``.
        positions: the position id of a text's first token; None where the model counts by itself, and is told none.
        behind: prompts are read once for all the responses to them.
        together: responses to a prompt may share a row, under a mask of who sees whom.
        packed: so may texts with different prompts.
        rows: responses are written with a cache of fixed size from which rows leave.
        own: where they are not, with the model's own cache by ``generate``; else all is read again for each token.
        grouped: the responses to a prompt are written as one row.
        static: they are written in steps of fixed shape.
        steps: one more token is read for rows that stand at different columns; else each text is read again.
    """

    batch: Batch = "left"
    positions: int | None = 0
    behind: bool = True
    together: bool = True
    packed: bool = True
    rows: bool = True
    own: bool = True
    grouped: bool = True
    static: bool = True
    steps: bool = True

    def only_plain(self) -> Paths:
        """The same without any fast path."""
        none: dict[str, Any] = dict.fromkeys(FAST, False)
        return replace(self, **none)


FAST = ("behind", "together", "packed", "rows", "own", "grouped", "static", "steps")
EVERY = Paths()


def paths_of(model: nn.Module, columns: int) -> Paths:
    """Return by which paths a model is read where up to ``columns`` columns are needed; tried at the first call.

    A class of ours may state them, as ``reads_by``.

    Raises:
        InputError: no path gives the numbers of a plain forward pass.
    """
    inner = inner_model(model)
    stated: Paths | None = getattr(inner, "reads_by", None)
    if stated is not None and _MARK not in inner.__dict__:
        return stated
    known: dict[int, Paths] = inner.__dict__.setdefault(_MARK, {})
    reach = _reach(inner, columns)
    if reach not in known:
        known[reach] = known[0] if 0 in known else _find(inner, reach)
    return known[reach]


def first_position(model: nn.Module, columns: int) -> int:
    """The position id of a text's first token."""
    return paths_of(model, columns).positions or 0


def inner_model(model: nn.Module) -> Any:
    """The model itself where another module wraps it, as for several processes."""
    return getattr(model, "module", model)


def limit_of(model: nn.Module) -> int | None:
    """The number of tokens a model's positions allow; None if nothing limits them."""
    config = inner_model(model).config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(text, "max_position_embeddings", None)
    return int(limit) if limit else None


def _first_context(model: nn.Module) -> int | None:
    """The length up to which a model was first trained, where its positions change beyond it (LongRoPE)."""
    text = inner_model(model).config.get_text_config()
    told = getattr(text, "rope_parameters", None) or {}
    for place in (vars(text), told if isinstance(told, dict) else {}):
        if isinstance(place.get("original_max_position_embeddings"), int):
            return int(place["original_max_position_embeddings"])
    return None


@contextmanager
def reading_by(model: nn.Module, paths: Paths) -> Iterator[None]:
    """Inside this, read a model by these paths, right or not."""
    inner = inner_model(model)
    before = inner.__dict__.get(_MARK)
    inner.__dict__[_MARK] = {0: paths}
    try:
        yield
    finally:
        del inner.__dict__[_MARK]
        if before is not None:
            inner.__dict__[_MARK] = before


def trust(model: nn.Module, paths: Paths = EVERY) -> None:
    """Read a model by these paths from now on, without a trial."""
    inner_model(model).__dict__[_MARK] = {0: paths}


def _reach(model: nn.Module, columns: int) -> int:
    """``columns`` rounded up, so that few lengths are tried."""
    reach = _SHORTEST
    while reach < columns:
        reach += reach // 2 if reach & (reach - 1) == 0 else reach // 3  # 64, 96, 128, 192, 256, ...
    bounds = [bound for bound in (limit_of(model), _first_context(model)) if bound and columns <= bound]
    return min([reach, *bounds])


def _find(model: nn.Module, reach: int) -> Paths:
    key = (fingerprint(type(model), model.config), reach)
    if key not in _FOUND:
        from .examination import find_paths  # imported late: it reads by every path

        _FOUND[key] = EVERY if key[0] in _ours() else find_paths(model, reach)
    return _FOUND[key]


def fingerprint(kind: type, config: Any) -> str:
    """What decides how a model of a class reads: the class, its configuration, and how it computes attention."""
    told = {name: value for name, value in config.to_dict().items() if name not in _IDLE}
    attention = getattr(config, "_attn_implementation", None)
    named = (f"{kind.__module__}.{kind.__qualname__}", None if attention in ("sdpa", "eager") else attention, told)
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode()).hexdigest()


def is_ours(model: nn.Module) -> bool:
    """Whether a model has the configuration of an embedded one, whose every path is tested."""
    return fingerprint(type(model), model.config) in _ours()


@cache
def _ours() -> frozenset[str]:
    """Fingerprints of the embedded models and of their trunks, whose every path is tested."""
    configs = [AutoConfig.from_pretrained(file.parent) for file in EMBEDDED.glob("*/config.json")]
    mappings: Any = (AutoModelForCausalLM._model_mapping, AutoModel._model_mapping)
    return frozenset(fingerprint(mapping[type(config)], config) for config in configs for mapping in mappings)
