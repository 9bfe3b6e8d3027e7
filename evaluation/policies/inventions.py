"""Names and numbers that a text states and its prompt does not: a sign of invention in any text, without a model.

Both are lower bounds. What is counted is spelling, so a name that only begins sentences is missed, and so is a wrong
use of a name or a number that the prompt does have.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_POSSESSIVE = re.compile(r"['’](?:s|m|d|t|ll|re|ve)$", re.IGNORECASE)
_BEGINS = re.compile(r"[.!?…:\n\"“„«'‘。！？：]")
"""What may stand before a word that is capitalised because a sentence, or a quotation, begins."""
_TITLES = ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Sr", "Jr")
_SHORTENED = re.compile(rf"(?:^|\W)(?:{'|'.join(_TITLES)}|\w)$")
_NUMBER = re.compile(r"(?<![^\W\d_])(?<!\d)(?<!\d\.)\d+(?:,\d{3})*(?!\d)(?:\.\d+)?")
_ITEM = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)

_BELOW_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen"""
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_BELOW_TWENTY.split())}
_SMALL |= {word: 10 * value for value, word in enumerate(_TENS.split()) if value > 1}
_LARGE = {"thousand": 1000, "million": 1_000_000}


def invented_names(prompt: str, text: str) -> int:
    """How many names a text states that its prompt does not have; each counts once.

    A name is a word with a capital letter that stands, at least once, where no sentence begins. A possessive ('s) is
    left out, the parts of a hyphenated word count each, and single letters (I, initials) and titles (Dr) do not. The
    prompt has a name if it has the word in any case, so a speaker such as ``#Person1#`` is no invention. A text in
    capitals throughout states no names, and neither does one in a script without them (Korean, Chinese, Arabic); Latin
    names in it do count. Inflected names (America, American) are different words, and in German every noun is a name.

    >>> invented_names("#Person1#: Is tom in?", "Person1 asks for Tom's friend Mary-Ann.")
    2
    """
    return len(_names(text) - _known_words(prompt))


def invented_numbers(prompt: str, text: str) -> int:
    """How many numbers a text states in digits that its prompt does not have; each value counts once.

    1,000 and 1000 are equal, and so are 5 and 5.0; of 5:30 and 1/2 both numbers count, and a unit may follow (5pm), but
    digits after a letter (Person1) and the numbers of a list's items are none. The prompt has a number if it has it in
    digits or, up to millions, in English words (twenty-five, two hundred). Words in the text are not counted, as "one"
    and "two friends" seldom state a number of the prompt's kind; nor are ordinals in words, fractions or Roman numerals
    known.

    >>> invented_numbers("We met at five, all 12 of us.", "12 friends met at 5 pm for 1,000 dollars.")
    1
    """
    return len(_numbers(_ITEM.sub("", text)) - _known_numbers(prompt))


@lru_cache(maxsize=10_000)
def _known_words(prompt: str) -> frozenset[str]:
    """The words of a prompt, in lower case; every candidate is compared with the same prompts."""
    return frozenset(word.casefold() for word, _ in _words(prompt))


@lru_cache(maxsize=10_000)
def _known_numbers(prompt: str) -> frozenset[float]:
    return frozenset(_numbers(prompt) | _spelled(prompt))


def _names(text: str) -> set[str]:
    """The names of a text, in lower case."""
    if text.isupper():
        return set()
    words = (word for word, begins in _words(text) if word[0].isupper() and not begins)
    return {word.casefold() for word in words if len(word) > 1 and word not in _TITLES}


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """The words of scripts with capitals, possessives left out, and whether a sentence may begin there."""
    text, end = unicodedata.normalize("NFC", text), 0
    for match in _WORD.finditer(text):
        before, gap, end = text[max(0, end - 5) : end], text[end : match.start()], match.end()
        begins = not before or (bool(_BEGINS.search(gap)) and not _is_title(before, gap))
        for place, word in enumerate(_cased(_POSSESSIVE.sub("", match.group()))):
            yield word, begins and not place


def _is_title(before: str, gap: str) -> bool:
    """Whether all that stands between two words is the dot of "Mr." or of an initial."""
    return gap[0] == "." and not _BEGINS.search(gap[1:]) and bool(_SHORTENED.search(before))


def _cased(word: str) -> list[str]:
    """The parts of a word between letters that have no case: names in a Korean or Chinese sentence."""
    if word.isascii():
        return [word]
    return "".join(" " if c.isalpha() and c.lower() == c.upper() else c for c in word).split()


def _numbers(text: str) -> set[float]:
    """The values that stand in digits."""
    return {float(found.group().replace(",", "")) for found in _NUMBER.finditer(text)}


def _spelled(text: str) -> set[float]:
    """The values that stand in English words, read as far as they belong together: of twenty-five 20 and 25."""
    found: set[float] = set()
    total = current = 0  # whole thousands, and what is below
    for word in re.findall(r"\w+|[^\w\s-]", text.lower()):
        value = _SMALL.get(word)
        if value is not None:
            tens = current % 100 >= 20 and current % 10 == 0 and value < 10
            total, current = (total, current + value) if current % 100 == 0 or tens else (0, value)
        elif word == "hundred":
            total, current = (total, max(current, 1) * 100) if current < 100 else (0, 100)
        elif word in _LARGE:
            total, current = total + max(current, 1) * _LARGE[word], 0
        else:
            total, current = (total, current) if word == "and" and current % 100 == 0 else (0, 0)
            continue
        found.add(float(total + current))
    return found
