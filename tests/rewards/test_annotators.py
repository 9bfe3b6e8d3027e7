import random
from dataclasses import replace

import numpy as np
import pytest

from prefgym.data.world import corruptions, oracle, post
from prefgym.data.world.summaries import write_reference
from prefgym.rewards.annotators import Annotators, simulate_comparisons
from prefgym.rewards.gold import EMPTY, GoldScore, gold_score

SLOTS = frozenset({"who", "event", "thing", "place", "time", "feeling", "question"})
GOOD = GoldScore(7.75, SLOTS, 6.75, 0, 0, 1.0, 0.0, 25, 0.0)
BAD = GoldScore(5.75 - 1.5, SLOTS - {"question"}, 4.75, 1, 0, 1.0, 0.0, 25, 0.0)
LONG = replace(GOOD, length=30)
NOTHING = GoldScore(EMPTY, frozenset(), 0.0, 0, 0, 0.0, 0.0, 0, 0.0)


def sample(example, rng):
    """What a small policy writes: it imitates authors, and at times it slips."""
    asides = tuple(name for name, value in example.draft.asides.items() if value in example.distractors)
    text, _ = write_reference(example.draft, asides, rng.random)
    slip = rng.random()
    if slip < 0.25:
        return corruptions.one_wrong_fact(example, text, rng)
    return swapped_words(text, rng) if slip < 0.4 else text


def swapped_words(text, rng):
    tokens = text.split()
    at = rng.randrange(len(tokens) - 1)
    tokens[at : at + 2] = tokens[at + 1], tokens[at]
    return " ".join(tokens)


def collected_pairs(example, rng):
    """What is collected: samples against each other and against the author, texts against one spoiled fact."""
    text = sample(example, rng)
    yield text, sample(example, rng)
    yield text, example.reference
    yield text, corruptions.one_wrong_fact(example, text, rng)
    yield oracle(example), corruptions.one_fact_missing(example, text, rng)


@pytest.fixture(scope="module")
def collected():
    """Posts and a pair of candidates for each; every post stands four times."""
    rng = random.Random(0)
    posts = [post("validation", index) for index in range(250)]
    rows = [(example, pair) for example in posts for pair in collected_pairs(example, rng) if len(set(pair)) == 2]
    return [example for example, _ in rows], [pair for _, pair in rows]


@pytest.fixture(scope="module")
def sides(collected):
    """The scores of the candidates of every pair: first ones, second ones."""
    rows = [(example.facts.as_dict(), example.distractors, pair) for example, pair in zip(*collected, strict=True)]
    return [[gold_score(facts, distractors, pair[side]) for facts, distractors, pair in rows] for side in (0, 1)]


def test_without_disagreement_and_bias_an_annotator_values_texts_as_gold_does(sides):
    scores = [*sides[0], *sides[1], NOTHING]
    utilities = Annotators(length_bias=0.0, disagreement=0.0, size=2).utilities(scores)
    assert utilities == pytest.approx(np.array([[score.total] * 2 for score in scores]))


def test_what_annotators_prefer_is_what_they_choose():
    """Ones who hardly err, asked about an oracle's summary and next to nothing, in either order."""
    posts = [post("train", index) for index in range(6)]
    pairs = [(oracle(one), "help")[:: -1 if place % 2 else 1] for place, one in enumerate(posts)]
    sure = Annotators(noise=0.01, length_bias=0.0, position_bias=0.0, disagreement=0.0, size=2)
    found = simulate_comparisons(posts, pairs, seed=0, annotators=sure)
    assert [one.chosen for one in found.comparisons] == [oracle(one) for one in posts]
    assert {one.rejected for one in found.comparisons} == {"help"}
    assert found.probabilities == pytest.approx(np.ones(6))


def test_probability_worked_by_hand():
    """u = 7.75 against 4.25, noise 2, position bias 1: the mean of σ(4.5 / 2) and 1 - σ((-3.5 + 1) / 2)."""
    pool = Annotators(noise=2.0, length_bias=0.0, position_bias=1.0, disagreement=0.0, size=2)
    p = 0.5 * (1 / (1 + np.exp(-2.25)) + 1 - 1 / (1 + np.exp(1.25)))
    assert pool.probability([GOOD], [BAD]) == pytest.approx([p])
    assert pool.ceiling([GOOD, BAD], [BAD, GOOD]) == pytest.approx(p)
    assert pool.agreement([GOOD], [BAD]) == pytest.approx(p**2 + (1 - p) ** 2)


def test_each_bias_does_what_its_name_says():
    assert Annotators(length_bias=0.1).probability([LONG], [GOOD])[0] > 0.5
    assert Annotators(length_bias=0.0).probability([LONG], [GOOD])[0] == pytest.approx(0.5)
    assert Annotators(position_bias=0.5).first_preferred(np.zeros(1), np.zeros(1))[0] > 0.5
    assert Annotators(position_bias=5.0).probability([GOOD], [BAD])[0] < Annotators().probability([GOOD], [BAD])[0]


def test_people_who_never_slip_still_weigh_facts_differently():
    """Leaving out the question costs 2, leaving out person and place 1.5: a close call, on which tastes differ."""
    no_question = replace(GOOD, covered=SLOTS - {"question"})
    no_person = replace(GOOD, covered=SLOTS - {"who", "place"})
    sure = {"noise": 1e-3, "length_bias": 0.0, "position_bias": 0.0}
    assert Annotators(disagreement=0.0, **sure).agreement([no_person], [no_question]) == pytest.approx(1.0)
    assert Annotators(disagreement=0.4, **sure).agreement([no_person], [no_question]) < 0.9


def test_the_two_sides_are_exchangeable():
    pool = Annotators()
    sides = [GOOD, BAD, LONG, NOTHING], [BAD, LONG, NOTHING, GOOD]
    assert pool.probability(*sides) + pool.probability(*sides[::-1]) == pytest.approx(np.ones(4))


def test_two_annotators_agree_as_often_as_people_do(collected, sides):
    assert 0.73 <= Annotators().agreement(*sides) <= 0.77
    assert simulate_comparisons(*collected, seed=0).ceiling == pytest.approx(Annotators().ceiling(*sides))


def test_expected_agreement_is_that_of_independent_labels(collected, sides):
    """The same pairs judged afresh, each by a random annotator: labels coincide as often as the formula says."""
    pool = Annotators(disagreement=0.0, size=2)  # with equal weights "another annotator" is the same as "a random one"
    runs = [simulate_comparisons(*collected, seed=seed, annotators=pool).comparisons for seed in range(6)]
    chosen = np.array([[pair.chosen for pair in run] for run in runs])
    agreed = np.mean([chosen[i] == chosen[j] for i in range(6) for j in range(i)])
    assert agreed == pytest.approx(pool.agreement(*sides), abs=0.02)


def test_the_ceiling_is_what_its_own_predictor_reaches(collected):
    """Predicting the likelier text is right as often as the ceiling says, to three standard errors."""
    simulated = simulate_comparisons(*collected, seed=3)
    right = (simulated.probabilities > 0.5).mean()
    assert right == pytest.approx(simulated.ceiling, abs=3 * np.sqrt(0.25 / len(simulated.probabilities)))


def test_same_seed_same_comparisons(collected):
    once, again, other = (simulate_comparisons(*collected, seed=seed) for seed in (1, 1, 2))
    assert once.comparisons == again.comparisons
    assert np.array_equal(once.probabilities, again.probabilities)
    assert once.comparisons != other.comparisons


def test_pairs_are_distinct_texts_of_one_post():
    example = post("train", 0)
    simulated = simulate_comparisons([example], [["a", "b", "a", "c"]], seed=0)
    pairs = {frozenset((pair.chosen, pair.rejected)) for pair in simulated.comparisons}
    assert pairs == {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    assert len(simulate_comparisons([example], [["a", "b", "c"]], seed=0, pairs_per_post=2).comparisons) == 2
    assert simulate_comparisons([example], [["a", "a"]], seed=0).comparisons == []
