"""Ratings become comparisons within a prompt, rater by rater; what cannot be compared is counted."""

import json

import pytest

from prefgym.data.rated import rated_comparisons
from prefgym.errors import InputError

ROWS = [
    {"prompt": "p", "response": "a", "rating": 4},
    {"prompt": "p", "response": "b", "rating": 3.5},
    {"prompt": "q", "response": "a", "rating": 1},
    {"prompt": "p", "response": "c", "rating": 4.0},
]


def wins(found):
    return [(c.prompt, c.chosen, c.rejected, c.tie) for c in found.comparisons]


def test_the_higher_rating_is_preferred_within_a_prompt():
    found = rated_comparisons(ROWS, rating_column="rating")
    assert wins(found) == [("p", "a", "b", False), ("p", "a", "c", True), ("p", "c", "b", False)]
    assert found[1:] == (4, 2, 1, 1, 0)
    assert "3 comparisons of 4 rated responses to 2 prompts, one rating each" in found.told()
    assert "1 prompts left out, which have one response" in found.told()


def test_a_gap_leaves_out_what_is_close_but_keeps_ties():
    found = rated_comparisons(ROWS, rating_column="rating", min_gap=0.6)
    assert wins(found) == [("p", "a", "c", True)]
    assert found.close == 2
    rows = [{"prompt": "p", "response": r, "rating": v} for r, v in (("a", 4.1), ("b", 3.6))]  # differ by 0.4999...
    assert len(rated_comparisons(rows, rating_column="rating", min_gap=0.5).comparisons) == 1


def test_raters_and_columns():
    rows = [
        {"post": "p", "text": "a", "id": 7, "fit": [5, 1], "tone": [3, 3]},
        {"post": "p", "text": "b", "id": 7, "fit": [4, 2], "tone": [3, 4]},
    ]
    columns = {"prompt_column": "post", "response_column": "text", "group_column": "id"}
    found = rated_comparisons(rows, rating_column="fit, tone", **columns)
    assert [(c.chosen, c.annotator, c.group) for c in found.comparisons] == [
        ("a", "rater 1", "7"),
        ("b", "rater 2", "7"),
    ]
    assert found.raters == 2
    told = [{**row, "who": who} for row in ROWS[:2] for who in ("x", "y")] + [{**ROWS[3], "who": "y"}]
    found = rated_comparisons(told, rating_column="rating", annotator_column="who")
    assert [(c.chosen, c.rejected, c.annotator) for c in found.comparisons] == [
        ("a", "b", "x"),
        ("a", "b", "y"),
        ("a", "c", "y"),
        ("c", "b", "y"),
    ]


def test_conversations_stay_conversations():
    talk = [{"role": "user", "content": "Hi"}]
    rows = [{"prompt": talk, "response": text, "rating": rate} for text, rate in (("a", 1), ("b", 2))]
    (found,) = rated_comparisons(rows, rating_column="rating").comparisons
    assert found.conversation == (
        talk,
        [{"role": "assistant", "content": "b"}],
        [{"role": "assistant", "content": "a"}],
    )


def test_equal_texts_are_not_compared(tmp_path):
    file = tmp_path / "rated.csv"
    file.write_text("prompt,response,rating\np,a,3\np,a ,4\np,b,5\n")
    assert [c.chosen for c in rated_comparisons(file, rating_column="rating").comparisons] == ["b", "b"]


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"rating": "good"}, {}, r"\"rating\" at row 2 .* holds 'good', not a number"),
        ({"rating": None}, {}, "holds nothing, not a number"),
        ({"rating": True}, {}, "holds True, not a number"),
        ({"rating": []}, {}, "holds no rating"),
        ({"rating": [1, 2]}, {}, "has 2 ratings at row 2 .* and 1 at row 1 .* same prompt"),
        ({"rating": float("inf")}, {}, "holds inf"),
        ({"prompt": "r"}, {}, "no prompt with two rated responses"),
        ({}, {"min_gap": 1}, "no prompt with two rated responses that differ by 1"),
        ({}, {"min_gap": -1}, "min_gap must be"),
        ({}, {"rating_column": "ratng"}, "Did you mean"),
        ({}, {"response_column": "answer"}, 'No column "answer"'),
    ],
)
def test_what_cannot_be_compared_is_named(change, options, words):
    rows = [ROWS[0], {**ROWS[1], **change}]
    with pytest.raises(InputError, match=words):
        rated_comparisons(rows, **{"rating_column": "rating", **options})


def test_the_real_ratings_of_dialogues(real_data):
    file = real_data / "preferences" / "dialsummeval_ratings.jsonl"
    columns = {"prompt_column": "dialogue", "response_column": "summary", "group_column": "id"}
    found = rated_comparisons(file, rating_column="mean", min_gap=0.5, **columns)
    clear = [c for c in found.comparisons if not c.tie]
    longer = [(len(c.chosen) > len(c.rejected)) + 0.5 * (len(c.chosen) == len(c.rejected)) for c in clear]
    assert 0.65 < sum(longer) / len(longer) < 0.75
    each = rated_comparisons(file, rating_column="consistency,relevance,fluency,coherence", **columns)
    assert each.raters == 3
    assert {c.annotator for c in each.comparisons} == {"rater 1", "rater 2", "rater 3"}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert each.responses == len(rows)
