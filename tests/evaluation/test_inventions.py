"""Names and numbers that a prompt does not have, counted by hand."""

import doctest

import pytest

from prefgym.evaluation.policies import inventions
from prefgym.evaluation.policies.inventions import invented_names, invented_numbers

PROMPT = "#Person1#: Hi TOM, is Jean Paul O'Brien in?\n#Person2#: no, he left for Café Zürich."
NAMES = {
    "nothing is invented": ("#Person1# asks Tom for Jean-Paul O'Brien in Café Zürich.", 0),
    "another speaker": ("Tom asks #Person3# and #Person4#.", 2),
    "a name counts once": ("Tom meets Bob and Bob's dog and bob.", 1),
    "possessives, also curly and plural": ("He has Tom's, Tom’s and the Millers' keys.", 1),
    "at the start of a sentence it may be any word": (
        "Then he left. Later he came! Why? Nobody knows: They do not.",
        0,
    ),
    "but not where it stands elsewhere too": ("Bob left. We miss Bob.", 1),
    "after a title or an initial": ("He saw Dr. Miller and J. Smith. Then he left.", 2),
    "titles and the pronoun are none": ("It is Mr. Tom and I, I'm late.", 0),
    "a quotation begins": ('He says "Come in" and „Gut" to Tom.', 0),
    "hyphens": ("He is Anglo-Saxon, not Jean-Marc, an ex-Tom.", 3),
    "capitals throughout": ("BOB LEFT FOR BERLIN", 0),
    "acronyms": ("He joined the BBC in the U.S. today.", 1),
    "composed and not": ("He is in Cafe\u0301 Zu\u0308rich.", 0),
    "no capitals in the script": ("他去了柏林。그는 베를린에 갔다.", 0),
    "Latin names in such a script": ("그는 Bob을 Tom이 아니라 만났다.", 1),
    "lines begin sentences": ("- Tom left\n- Bob came\nThen nothing", 0),
    "empty": ("", 0),
}


def test_docstrings():
    assert doctest.testmod(inventions).failed == 0


@pytest.mark.parametrize("case", NAMES)
def test_names(case):
    text, count = NAMES[case]
    assert invented_names(PROMPT, text) == count


SPOKEN = "I paid 1,500 dollars at half past five, on the 3rd, for twenty-five of two hundred and ten rooms, 2.50 each."
NUMBERS = {
    "nothing is invented": ("He paid 1500 dollars at 5 pm, 2.5 each, for 25 of 210 rooms on the 3rd.", 0),
    "a value counts once": ("It is 7, 7.0 and 07, and 8.", 2),
    "a unit may follow": ("At 6pm, 40% and 9€.", 3),
    "times and fractions are two numbers": ("At 6:40 and 3/4.", 3),
    "words in the text are not counted": ("Six friends and one dog.", 0),
    "digits in a name are none": ("Person7 drives an A380 by COVID-19.", 1),
    "a list's own numbers are none": ("1. Tom\n2) Mary\n 7. Bob 8", 1),
    "other numerals": ("٥ and ٦", 1),
    "empty": ("", 0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers(case):
    text, count = NUMBERS[case]
    assert invented_numbers(SPOKEN, text) == count


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        ("three thousand two hundred", "3200"),
        ("one hundred and five", "105"),
        ("a million", "1,000,000"),
        ("nineteen", "19"),
        ("five thirty", "5:30"),
        ("Two, three", "2 3"),
    ],
)
def test_numbers_in_words(prompt, known):
    assert invented_numbers(prompt, known) == 0
    assert invented_numbers(prompt, f"{known} 17 999") == 2


def test_words_that_do_not_belong_together_are_not_added():
    assert invented_numbers("twenty, five", "25") == 1
    assert invented_numbers("five twenty", "25") == 1
    assert invented_numbers("two of hundred", "200") == 1
