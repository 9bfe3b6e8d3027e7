"""Instructions about posts: every answer is what the post says, and a new family is one function."""

import pytest

from prefgym.data.prompts import embedded_prompts, instruction_prompts
from prefgym.data.world import VALUES, Post, post, words
from prefgym.data.world.instructions import FAMILIES, Task, task
from prefgym.data.world.mentions import mentions
from prefgym.errors import InputError

COUNT = 300


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    return [post("train", index) for index in range(COUNT)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_is_short_complete_and_always_the_same(posts: list[Post], family: str) -> None:
    made = [task(item, family) for item in posts]
    assert made == [task(item, family) for item in posts]
    for instruction, answers in made:
        assert instruction[0].isupper()
        assert instruction[-1] in ".?"
        assert "<" not in instruction + "".join(answers)
        assert len(set(answers)) == len(answers) >= 1
        assert all(0 < len(words(answer)) <= 32 for answer in answers)
    if family != "yes_no":
        assert len({instruction for instruction, _ in made}) >= 2


SLOT_OF = {"who": "who", "thing": "thing", "where": "place", "when": "time", "feeling": "feeling"}


@pytest.mark.parametrize(("family", "slot"), SLOT_OF.items())
def test_an_answer_states_the_fact_asked_for_in_the_words_of_the_post(posts: list[Post], family: str, slot: str):
    for item in posts:
        answers = task(item, family).answers
        fact = (slot, getattr(item.facts, slot))
        assert answers[0].lower() in item.text.lower()
        assert all(mentions(answer) == [fact] for answer in answers)
        assert len(answers) == len(VALUES[slot][fact[1]].phrases)


def test_longer_answers_state_what_they_are_to_state(posts: list[Post]) -> None:
    slots = {"event": {"who", "event", "thing"}, "title": {"who", "thing"}, "question": {"question"}}
    slots["summary"] = {"who", "event", "thing", "place", "time", "feeling"}
    for item in posts:
        for family, expected in slots.items():
            facts = {pair for pair in item.facts.pairs() if pair[0] in expected}
            assert all(set(mentions(answer)) == facts for answer in task(item, family).answers)
        assert task(item, "question").answers[0].endswith("?")
        assert task(item, "summary").answers[0].count(".") == 1


def test_yes_and_no_are_right_and_equally_frequent(posts: list[Post]) -> None:
    answers = []
    for item in posts:
        instruction, [answer] = task(item, "yes_no")
        assert (("place", item.facts.place) in mentions(instruction)) == (answer == "yes")
        answers.append(answer)
    assert 0.4 < answers.count("yes") / COUNT < 0.6


def test_prompts_hold_instruction_and_post_and_take_the_families_in_turn() -> None:
    prompts = instruction_prompts("train", 20)
    posts = embedded_prompts("train", 20)
    for row, about in zip(prompts, posts, strict=True):
        instruction, answers = task(post("train", row["post_index"]), row["family"])
        assert row["prompt"].startswith(f"### Instruction:\n{instruction}\n\n### Input:\n{about['prompt']}")
        assert row["prompt"].endswith("### Response:")
        assert row["references"] == list(answers)
        assert row["reference"] == answers[0]
        assert not {"facts", "distractors"} & set(row)  # gold judges summaries alone
    assert [row["family"] for row in prompts] == 2 * list(FAMILIES)
    assert list(prompts) == list(instruction_prompts("train", 20))
    assert prompts.synthetic


def test_splits_share_no_post() -> None:
    splits = ("train", "validation", "test")
    texts = [
        {row["prompt"].partition("### Input:\n")[2] for row in instruction_prompts(split, 200, families=["who"])}
        for split in splits
    ]
    assert [len(text) for text in texts] == [200, 200, 200]
    assert len(set.union(*texts)) == 600


def test_a_new_family_is_one_function(monkeypatch) -> None:
    def longest_word(item: Post, draw) -> Task:
        return Task("Copy the longest word.", (max(item.text.split(), key=len),))

    monkeypatch.setitem(FAMILIES, "longest_word", longest_word)
    [row] = instruction_prompts("test", 1, families=["longest_word"])
    assert row["family"] == "longest_word"
    assert row["reference"] == max(post("test", 0).text.split(), key=len)


def test_families_can_be_chosen_and_are_checked() -> None:
    assert {row["family"] for row in instruction_prompts("test", 10, families=["who", "title"])} == {"who", "title"}
    with pytest.raises(InputError, match=r'family of instructions is called "titel".*Did you mean "title"'):
        instruction_prompts(families=["titel"])
    with pytest.raises(InputError, match="at least one family"):
        instruction_prompts(families=[])
    with pytest.raises(InputError, match=r'Unknown split "tests".*Did you mean "test"'):
        instruction_prompts("tests")
