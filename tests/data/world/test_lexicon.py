"""The vocabulary of facts, and finding it in a text."""

import pytest

from prefgym.data.world import SLOTS, VALUES, Facts, blank_values
from prefgym.data.world.facts import words
from prefgym.data.world.lexicon import HOW_QUESTIONS
from prefgym.data.world.mentions import mentions
from prefgym.data.world.topics import TOPICS
from prefgym.data.world.troubles import CONSEQUENCES, QUESTIONS

LEAST = {"who": 60, "event": 60, "thing": 120, "place": 60, "time": 40, "feeling": 40, "question": 50}


@pytest.mark.parametrize("slot", SLOTS)
def test_slots_hold_enough_values(slot: str) -> None:
    assert len(VALUES[slot]) >= LEAST[slot]
    assert all(key == value.key and value.forms for key, value in VALUES[slot].items())


@pytest.mark.parametrize("slot", SLOTS)
def test_no_form_lies_inside_a_form_of_another_value(slot: str) -> None:
    forms = [(key, f" {form} ") for key, value in VALUES[slot].items() for form in value.forms]
    clashes = [(one, other) for key, one in forms for other_key, other in forms if key != other_key and one in other]
    assert clashes == []


def test_no_form_belongs_to_two_slots() -> None:
    owner: dict[str, str] = {}
    for slot, table in VALUES.items():
        for value in table.values():
            for form in value.forms:
                assert owner.setdefault(form, slot) == slot, form


@pytest.mark.parametrize("slot", SLOTS)
def test_every_form_is_found_as_its_own_value(slot: str) -> None:
    for key, value in VALUES[slot].items():
        for form in value.forms:
            assert mentions(f"xyz {form.upper()}, xyz") == [(slot, key)]
        for phrase in value.phrases:
            assert (slot, key) in mentions(phrase)


def test_events_are_found_in_every_tense() -> None:
    for key, value in VALUES["event"].items():
        assert len(value.inflections) == len(value.phrases)
        for inflection in value.inflections:
            assert all(mentions(form) == [("event", key)] for form in inflection)


def test_longer_wordings_hide_shorter_ones() -> None:
    assert mentions("The vet bill came.") == [("thing", "vet_bill")]
    assert mentions("The vet came; bill me.") == [("who", "vet")]
    assert mentions("laptops and cartoons") == []


def test_blank_values_keeps_what_stands_between() -> None:
    assert blank_values("My mom, Kim, LOST my cat last night!") == "My <who>, Kim, <event> my <thing> <time>!"
    assert blank_values("My mom lost my cat.", only={("thing", "cat")}) == "My mom lost my <thing>."


def test_words_keep_hyphens_and_apostrophes() -> None:
    assert words("Mother-in-law's 2 'odd' -- words") == ["mother-in-law's", "2", "odd", "words"]


def test_facts_round_trip() -> None:
    facts = Facts("roommate", "broke", "laptop", "library", "yesterday", "sad", "let_it_go")
    assert Facts.from_dict(facts.as_dict()) == facts
    assert facts.pairs()[0] == ("who", "roommate")
    with pytest.raises(KeyError):
        Facts.from_dict({"who": "roommate"})


def test_topics_name_known_values_and_every_value_is_used() -> None:
    used: dict[str, set[str]] = {slot: set() for slot in SLOTS}
    for topic in TOPICS:
        used["who"].update(topic.bystander_keys)
        used["thing"].update(topic.thing_keys)
        used["place"].update(topic.place_keys)
        for situation in topic.situations:
            used["who"].update(situation.who_keys)
            used["event"].update(situation.event_keys)
            used["thing"].update(situation.thing_keys)
            used["place"].update(topic.places_of(situation))
            used["question"].update(situation.question_keys)
            assert len(set(situation.question_keys) - HOW_QUESTIONS) >= 2
    for slot in ("who", "event", "thing", "place", "question"):
        assert used[slot] == set(VALUES[slot]), slot


def test_every_kind_of_trouble_has_questions_and_consequences() -> None:
    kinds = {situation.kind for topic in TOPICS for situation in topic.situations}
    assert set(QUESTIONS) == set(CONSEQUENCES) == kinds
