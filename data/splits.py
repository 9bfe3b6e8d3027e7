"""Split and fold by prompt, by a hash that is the same on every machine and in every process.

A prompt never moves to another split when rows are added to its file, and all rows of one prompt are in the same split.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..errors import InputError

Row = TypeVar("Row")

FRACTIONS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}

_ALIASES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def canonical_split(name: object) -> str | None:
    """The usual name of a split (``"dev"`` is ``"validation"``), or ``None`` if ``name`` is not one."""
    return _ALIASES.get(str(name).strip().lower())


def stable_uniform(text: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends only on ``text`` and ``seed``.

    >>> stable_uniform("a") == stable_uniform("a"), stable_uniform("a") == stable_uniform("a", seed=1)
    (True, False)
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=str(seed).encode()[:16])
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53


def assign_split(prompt: str, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> str:
    """The split that ``prompt`` belongs to. ``fractions``: share of each split, summing to 1."""
    shares = _checked(fractions)
    position, edge = stable_uniform(prompt, seed), 0.0
    for name, share in shares:
        edge += share
        if position < edge:
            return name
    return shares[-1][0]


def split_prompts(prompts: Sequence[str], fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> list[str]:
    """The split of every row. Like ``assign_split``, but with few prompts no split is left empty.

    Raises:
        InputError: there are fewer distinct prompts than splits.
    """
    shares = _checked(fractions)
    positions = {prompt: stable_uniform(prompt, seed) for prompt in set(prompts)}
    ordered = sorted(positions, key=positions.__getitem__)
    if len(ordered) < len(shares):
        raise InputError(
            f"{len(ordered)} distinct prompts cannot be split into {', '.join(fractions)}; give more prompts, "
            "or mark the rows in a column named split."
        )
    split_of: dict[str, str] = {}
    start, edge = 0, 0.0
    for i, (name, share) in enumerate(shares):  # a split is a consecutive range of the ordered prompts
        edge += share
        others = len(shares) - 1 - i
        end = bisect.bisect_left(ordered, edge, key=positions.__getitem__) if others else len(ordered)
        end = min(max(end, start + 1), len(ordered) - others)
        split_of.update(dict.fromkeys(ordered[start:end], name))
        start = end
    return [split_of[prompt] for prompt in prompts]


def group_folds(groups: Sequence[str], k: int, seed: int = 0) -> list[int]:
    """The fold (0 to k-1) of every row for cross-validation: all rows of one group in one fold, folds of similar size.

    Groups are taken in hash order, each into the fold that has the fewest rows so far.

    Raises:
        InputError: ``k`` is below 2 or above the number of distinct groups.
    """
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    if not 2 <= k <= len(sizes):
        raise InputError(f"Cross-validation in {k} folds needs 2 to {len(sizes)} folds for {len(sizes)} prompts.")
    rows = [0] * k
    fold_of = {}
    for group in sorted(sizes, key=lambda name: stable_uniform(name, seed)):
        fold = rows.index(min(rows))
        fold_of[group] = fold
        rows[fold] += sizes[group]
    return [fold_of[group] for group in groups]


def spaced(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """At most ``most`` rows, at equal distances from all over.

    >>> spaced("abcdefg", 3), spaced("ab", 3)
    (['a', 'c', 'e'], 'ab')
    """
    return [rows[number * len(rows) // most] for number in range(most)] if len(rows) > most else rows


def _checked(fractions: Mapping[str, float]) -> list[tuple[str, float]]:
    if any(share <= 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise InputError(f"Split fractions must be above 0 and sum to 1, got {dict(fractions)}.")
    return list(fractions.items())
