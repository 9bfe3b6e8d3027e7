"""Posts: short first-person texts about everyday trouble, each a pure function of (split, index)."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .drafts import SPLITS, Draft, draft, stable_hash
from .facts import Facts, words
from .grammar import Choice, Draw, expand, tidy
from .lexicon import HOW_QUESTIONS
from .mentions import blank_values, mentions
from .phrasing import BACKGROUND, BY_REGISTER, CONSEQUENCE
from .summaries import write_reference

MIN_WORDS, MAX_WORDS = 38, 94

# Orders in which a post is told. An event brings its place and time with it, in its own sentence or the next ones.
_PLANS: tuple[tuple[str, ...], ...] = (
    ("opener", "background", "event", "consequence", "aside", "feeling", "advice", "question", "closer"),
    ("opener", "event", "background", "consequence", "feeling", "aside", "advice", "question", "closer"),
    ("background", "aside", "event", "feeling", "consequence", "advice", "question", "closer"),
    ("opener", "feel_first", "background", "event", "consequence", "advice", "aside", "question", "closer"),
    ("question_first", "background", "event", "consequence", "aside", "advice", "feeling", "closer"),
    ("opener", "question_first", "event", "consequence", "background", "feeling", "advice"),
    ("event", "feeling", "question", "background", "consequence", "advice", "closer"),
    ("opener", "background", "advice", "event", "consequence", "aside", "feeling", "question"),
)
_CHANCE = {"opener": 0.45, "consequence": 0.6, "aside": 0.35, "advice": 0.4, "closer": 0.3}
_DROP_ORDER = ("closer", "aside", "opener", "consequence", "advice")
_EVENT_ROLES: tuple[tuple[str, ...], ...] = (
    ("event_plain", "where_when"),
    ("event_plain", "where_when"),
    ("event_plain", "when", "where"),
    ("event_time", "where"),
    ("event_time", "where"),
    ("event_place", "when"),
    ("event_place", "when"),
    ("event_both",),
)


@dataclass(frozen=True)
class Post:
    """A post with its hidden facts.

    distractors: every (slot, key) that the text mentions besides its facts, in reading order.
    reference: the author's own TL;DR, of uneven quality; fault: what is wrong with it, a name of `summaries.FAULTS`.
    draft: how the facts were worded, and which situation they come from.
    """

    split: str
    index: int
    topic: str
    register: str
    text: str
    facts: Facts
    distractors: tuple[tuple[str, str], ...]
    reference: str
    fault: str
    draft: Draft = field(repr=False, compare=False)


def post(split: str, index: int) -> Post:
    """Post number `index` of a split, always the same one; splits are endless.

    Raises ValueError for an unknown split or a negative index.
    """
    if split not in SPLITS or index < 0:
        raise ValueError(
            f"there is no post {index} in split {split!r}: splits are {', '.join(SPLITS)}, indices start at 0"
        )
    draw = random.Random(stable_hash("post", split, index)).random
    plan = draft(split, draw)
    text, distractors = _tell(plan, draw)
    reference, fault = write_reference(plan, _mentioned(plan, distractors), draw)
    return Post(split, index, plan.topic.name, plan.register, text, plan.facts, distractors, reference, fault, plan)


def further_references(post: Post, count: int) -> list[str]:
    """Summaries that the same author might have written instead, drawn as the reference was; always the same ones."""
    draw = random.Random(stable_hash("references", post.split, post.index)).random
    mentioned = _mentioned(post.draft, post.distractors)
    return [write_reference(post.draft, mentioned, draw)[0] for _ in range(count)]


def _mentioned(plan: Draft, distractors: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """The names of the asides that the text brings in."""
    return tuple(name for name, value in plan.asides.items() if value in distractors)


def _tell(plan: Draft, draw: Draw) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The text and what it mentions besides its facts; retold until a person or thing beside the point occurs."""
    facts = set(plan.facts.pairs())
    while True:
        sentences = _sentences(plan, draw)
        text = tidy(" ".join(sentences))
        beside = tuple(dict.fromkeys(mention for mention in mentions(text) if mention not in facts))
        if plan.asides["who2"] in beside or plan.asides["thing2"] in beside:
            return text, beside


def _sentences(plan: Draft, draw: Draw) -> list[str]:
    """The sentences in order; optional ones are left out by chance, and dropped while the post is too long."""
    roles = _PLANS[int(draw() * len(_PLANS))]
    told = {role: _role(role, plan, draw) for role in roles if draw() < _CHANCE.get(role, 1.0)}
    length = {role: len(words(text)) for role, text in told.items()}
    if sum(length.values()) < MIN_WORDS:
        missing = next(role for role in roles if role not in told)
        told[missing] = _role(missing, plan, draw)
    for role in _DROP_ORDER:
        if sum(length.values()) > MAX_WORDS:
            told.pop(role, None)
            length.pop(role, None)
    return [told[role] for role in roles if role in told]


def _role(role: str, plan: Draft, draw: Draw) -> str:
    sentences = BY_REGISTER[plan.register]
    if role == "event":
        roles = _EVENT_ROLES[int(draw() * len(_EVENT_ROLES))]
        return " ".join(expand(sentences[part], draw, plan.wording) for part in roles)
    return expand(_choice(role, plan, sentences), draw, plan.wording)


def _choice(role: str, plan: Draft, sentences: Mapping[str, Choice]) -> Choice:
    if role == "background":
        return BACKGROUND[plan.topic.name]
    if role == "consequence":
        return CONSEQUENCE[plan.situation.kind]
    if role in ("question", "question_first"):
        return sentences[f"{role}_{'how' if plan.facts.question in HOW_QUESTIONS else 'should'}"]
    return sentences[role]


def blank(text: str, post: Post) -> str:
    """The text with the post's facts and distractors, in any wording, replaced by `<who>`, `<event>` and so on."""
    return blank_values(text, only={*post.facts.pairs(), *post.distractors})
