"""Repetition and length by hand."""

import pytest

from prefgym.evaluation.policies.text_metrics import mean_repetition, mean_words, repetition


def test_repetition_by_hand():
    # a b c a b c has the triples abc, bca, cab, abc: one of four stood before
    assert repetition("a b c a b c") == 0.25
    assert repetition("no no no no") == 0.5  # two triples, both "no no no"
    assert repetition("every word is new here") == 0


@pytest.mark.parametrize("text", ["", "one", "two words"])
def test_a_text_without_triples_repeats_nothing(text):
    assert repetition(text) == 0


def test_means():
    assert mean_repetition(["a b c a b c", "all new words"]) == 0.125
    assert mean_words(["one two", "", "three four five six"]) == 2
