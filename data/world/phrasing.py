"""The compiled grammar: for every register, topic and kind of trouble, a choice of sentences for each role."""

from __future__ import annotations

from .fillers import FILLERS
from .grammar import Choice, compile_rule
from .registers import REGISTERS, SHARED
from .topics import TOPICS
from .troubles import CONSEQUENCES

_REGISTER_ROLES = ("opener", "feeling", "closer")


def _register(name: str) -> dict[str, Choice]:
    own = REGISTERS[name]
    rules = {**FILLERS, **SHARED, **own}
    rules["feel"] = SHARED["feel"]
    sentences = {role: compile_rule(own[role], rules) for role in _REGISTER_ROLES}
    sentences |= {role: compile_rule(SHARED[role], rules) for role in SHARED if role != "ask_first"}
    for kind in ("should", "how"):
        asking = {**rules, "q": SHARED[f"ask_{kind}"]}
        sentences[f"question_{kind}"] = compile_rule(own["ask"], asking)
        sentences[f"question_first_{kind}"] = compile_rule(SHARED["ask_first"], asking)
    return sentences


BY_REGISTER: dict[str, dict[str, Choice]] = {name: _register(name) for name in REGISTERS}
BACKGROUND: dict[str, Choice] = {topic.name: compile_rule(topic.background, FILLERS) for topic in TOPICS}
CONSEQUENCE: dict[str, Choice] = {kind: compile_rule(lines, FILLERS) for kind, lines in CONSEQUENCES.items()}
