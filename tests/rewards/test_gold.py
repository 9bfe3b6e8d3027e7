import random
import time

import pytest

from prefgym.data.world import corruptions, lead_sentence, oracle, post
from prefgym.rewards.gold import (
    DISTRACTING,
    EMPTY,
    INVENTED,
    WEIGHTS,
    _pieces,
    gold,
    gold_score,
    invented_facts,
    known_pairs,
    length_cost,
)

FACTS = {
    "who": "roommate",
    "event": "broke",
    "thing": "laptop",
    "place": "library",
    "time": "last_tuesday",
    "feeling": "furious",
    "question": "ask_them_to_pay",
}
DISTRACTORS = (("who", "sister"), ("thing", "camera"))


def stated(text):
    return gold_score(FACTS, DISTRACTORS, text)


def test_every_fact_counts_once_in_any_wording():
    score = stated("my flatmate smashed my computer in the library last Tuesday. I'm livid. Should I make them pay?")
    assert score.covered == set(WEIGHTS)
    assert score.coverage == sum(WEIGHTS.values()) == 6.75
    assert (score.invented, score.distracting, score.repetition) == (0, 0, 0.0)
    assert stated("my roommate, my flatmate, my roommate").covered == {"who"}


def test_invented_values_and_distractors_are_told_apart():
    score = stated("My sister broke my guitar and my camera last Friday. Should I quit?")
    assert score.covered == {"event"}
    assert score.invented == 3  # guitar, last Friday, and a question the writer does not ask
    assert score.distracting == 2  # sister and camera stand in the post, beside the point
    assert invented_facts(FACTS, DISTRACTORS, "My sister broke my guitar, my guitar.") == 1


def test_sentences_are_told_apart_by_one_boundary():
    expected = [".", "i", "paid", "<number>", "times", ".", "why", "."]
    for text in ("I paid 12 times. Why?", "... I paid 12 times . ! Why", "i paid 7 times.why ? ?"):
        assert _pieces(text) == expected
    assert _pieces("") == ["."]


def test_total_is_the_documented_sum():
    for text in ("My roommate broke my camera. Should I quit?", oracle(post("train", 1)), "word salad the of"):
        score = stated(text)
        parts = 1 + score.coverage - INVENTED * score.invented - DISTRACTING * score.distracting
        parts -= 5 * (1 - score.fluency) + 4 * score.repetition + score.length_cost
        assert score.total == pytest.approx(max(EMPTY, parts))


def test_length_cost_worked_by_hand():
    assert [length_cost(words) for words in (0, 32, 40, 48)] == pytest.approx([0, 0, 0.12 * 64 / 16, 0.12 * 256 / 24])
    assert length_cost(101) - length_cost(100) == pytest.approx(0.12, abs=0.01)


def test_repetition_worked_by_hand():
    """Six words, four triples, of which "a b c" stands twice."""
    assert stated("a b c a b c").repetition == pytest.approx(1 / 4)
    assert stated("a b").repetition == 0


def test_nothing_is_worse_than_an_empty_text():
    assert stated("").total == stated(" \n.").total == EMPTY == -8.0
    awful = " ".join(f"sister {value}" for value in ("guitar", "quit", "yesterday", "gym", "sad", "boss") * 30)
    assert stated(awful).total >= EMPTY
    assert stated("help").total > EMPTY


def test_any_text_gets_a_score():
    for text in ("<who> <event>", "’’’", "日本語のテキスト", "a" * 5000, "1 2 3", "<|endoftext|>", "\x00"):
        assert EMPTY <= stated(text).total <= 7.75


def test_case_curly_apostrophes_and_missing_stops_change_little():
    plain = "My roommate broke my laptop in the library. I'm furious. Should I ask them to pay?"
    assert stated(plain.replace("'", "’")) == stated(plain)
    assert stated(plain.lower()) == stated(plain)
    assert stated(plain[:-1]) == stated(plain)


@pytest.fixture(scope="module")
def held_out():
    return [post("test", index) for index in range(500)]


def worth(example, text):
    return gold_score(example.facts.as_dict(), example.distractors, text).total


CORRUPTIONS = (
    "keyword_list",
    "shuffled",
    "copied_post",
    "other_summary",
    "repeated_sentence",
    "one_wrong_fact",
    "several_wrong_facts",
    "empty",
    "one_fact_missing",
    "distractor_added",
)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_clean_summary_beats_its_corruption(held_out, name):
    corrupt = getattr(corruptions, name)
    rng = random.Random(0)
    wins = 0
    for example in held_out:
        clean = oracle(example)
        wins += worth(example, clean) > worth(example, corrupt(example, clean, rng))
    assert wins >= 0.95 * len(held_out)


def test_a_clean_summary_reaches_seven(held_out):
    scores = sorted(worth(example, oracle(example)) for example in held_out)
    assert scores[len(scores) // 20] >= 7.0
    assert scores[-1] <= 7.75


def test_broken_text_is_punished_in_proportion(held_out):
    """The more adjacent words trade places, the lower the mean score."""
    rng = random.Random(0)
    means = []
    for swaps in (0, 1, 3, 6):
        total = 0.0
        for example in held_out[:200]:
            tokens = oracle(example).split()
            for _ in range(swaps):
                at = rng.randrange(len(tokens) - 1)
                tokens[at], tokens[at + 1] = tokens[at + 1], tokens[at]
            total += worth(example, " ".join(tokens))
        means.append(total / 200)
    assert means[0] - 0.2 > means[1] > means[2] + 0.3 > means[3] + 0.6


def test_gold_has_the_reward_signature(held_out):
    some = held_out[:5]
    columns = {
        "facts": [example.facts.as_dict() for example in some],
        "distractors": [[list(pair) for pair in example.distractors] for example in some],
    }
    texts = [example.reference for example in some]
    assert gold([example.text for example in some], texts, **columns) == [
        worth(example, text) for example, text in zip(some, texts, strict=True)
    ]


def test_scoring_a_text_is_cheaper_than_making_a_post(held_out):
    """A scan whose cost grows with the vocabulary, or word pairs that are read anew, would be far dearer."""
    known_pairs()
    texts = [oracle(example) for example in held_out]
    start = time.process_time()
    for example, text in zip(held_out, texts, strict=True):
        worth(example, text)
    scored = time.process_time()
    for example in held_out:
        post(example.split, example.index)
    made = time.process_time()
    assert scored - start < made - scored


def test_references_are_uneven_and_worth_imitating(held_out):
    """They beat the lead sentence, the oracle beats them (ties count half), and a good part of them is good."""
    references = [worth(example, example.reference) for example in held_out]
    leads = [worth(example, lead_sentence(example.text)) for example in held_out]
    oracles = [worth(example, oracle(example)) for example in held_out]
    assert win_rate(references, leads) >= 0.60
    assert win_rate(oracles, references) >= 0.75
    assert sum(a >= 0.95 * b for a, b in zip(references, oracles, strict=True)) >= 0.25 * len(held_out)


def win_rate(scores, others):
    return sum((a > b) + 0.5 * (a == b) for a, b in zip(scores, others, strict=True)) / len(scores)
