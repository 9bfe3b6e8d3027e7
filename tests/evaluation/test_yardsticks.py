"""The summaries that no policy wrote."""

import pytest

from prefgym.data import world
from prefgym.data.prompts import embedded_prompts
from prefgym.errors import InputError
from prefgym.evaluation.policies.yardsticks import lead_sentence, oracle_summaries, random_references


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("My dog ate it. Why?", "My dog ate it."),
        ("Why?! I do not know.", "Why?!"),
        ('He said "stop." Then he left.', 'He said "stop."'),
        ("no end here", "no end here"),
        ("A title\nAnd a text. More.", "A title"),
        ("SUBREDDIT: r/x\n\nTITLE: Help me.\n\nPOST: It rains. A lot.\n\nTL;DR:", "It rains."),
        ("It cost 3.50 in all. Too much.", "It cost 3.50 in all."),
        ("  ", ""),
        ("### Instruction:\nWho did it?\n\n### Input:\nMy boss did. Why?\n\n### Response:", "My boss did."),
        ("### Instruction:\nName a colour.\n\n### Response:", "Name a colour."),
    ],
)
def test_lead_sentence(text, lead):
    assert lead_sentence(text) == lead


@pytest.mark.parametrize("count", [2, 3, 10])
def test_nobody_gets_their_own_reference(count):
    own = [f"r{i}" for i in range(count)]
    for seed in range(20):
        others = random_references(own, seed)
        assert sorted(others) == sorted(own)
        assert all(a != b for a, b in zip(own, others, strict=True))


def test_random_references_are_seeded():
    own = [f"r{i}" for i in range(20)]
    assert random_references(own, 3) == random_references(own, 3) != random_references(own, 4)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_oracle_belongs_to_its_post(split):
    prompts = embedded_prompts(split, 2)
    assert oracle_summaries(prompts) == [world.oracle(world.post(split, row["post_index"])) for row in prompts]


def test_there_is_no_oracle_for_other_texts():
    assert oracle_summaries([{"prompt": "My dog ate it."}]) is None


def test_a_post_of_another_version_of_the_world_is_refused():
    row = {**embedded_prompts("test", 1)[0], "prompt": "Not what the generator writes."}
    with pytest.raises(InputError, match="not from this version"):
        oracle_summaries([row])
