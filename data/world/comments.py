# ruff: noqa: E501 (one reply stands on one line)
"""Replies by readers: they restate facts of a post in other words and advise. Used to pretrain, never as references."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from .drafts import stable_hash
from .fillers import FILLERS
from .grammar import Draw, compile_rule, expand, tidy
from .lexicon import VALUES

if TYPE_CHECKING:
    from .posts import Post

_OURS = re.compile(r"\b(?:my|our)\b")

# `<who>` and the like speak to the writer ("your roommate"), `<my_who>` speaks for the reader; `<beside>` is beside the point.
_REPLIES = (
    "<who> <past> <thing>? {That is awful|Wow|Not okay|I am sorry|Ouch}. {I would|You should|Just} <question>.",
    "{So|Wait, so|Let me get this straight:} <who> <past> <thing> <place>, and you {ask|wonder} whether to <question>? {Yes|Absolutely|No doubt|Maybe sleep on it first|Of course}.",
    "If <my_who> had <participle> <my_thing>, I would {feel|be} <feeling> too{|, trust me|, and louder}.",
    "{It is normal to feel|No wonder you feel|You are right to feel|Anyone would feel} <feeling> after {something like this|what happened <place>|what happened <time>}.",
    "{In short|To sum up|So the facts are}: <who> <past> <thing> <place> <time>, and you feel <feeling>. {I would|My advice is to|You want to|The question is whether to} <question>.",
    "{The same|This exact thing} happened to {me|my friend [name]} <place>. {We|I} {ended up deciding to|decided to} <question>{, no regrets|, and it helped|}.",
    "{I vote to|My advice: just|Go ahead and} <question>. <who> <past> <thing>, {period|end of story|after all|not you}.",
    "<time>? And <who> still {acts|behaves} {normal|as before} after <gerund> <thing>? {I would be|No wonder you are} <feeling>.",
    "{Forget|Never mind} <beside>. {The point is that|What matters is that|Look:} <who> <past> <thing>.",
    "{Do not be too hard on|Go easy on|Talk to} <who>. {People|We all} make mistakes <place>, {even with <thing>|and <thing> can wait}.",
    "You feel <feeling>, <who> <past> <thing>, and it was <time>. {Take a breath|Drink some water|Sleep first}, then <question>{, if you still want to|}.",
    "{Reading this|I read it twice}: <who>, <place>, <thing>. {Hm|Yikes|Oh dear}. {To <question> is {fair|wise|a good start}|I would not <question>, not yet}.",
    "<time>, <place>, and nobody stopped <who> from <gerund> <thing>? {Incredible|I am speechless|Typical}.",
    "{Before you <question>|If you <question>}, {ask yourself|think about} {why|how} <who> <past> <thing> {in the first place|at all}.",
    "{Whether to <question> is up to you|Only you can decide whether to <question>}, but {being|feeling} <feeling> about <thing> is {fine|human|understandable}.",
    "{You say|I understand that} <who> <past> <thing> <time>. {That alone|This} {is enough reason|is a good reason} to <question>.",
    "<place>? {Really|Seriously}? <who> {owes you an explanation|should know better}. <thing>, of all things!",
    "I am <feeling> just from reading {about <who> and <thing>|what <who> did <time>}.",
)
_COMPILED = tuple(compile_rule((reply,), FILLERS) for reply in _REPLIES)


def _yours(phrase: str) -> str:
    return _OURS.sub("your", phrase)


def comments(post: Post, n: int) -> list[str]:
    """The first `n` of a fixed series of different replies to a post; ValueError if n exceeds the series."""
    if not 0 <= n <= len(_COMPILED):
        raise ValueError(f"a post has at most {len(_COMPILED)} comments, {n} were asked for")
    rng = random.Random(stable_hash("comments", post.split, post.index))
    order = rng.sample(_COMPILED, len(_COMPILED))
    said = _said(post, rng.random)
    return [tidy(expand(reply, rng.random, said)) for reply in order[:n]]


def _said(post: Post, draw: Draw) -> dict[str, str]:
    """The post's wording, addressed to its writer; sometimes another wording of the same value."""
    own = post.draft.wording
    said = {name: _yours(phrase) for name, phrase in own.items()}
    for slot, key in post.facts.pairs():
        phrases = VALUES[slot][key].phrases
        if slot != "event" and draw() < 0.4:
            said[slot] = _yours(phrases[int(draw() * len(phrases))])
    for name in ("past", "participle", "gerund"):
        said[name] = own[name].replace(" me ", " you ")
    present = [name for name in ("who2", "thing2") if post.draft.asides[name] in post.distractors]
    said["beside"] = said[present[int(draw() * len(present))]]
    said["my_who"], said["my_thing"] = own["who"], own["thing"]
    return said
