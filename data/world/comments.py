# ruff: noqa: E501 (one reply stands on one line)
"""Replies by readers: they restate facts of a post in other words and advise. Used to pretrain, never as references."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from .drafts import stable_hash
from .fillers import FILLERS
from .grammar import compile_rule, expand, tidy
from .lexicon import VALUES

if TYPE_CHECKING:
    from .posts import Post

_OURS = re.compile(r"\b(?:my|our)\b")

# `<who>` and the like speak to the writer ("your roommate"), `<my_who>` speaks for the reader.
_REPLIES = (
    "<who> <past> <thing>? {That is awful|Wow|Not okay|I am sorry|Ouch}. {I would|You should|Just} <question>.",
    "{So|Wait, so|Let me get this straight:} <who> <past> <thing> <place>, and you {ask|wonder} {whether|if} to <question>? {Yes|Absolutely|No doubt|Maybe sleep on it first|Of course}.",
    "If <my_who> had <participle> <my_thing>, I would {feel|be} <feeling> too{|, trust me|, and louder}.",
    "{It is normal to feel|No wonder you feel|You are right to feel|Anyone would feel} <feeling> {after|when} {something like this|what happened <place>|<time>}.",
    "{In short|To sum up|So the facts are}: <who> <past> <thing> <place> <time>, and you feel <feeling>. {I would|My advice is to|You want to|The question is whether to} <question>.",
    "{The same|This exact thing} happened to {me|my friend [name]} <place>. {We|I} {ended up deciding to|decided to} <question>{, no regrets|, and it helped|}.",
    "{I vote to|My advice: just|Go ahead and} <question>. <who> <past> <thing>, {period|end of story|after all|not you}.",
    "<time>? And <who> still {acts|behaves} {normal|as before} after <gerund> <thing>? {I would be|No wonder you are} <feeling>.",
    "{Forget|Never mind} <who2> and <thing2>. {The point is that|What matters is that|Look:} <who> <past> <thing>.",
    "{Do not be too hard on|Go easy on|Talk to} <who>. {People|We all} make mistakes <place>, but <thing> {matters|is worth a talk}.",
    "You feel <feeling>, <who> <past> <thing>, and it was <time>. {Take a breath|Drink some water|Sleep first}, then <question>{, if you still want to|}.",
    "{Reading this|I read it twice}: <who>, <place>, <thing>. {Hm|Yikes|Oh dear}. {To <question> is {fair|wise|a good start}|I would not <question>, not yet}.",
)
_COMPILED = compile_rule(_REPLIES, FILLERS)


def _yours(phrase: str) -> str:
    return _OURS.sub("your", phrase)


def comments(post: Post, n: int) -> list[str]:
    """`n` replies to a post, always the same ones; `n` larger asks for more of the same series."""
    draw = random.Random(stable_hash("comments", post.split, post.index)).random
    own = post.draft.wording
    said = {name: _yours(phrase) for name, phrase in own.items()}
    for slot, key in post.facts.pairs():
        phrases = VALUES[slot][key].phrases
        if slot != "event" and draw() < 0.4:
            said[slot] = _yours(phrases[int(draw() * len(phrases))])
    said["my_who"], said["my_thing"] = own["who"], own["thing"]
    return [tidy(expand(_COMPILED, draw, said)) for _ in range(n)]
