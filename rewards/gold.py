"""The gold preference: the known true value of a summary of a post from the embedded world.

    gold = Σ_covered w_slot + 1 - 1.5 · invented - 0.5 · distracting - 5 · (1 - fluency) - 4 · repetition - length cost

- *covered*: the post's facts that the text states (`WEIGHTS`: the question weighs most);
- *invented*: values stated that the post does not state, including a question other than the writer's;
- *distracting*: values stated that are in the post but beside its point;
- *fluency*: share of adjacent word pairs that occur in the world's own texts, with values replaced by slot names;
- *repetition*: share of word triples that occurred earlier in the text;
- *length cost*: 0 up to 32 words, then growing smoothly to 0.12 per word (`length_cost`).

A flawless summary reaches 7.75. An empty text has the lowest possible score, -8. Gold judges and simulates annotators;
training never sees it. It reads only text and knows no models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ..data.world import comments, oracle, post, words
from ..data.world.mentions import blank_values, mentions

WEIGHTS = {"question": 2.0, "event": 1.0, "thing": 1.0, "who": 1.0, "feeling": 0.75, "place": 0.5, "time": 0.5}
"""The value of stating each fact."""

INVENTED, DISTRACTING, DISFLUENCY, REPETITION = 1.5, 0.5, 5.0, 4.0
BASE = 1.0
EMPTY = -8.0
FREE_WORDS = 32

_PIECE = re.compile(r"<\w+>|[a-z0-9]+(?:['-][a-z0-9]+)*|[.?!]+")
_BOUNDARY = "."
_POSTS_READ = 1200


@dataclass(frozen=True)
class GoldScore:
    """The value of one text and its parts; every cost is at least 0.

    Attributes:
        total: the gold score, within [-8, 7.75].
        covered: slots whose fact the text states.
        coverage: their summed weights.
        invented: number of values the post does not state.
        distracting: number of values that are beside the point.
        fluency: share of known word pairs, 0 to 1.
        repetition: share of repeated word triples, 0 to 1.
        length: number of words.
        length_cost: cost of the words beyond 32.
    """

    total: float
    covered: frozenset[str]
    coverage: float
    invented: int
    distracting: int
    fluency: float
    repetition: float
    length: int
    length_cost: float


def length_cost(num_words: int) -> float:
    """0.12 e² / (e + 8) for e words beyond 32: 0.05 at 34 words, 0.48 at 40, 7.3 at 100."""
    excess = max(0, num_words - FREE_WORDS)
    return 0.12 * excess**2 / (excess + 8)


def gold_score(facts: Mapping[str, str], distractors: Iterable[Sequence[str]], text: str) -> GoldScore:
    """Score ``text`` as a summary of the post with these facts.

    Args:
        facts: slot -> key, for every slot.
        distractors: (slot, key) of each value that the post mentions beside its point.
        text: the summary, any text.
    """
    text = _plain(text)
    tokens = words(text)
    covered, invented, distracting = _sort_mentions(facts, distractors, text)
    coverage = sum(WEIGHTS[slot] for slot in covered)
    fluency = _fluency(text) if tokens else 0.0
    repetition = _repetition(tokens)
    long = length_cost(len(tokens))
    total = EMPTY
    if tokens:
        costs = INVENTED * len(invented) + DISTRACTING * len(distracting)
        costs += DISFLUENCY * (1 - fluency) + REPETITION * repetition + long
        total = max(EMPTY, BASE + coverage - costs)
    return GoldScore(total, covered, coverage, len(invented), len(distracting), fluency, repetition, len(tokens), long)


def gold(
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    facts: Sequence[Mapping[str, str]],
    distractors: Sequence[Iterable[Sequence[str]]],
    **columns: Any,
) -> list[float]:
    """The gold score as a reward function; ``facts`` and ``distractors`` are columns of the embedded prompts."""
    rows = zip(facts, distractors, completions, strict=True)
    return [gold_score(row_facts, row_distractors, text).total for row_facts, row_distractors, text in rows]


def invented_facts(facts: Mapping[str, str], distractors: Iterable[Sequence[str]], text: str) -> int:
    """Number of different values that ``text`` states and the post does not, including a wrong question."""
    return len(_sort_mentions(facts, distractors, _plain(text))[1])


def _plain(text: str) -> str:
    return text.replace("\u2019", "'")


def _sort_mentions(
    facts: Mapping[str, str], distractors: Iterable[Sequence[str]], text: str
) -> tuple[frozenset[str], set[tuple[str, str]], set[tuple[str, str]]]:
    """Slots covered, values invented, values beside the point."""
    stated = set(mentions(text))
    beside = {(slot, key) for slot, key in distractors}
    covered = frozenset(slot for slot, key in stated if facts.get(slot) == key)
    others = {(slot, key) for slot, key in stated if facts.get(slot) != key}
    return covered, others - beside, others & beside


def _repetition(tokens: Sequence[str]) -> float:
    triples = len(tokens) - 2
    return 1 - len(set(zip(tokens, tokens[1:], tokens[2:], strict=False))) / triples if triples > 0 else 0.0


def _pieces(text: str) -> list[str]:
    """Words in order, values as slot names, numbers as one word, one boundary at the end of each sentence."""
    pieces = [_BOUNDARY]
    for piece in _PIECE.findall(blank_values(text).lower()):
        if piece[0] in ".?!":
            piece = _BOUNDARY
        elif piece[0].isdigit():
            piece = "<number>"
        if piece != _BOUNDARY or pieces[-1] != _BOUNDARY:
            pieces.append(piece)
    if pieces[-1] != _BOUNDARY:
        pieces.append(_BOUNDARY)
    return pieces


@lru_cache(maxsize=1)
def known_pairs() -> frozenset[tuple[str, str]]:
    """Adjacent word pairs of the first training posts, their summaries and their readers' replies; read once."""
    pairs: set[tuple[str, str]] = set()
    for index in range(_POSTS_READ):
        example = post("train", index)
        for text in (example.text, example.reference, oracle(example), *comments(example, 1)):
            pairs.update(pairwise(_pieces(text)))
    return frozenset(pairs)


def _fluency(text: str) -> float:
    known = known_pairs()
    pairs = list(pairwise(_pieces(text)))
    return sum(pair in known for pair in pairs) / len(pairs)
