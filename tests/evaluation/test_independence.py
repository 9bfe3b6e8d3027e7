"""A judge that learned from the rows of the reward, or from what is judged, is found, and every report says so."""

import pytest

from prefgym.data.comparisons import Comparison
from prefgym.errors import InputError
from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.independence import independence
from prefgym.evaluation.reports.judge_words import judged_by
from prefgym.rewards.ensemble import PreferenceEnsemble
from prefgym.rewards.functions import length, rouge_l
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.training_rows import UNKNOWN, TrainingRows


@pytest.fixture
def learned(start):
    """``learned(0, 1, 2)``: a preference model trained on two pairs for each of posts 0, 1 and 2."""

    def make(*posts, rows=None, seed=0):
        pm = PreferenceModel.from_language_model(start, seed=seed)
        pairs = [Comparison(f"post {i}", f"good {k}", "bad") for i in posts for k in range(2)]
        pm.rows = TrainingRows.of(pairs) if rows is None else rows
        return pm

    return make


def shares(comparisons, prompts, judged):
    return {"comparisons": comparisons, "prompts": prompts, "judged_prompts": judged}


def test_shared_rows_are_counted_and_refused(learned):
    judge, reward = learned(0, 1, 2, seed=1), learned(1, 2, 3)
    found = independence([judge], [reward, length], ["post 2", "post 5\n\nTL;DR:", "post 0"])
    assert found.shares == shares(4, 2, 2)
    with pytest.raises(InputError) as told:
        found.check("J")
    assert "2 of the 3 prompts and 4 of the 6 comparisons that it was trained on also trained" in str(told.value)
    assert "2 of the 3 prompts to be judged" in str(told.value)
    assert "--evaluation.accept_shared_rows" in str(told.value)


def test_the_same_prompts_with_other_responses_are_refused_too(learned):
    reward = learned(rows=TrainingRows.of([Comparison("post 1", "other", "bad")]))
    found = independence([learned(1, seed=1)], [reward], ["post 9"])
    assert found.shares == shares(0, 1, 0)
    with pytest.raises(InputError, match=r"1 of the 1 prompts and 0 of the 2 comparisons"):
        found.check("J")


def test_an_unseen_judge_and_functions_pass(learned):
    found = independence([learned(0, seed=1)], [learned(1)], ["post 2"])
    assert (found.shares, found.is_reward) == (shares(0, 0, 0), False)
    found.check("J")
    assert independence([learned(0)], [rouge_l], ["post 1"]).shares == shares(0, 0, 0)
    nothing = independence([rouge_l], [learned(0)], ["post 0"])
    nothing.check("rouge_l")
    assert nothing.told() == {"judge_is_reward": False, "judge_shares": None, "judge_record": None}


def test_what_has_no_record_is_not_counted_but_the_judged_prompts_are(learned):
    unknown = learned(rows=UNKNOWN)
    found = independence([unknown], [learned(0)], ["post 0"])
    found.check("J")
    assert (found.shares, found.told()["judge_record"]["judge"]) == (None, "none")
    beside = independence([learned(0, seed=1)], [unknown], ["post 0"])
    assert beside.shares == shares(None, None, 1)
    with pytest.raises(InputError, match="is not independent: it was trained on 1 of the 1 prompts to be judged"):
        beside.check("J")


def test_an_ensemble_has_seen_what_its_members_have(learned):
    judge = PreferenceEnsemble([learned(0, seed=1), learned(1, seed=2)])
    assert independence([judge], [learned(1)], ["post 0"]).shares == shares(2, 1, 1)


def test_the_judge_is_the_reward_if_its_weights_or_its_function_are(learned):
    assert independence([learned(0)], [rouge_l, learned(1)], []).is_reward
    assert not independence([learned(0, seed=1)], [learned(0)], []).is_reward
    assert independence([rouge_l], [rouge_l], []).is_reward
    assert not independence([rouge_l], [length], []).is_reward


def test_reports_say_who_judges():
    told = {"judge": "J", "prompts": 5, "judge_is_reward": False, "judge_shares": shares(0, 0, 0)}
    told["judge_record"] = {"judge": "complete", "reward": "complete"}
    assert judged_by(told) == (
        "Judge: J. It shares no prompt and no comparison with what the training reward learned from. "
        "It was trained on none of the 5 prompts that are judged."
    )
    assert "7 prompts and 9 comparisons" in judged_by({**told, "judge_shares": shares(9, 7, 3)})
    assert "trained on 3 of the 5 prompts" in judged_by({**told, "judge_shares": shares(9, 7, 3)})
    assert "that has no record" in judged_by({**told, "judge_shares": shares(None, None, 0)})
    partial = {**told, "judge_record": {"judge": "partial", "reward": "complete"}}
    assert "record of the judge is incomplete" in judged_by(partial)
    nothing = {**told, "judge_shares": None, "judge_record": {"judge": "none", "reward": "complete"}}
    assert "not known what it was trained on" in judged_by(nothing)
    assert "which is the training reward" in judged_by({**nothing, "judge_is_reward": True})


def test_an_evaluation_compares_the_judge_with_what_was_trained_for(start, trained, settings, learned, count_words):
    """The preference model is only reported here; the policies were trained for the number of words."""
    given = {"preference": learned(rows=TrainingRows.of_prompts(["Post."])), "settings": settings}

    def judged(judge=None, **told):
        metrics = evaluate_policies({"trained": trained}, start, [{"prompt": "Post."}], judge=judge, **given, **told)
        return metrics.metrics["judge_is_reward"], metrics.metrics["judge_shares"]

    assert judged() == (True, shares(0, 1, 1))
    assert judged(trained_for=[count_words]) == (False, shares(0, 0, 1))
