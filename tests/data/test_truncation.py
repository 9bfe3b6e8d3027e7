import re

import pytest

from prefgym.data.prompts import load_prompts
from prefgym.data.templates import PLAIN, SUMMARIZE
from prefgym.data.truncation import fit_prompt
from prefgym.errors import InputError

TEN = " ".join(f"word{i}" for i in range(9)) + " end."  # ten words
POST = f"{TEN} {TEN}\n\n{TEN} {TEN}"


def words(text: str) -> list[int]:
    return [len(word) for word in re.findall(r"\S+", text)]


def characters(text: str) -> list[int]:
    return [ord(c) for c in text]


def pairs_merge(text: str) -> list[int]:
    """A tokenizer whose count can fall when a character is added: "e" and "n" merge with what follows."""
    return [len(piece) for piece in re.findall(r"en|nd|word\d|.|\n", text)]


def test_a_prompt_that_fits_is_left_alone():
    fitted = fit_prompt(words, SUMMARIZE, POST, 41)
    assert (fitted.text, fitted.cut) == (POST + "\n\nTL;DR:", False)
    assert len(fitted.ids) == 41


def test_the_end_goes_first_at_a_sentence():
    fitted = fit_prompt(words, SUMMARIZE, POST, 36)
    assert fitted.cut
    assert fitted.text == f"{TEN} {TEN}\n\n{TEN}\n\nTL;DR:"
    assert fitted.ids == words(fitted.text)


def test_a_paragraph_is_a_boundary_without_punctuation():
    fitted = fit_prompt(words, SUMMARIZE, "a b c d e f\n\ng h i j", 9)
    assert fitted.text == "a b c d e f\n\nTL;DR:"


def test_closing_quotes_stay_with_their_sentence():
    fitted = fit_prompt(words, SUMMARIZE, 'he said "go away." then we left for home at once', 6)
    assert fitted.text == 'he said "go away."\n\nTL;DR:'


def test_words_are_the_boundary_when_a_sentence_would_lose_more_than_half():
    fitted = fit_prompt(words, SUMMARIZE, "So. " + "then " * 30, 11)
    assert fitted.text == "So. " + " ".join(["then"] * 9) + "\n\nTL;DR:"


def test_a_word_longer_than_the_budget_is_cut_inside():
    fitted = fit_prompt(characters, SUMMARIZE, "x" * 100, 28)
    assert fitted.text == "x" * 20 + "\n\nTL;DR:"


def test_left_side_keeps_the_end():
    fitted = fit_prompt(words, PLAIN, "Q: one two three. A: four.\n\nQ: five six? A:", 5, side="left")
    assert fitted.text == "Q: five six? A:"
    assert fit_prompt(words, PLAIN, "a b c d", 2, side="left").text == "c d"
    assert fit_prompt(characters, PLAIN, "abcdef", 2, side="left").text == "ef"


def test_the_corpus_own_suffix_is_not_cut_off():
    fitted = fit_prompt(words, SUMMARIZE, POST + "\nTL;DR:", 25)
    assert fitted.text == f"{TEN} {TEN}\n\nTL;DR:"


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("encode", [words, characters, pairs_merge])
def test_every_budget_is_kept(encode, side):
    smallest = len(encode(SUMMARIZE.render("")))
    for budget in range(smallest, len(encode(SUMMARIZE.render(POST)))):
        fitted = fit_prompt(encode, SUMMARIZE, POST, budget, side)
        body = fitted.text.removesuffix("\n\nTL;DR:")
        assert fitted.cut
        assert len(fitted.ids) <= budget
        assert fitted.ids == encode(fitted.text)
        assert POST.startswith(body) if side == "right" else POST.endswith(body)


def test_a_template_that_does_not_fit_is_an_error():
    with pytest.raises(InputError, match="alone does not fit 7 prompt tokens"):
        fit_prompt(characters, SUMMARIZE, POST, 7)


def test_long_prompts_take_few_encodings():
    calls = []

    def encode(text: str) -> list[int]:
        calls.append(len(text))
        return words(text)

    fitted = fit_prompt(encode, SUMMARIZE, "It was a long day. " * 20_000, 200)
    assert len(fitted.ids) > 190
    assert len(calls) < 50


def test_real_posts_keep_their_beginning_and_template(real_data):
    for row in load_prompts(real_data / "tldr" / "tldr_posts.jsonl"):
        fitted = fit_prompt(words, SUMMARIZE, row["prompt"], 100)
        body = fitted.text.removesuffix("\n\nTL;DR:")
        assert len(fitted.ids) <= 100
        assert row["prompt"].startswith(body)
        assert fitted.cut == (len(words(SUMMARIZE.render(row["prompt"]))) > 100)
        assert not fitted.cut or len(fitted.ids) > 40
