"""Alternation grammars."""

import random

import pytest

from prefgym.data.world.grammar import compile_rule, expand, tidy


def expansions(*templates: str, rules: dict[str, list[str]] | None = None, **slots: str) -> set[str]:
    rng = random.Random(0)
    choice = compile_rule(templates, rules or {})
    return {expand(choice, rng.random, slots) for _ in range(300)}


def test_alternatives_nest_and_may_be_empty() -> None:
    assert expansions("a{b|c{d|e}|}") == {"ab", "acd", "ace", "a"}


def test_rules_and_slots() -> None:
    assert expansions("[pet] of <who>", "x", rules={"pet": ["cat", "{d|f}og"]}, who="mine") == {
        "cat of mine",
        "dog of mine",
        "fog of mine",
        "x",
    }


@pytest.mark.parametrize("template", ["{a", "a}", "a|b"])
def test_stray_braces_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"brace|stray"):
        compile_rule((template,), {})


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(KeyError):
        compile_rule(("[nothing]",), {})


def test_tidy() -> None:
    assert tidy("  a(n) owl , and a(n)  cat. so? yes ") == "An owl, and a cat. So? Yes"
