"""Judges: by scores, by pairs, in both orders."""

import numpy as np
import pytest

from prefgym.errors import InputError, RewardError
from prefgym.evaluation.policies.judge import PairwiseJudge, ScoreJudge, resolve_judge

PROMPTS = ["p", "q", "r"]


def longer(prompts, completions, **columns):
    return [float(len(completion)) for completion in completions]


def test_a_score_judge_compares_scores():
    judge = resolve_judge(longer)
    assert isinstance(judge, ScoreJudge)
    assert judge.name == "longer"
    np.testing.assert_array_equal(judge.compare(PROMPTS, ["aaa", "b", "cc"], ["a", "bb", "dd"]), [1, 0, 0.5])


def test_a_judge_that_likes_what_it_reads_first_calls_everything_a_tie():
    def first_always(prompts, first, second):
        return [1.0] * len(prompts)

    judge = resolve_judge(first_always)
    assert isinstance(judge, PairwiseJudge)
    np.testing.assert_array_equal(judge.compare(PROMPTS, list("abc"), list("xyz")), [0.5, 0.5, 0.5])


def test_a_pairwise_judge_is_asked_in_both_orders():
    """It says 0.9 for a before x and 0.6 for x before a: a takes (0.9 + 1 - 0.6) / 2 = 0.65."""
    asked = []

    def judge(prompts, first, second, *, reference):
        asked.append((first[0], second[0], reference[0]))
        return [0.9 if text == "a" else 0.6 for text in first]

    assert PairwiseJudge("j", judge).compare(["p"], ["a"], ["x"], {"reference": ["r"]})[0] == pytest.approx(0.65)
    assert asked == [("a", "x", "r"), ("x", "a", "r")]


def test_a_judge_is_found_by_file(tmp_path):
    file = tmp_path / "my_judge.py"
    file.write_text(
        "def better(prompts, first, second, **columns):\n    return [float(a > b) for a, b in zip(first, second)]"
    )
    judge = resolve_judge(f"{file}:better")
    np.testing.assert_array_equal(judge.compare(PROMPTS, list("bab"), list("aab")), [1, 0.5, 0.5])


def test_a_judge_is_itself():
    judge = ScoreJudge("mine", resolve_judge(longer).reward)
    assert resolve_judge(judge) is judge


def test_an_unknown_judge_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match='"gold"'):
        resolve_judge("glod")


@pytest.mark.parametrize(
    ("values", "message", "index"),
    [
        ([0.5, 0.5], "2 values for 3", None),
        ([0.5, float("nan"), 0.5], "for prompt 1", 1),
        ([0.5, 0.5, 1.5], "for prompt 2", 2),
        ([0.5, 0.5, None], "for prompt 2", 2),
    ],
)
def test_what_is_no_probability_stops_the_run(values, message, index):
    judge = PairwiseJudge("mine", lambda prompts, first, second: values)
    with pytest.raises(RewardError, match=message) as caught:
        judge.compare(PROMPTS, list("abc"), list("xyz"))
    assert caught.value.prompt_index == index


def test_a_judge_that_raises_is_named():
    def broken(prompts, first, second):
        raise KeyError("oh")

    with pytest.raises(RewardError, match='Judge "broken" raised KeyError'):
        resolve_judge(broken).compare(PROMPTS, list("abc"), list("xyz"))
