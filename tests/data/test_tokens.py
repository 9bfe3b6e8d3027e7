"""Texts are tokenised once, in batches, and what is looked up is what the tokenizer says."""

import pytest

from prefgym.data.progress import MANY, progress_bar
from prefgym.data.tokens import BATCH, Tokens


@pytest.fixture
def calls():
    return []


@pytest.fixture
def tokens(calls):
    def encode_all(texts):
        calls.append(list(texts))
        return [[ord(letter) + 1000 for letter in text] for text in texts]

    return Tokens(encode_all)


def test_each_text_is_tokenised_once_and_in_batches(tokens, calls):
    texts = [str(number % (BATCH + 10)) for number in range(3 * BATCH)]
    tokens.add(texts)
    tokens.add(reversed(texts))
    assert [len(batch) for batch in calls] == [BATCH, 10]
    assert len(tokens) == BATCH + 10
    assert all(tokens(text) == [ord(letter) + 1000 for letter in text] for text in texts)
    assert len(calls) == 2


def test_a_text_that_is_only_asked_for_is_not_kept(tokens, calls):
    assert tokens("ab") == tokens("ab") == [1097, 1098]
    assert len(calls) == 2
    assert len(tokens) == 0
    assert tokens.keep("ab") == tokens.keep("ab") == tokens("ab") == [1097, 1098]
    assert len(calls) == 3
    tokens.put("c", (7, 8))
    assert tokens("c") == [7, 8]
    tokens.add([])
    assert len(calls) == 3


def test_equal_numbers_are_one_object(tokens):
    tokens.add(["aa", "ba"])
    assert tokens("aa")[0] is tokens("aa")[1] is tokens("ba")[1]


def test_a_bar_is_shown_of_many_alone(capsys):
    for total, seen in ((MANY, False), (MANY + 1, True)):
        assert list(progress_bar("reading", total, items=range(total), unit="line")) == list(range(total))
        with progress_bar("counting", total) as bar:
            bar.update(total)
        told = capsys.readouterr()
        assert told.out == ""
        assert ("reading" in told.err) == ("counting" in told.err) == seen
    assert f"{MANY + 1}/{MANY + 1}" in told.err
