"""The figures of an evaluation: their names, and that they follow from the texts."""

import json

import numpy as np
import pytest

from prefgym.data.prompts import PromptSet, embedded_prompts
from prefgym.errors import InputError, RewardError
from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.measures import FIGURES
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.evaluation.win_rate import win_rate
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.gold import gold

RATES = (
    "win_rate_vs_references",
    "win_rate_vs_start",
    "win_rate_length_controlled",
    "win_rate_vs_start_length_controlled",
)
INTERVAL = {"mean", "low", "high"}
EVEN = {"mean": 0.5, "low": 0.5, "high": 0.5}


@pytest.fixture(scope="module")
def embedded(start, trained, count_words):
    """On the embedded world, with a stand-in for the preference model and gold as a trained reward too."""
    return evaluate_policies(
        {"trained": trained},
        start,
        embedded_prompts("test", 6),
        preference=count_words,
        rewards={"gold": gold, "words": count_words},
        validation=embedded_prompts("validation", 2),
        settings=DecodeSettings(max_prompt_tokens=400, max_new_tokens=8),
        seed=3,
        episodes=64,
        seconds=1.5,
    )


def test_the_metrics_have_the_agreed_form(embedded):
    metrics = embedded.metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert {key: metrics[key] for key in ("seed", "episodes", "seconds", "judge", "prompts")} == {
        "seed": 3,
        "episodes": 64,
        "seconds": 1.5,
        "judge": "gold",
        "prompts": 6,
    }
    assert set(metrics["policies"]) == {
        "start",
        "trained",
        "references",
        "oracle",
        "lead",
        "random_reference",
        "start_best_temperature",
        "start_best_of_4",
    }
    assert set(metrics["greedy"]) == {"start", "trained"}
    for figures in [*metrics["policies"].values(), *metrics["greedy"].values()]:
        assert set(figures) == set(FIGURES)  # gold and the preference score are not there twice under other names
        for name in RATES:
            assert set(figures[name]) == INTERVAL
            assert 0 <= figures[name]["low"] <= figures[name]["mean"] <= figures[name]["high"] <= 1
        assert 0 <= figures["repetition"] <= 1
        assert figures["gold_score"] is not None
        assert figures["invented_facts"] >= 0
    assert metrics["data"] == {"name": "embedded world (test)", "synthetic": True}
    assert metrics["best_temperature"] in (0.25, 0.5, 0.75, 1.0)


def test_what_does_not_apply_is_null(embedded, evaluation):
    for name in ("references", "oracle", "lead", "random_reference"):
        assert embedded.metrics["policies"][name]["kl"] is None
        assert embedded.metrics["policies"][name]["eos_rate"] is None
    for figures in evaluation.metrics["policies"].values():
        assert figures["gold_score"] is None
        assert figures["invented_facts"] is None
        assert figures["preference_score"] is None
    assert "oracle" not in evaluation.metrics["policies"]


def test_the_oracle_is_best_and_invents_nothing(embedded):
    policies = embedded.metrics["policies"]
    assert policies["oracle"]["gold_score"] == max(figures["gold_score"] for figures in policies.values())
    assert policies["oracle"]["invented_facts"] == 0
    assert policies["random_reference"]["invented_facts"] > policies["references"]["invented_facts"]


def test_the_start_policy_is_where_everything_is_measured_from(embedded):
    for kind in ("policies", "greedy"):
        figures = embedded.metrics[kind]["start"]
        assert figures["kl"] == 0
        assert figures["win_rate_vs_start"] == EVEN
        assert figures["minus_start"] is None
    assert embedded.metrics["policies"]["references"]["win_rate_vs_references"] == EVEN
    assert embedded.metrics["policies"]["start_best_of_4"]["kl"] == pytest.approx(0.636, abs=1e-3)
    assert embedded.metrics["policies"]["trained"]["kl"] != 0


def test_win_rates_follow_from_the_texts(evaluation, prompts):
    """The judge here counts words."""
    words = {name: [len(text.split()) for text in candidate.texts] for name, candidate in evaluation.sampled.items()}
    assert words["references"] == [len(row["reference"].split()) for row in prompts]
    for name, figures in evaluation.metrics["policies"].items():
        if name != "references":
            assert figures["win_rate_vs_references"] == win_rate(words[name], words["references"])
        if name != "start":
            assert figures["win_rate_vs_start"] == win_rate(words[name], words["start"])
        assert figures["words_of"] == pytest.approx(np.mean(words[name]))
        assert figures["words"] == pytest.approx(np.mean(words[name]))


def test_differences_to_start_are_paired(evaluation):
    start, trained = evaluation.metrics["policies"]["start"], evaluation.metrics["policies"]["trained"]
    gain = trained["minus_start"]["words_of"]
    assert gain["mean"] == pytest.approx(trained["words_of"] - start["words_of"])
    by_prompt = evaluation.sampled["trained"].scores["words_of"] - evaluation.sampled["start"].scores["words_of"]
    assert gain["high"] - gain["mean"] == pytest.approx(1.95996 * by_prompt.std(ddof=1) / np.sqrt(5), rel=1e-4)
    wins = trained["minus_start"]["win_rate_vs_references"]["mean"]
    assert wins == pytest.approx(trained["win_rate_vs_references"]["mean"] - start["win_rate_vs_references"]["mean"])


def test_all_texts_to_a_few_prompts_are_scored_in_one_call(start, trained, prompts, settings, monkeypatch):
    monkeypatch.setattr("prefgym.evaluation.policies.exam.PROMPTS_SCORED", 2)
    prompts[3]["reference"] = None
    calls = []

    def words(prompts, completions):
        calls.append(list(zip(prompts, completions, strict=True)))
        return [float(len(text.split())) for text in completions]

    made = evaluate_policies(
        {"trained": trained}, start, prompts, rewards={"words": words}, settings=settings, yardsticks=False
    )
    assert [len({prompt for prompt, _ in asked}) for asked in calls] == [2, 2, 1]
    assert all(len(set(asked)) == len(asked) for asked in calls)  # what two candidates have is scored once
    candidates = [*made.sampled.values(), *made.greedy.values()]
    assert sum(map(len, calls)) == sum(
        len({one.texts[row] for one in candidates if one.present[row]}) for row in range(5)
    )
    for candidate in candidates:
        counted = [
            float(len(t.split())) if there else np.nan
            for t, there in zip(candidate.texts, candidate.present, strict=True)
        ]
        np.testing.assert_array_equal(candidate.scores["words"], counted)


def test_best_of_4_beats_one_sample_on_what_it_picks_by(evaluation):
    policies = evaluation.metrics["policies"]
    assert policies["start_best_of_4"]["words_of"] > policies["start"]["words_of"]


def test_without_references_everything_is_measured_from_the_start_policy(start, trained, settings, count_words):
    metrics = evaluate_policies(
        {"trained": trained}, start, [{"prompt": "My dog."}], rewards={"words": count_words}, settings=settings
    ).metrics
    assert set(metrics["policies"]) == {"start", "trained", "start_best_of_4", "lead"}
    figures = metrics["policies"]["trained"]
    assert figures["win_rate_vs_references"] is None
    assert figures["win_rate_length_controlled"] == figures["win_rate_vs_start"]  # one prompt: nothing to control for


def test_a_prompt_without_reference_is_left_out_of_comparisons_with_references(
    start, trained, prompts, settings, count_words
):
    prompts[1]["reference"] = None
    evaluation = evaluate_policies({"trained": trained}, start, prompts, rewards={"w": count_words}, settings=settings)
    figures = evaluation.metrics["policies"]
    kept = [0, 2, 3, 4]
    words = {name: [len(c.texts[i].split()) for i in kept] for name, c in evaluation.sampled.items()}
    assert figures["trained"]["win_rate_vs_references"] == win_rate(words["trained"], words["references"])
    assert figures["references"]["w"] == pytest.approx(np.mean(words["references"]))
    assert "random_reference" not in figures


def test_a_pairwise_judge_judges(start, trained, prompts, settings, count_words):
    def never_the_first(prompts, first, second, **columns):
        return [0.0] * len(prompts)

    metrics = evaluate_policies(
        {"trained": trained}, start, prompts, rewards={"w": count_words}, judge=never_the_first, settings=settings
    ).metrics
    assert metrics["judge"] == "never_the_first"
    assert {figures["win_rate_vs_start"]["mean"] for figures in metrics["policies"].values()} == {0.5}


def test_a_score_judge_is_asked_once_a_text(start, trained, prompts, settings, count_words):
    asked = []

    def judge(prompts, completions, **columns):
        asked.append(len(completions))
        return [float(len(completion)) for completion in completions]

    made = evaluate_policies(
        {"trained": trained}, start, prompts, rewards={"w": count_words}, judge=judge, settings=settings
    )
    candidates = [*made.sampled.values(), *made.greedy.values()]
    assert len(candidates) == 8  # start and trained twice each, best of 4, references, random references, lead
    assert asked == [sum(len({one.texts[row] for one in candidates}) for row in range(5))]
    assert "judge_score" in made.metrics["policies"]["start"]


def test_the_judge_never_chooses(start, trained, prompts, settings):
    """With nothing but a judge there is no score to pick samples by, so those yardsticks are left out."""
    metrics = evaluate_policies(
        {"trained": trained}, start, prompts, judge="length", validation=prompts, settings=settings
    ).metrics
    assert not {"start_best_of_4", "start_best_temperature"} & set(metrics["policies"])


def test_a_policy_may_not_be_called_like_a_yardstick(start, trained, prompts):
    with pytest.raises(InputError, match='"lead"'):
        evaluate_policies({"lead": trained}, start, prompts)


def test_gold_cannot_judge_a_users_text(start, prompts):
    with pytest.raises(InputError, match="no known facts"):
        evaluate_policies({}, start, prompts, judge="gold")


def test_something_must_judge(start, prompts):
    with pytest.raises(InputError, match="nothing to judge by"):
        evaluate_policies({}, start, prompts)


def test_a_reward_that_fails_names_the_prompt(start, prompts, settings):
    def bad(prompts, completions):
        return [float("nan") if "My boss lost" in prompt else 0.0 for prompt in prompts]

    with pytest.raises(RewardError, match="prompt 1"):
        evaluate_policies(
            {},
            start,
            PromptSet(prompts),
            rewards={"bad": bad},
            settings=settings,
        )


def test_a_policy_of_another_vocabulary_is_refused(start, prompts):
    other = LanguageModel.load("embedded")
    with pytest.raises(InputError, match="another vocabulary"):
        evaluate_policies({"trained": other}, start, prompts)


def test_rouge_and_inventions_by_prompt(start, trained, settings, count_words):
    """What is told of the references is worked by hand."""
    prompts = [
        {"prompt": "My dog ate it at five. " * 30 + "Tom left.", "reference": "So Tom left at 5.", "references": []},
        {"prompt": "It rains.", "reference": "The dog of Bob.", "references": ["The dog of Bob.", "A dog of 7."]},
        {"prompt": "It rains.", "reference": None},
    ]
    metrics = evaluate_policies(
        {"trained": trained}, start, prompts, rewards={"w": count_words}, settings=settings
    ).metrics
    found = metrics["policies"]["references"]
    assert (found["invented_names"], found["invented_numbers"]) == (0.5, 0.0)  # Bob; the prompt counts uncut
    assert found["rouge1"]["mean"] == 0.5  # of the second prompt alone: "dog of" of 4 words each
    assert found["rouge1"]["low"] == found["rouge1"]["high"] == 0.5
    for row in (metrics["policies"]["trained"], metrics["greedy"]["trained"]):
        for name in ("rouge1", "rouge2", "rougeL", "invented_names", "invented_numbers"):
            assert set(row["minus_start"][name]) == INTERVAL
        assert set(row["rougeL"]) == INTERVAL
    assert metrics["policies"]["start"]["win_rate_vs_start_length_controlled"] == EVEN


def test_the_best_of_several_references_counts(start, trained, settings):
    def judge(prompts, completions):
        return [0.0] * len(prompts)

    prompts = [{"prompt": "It rains.", "reference": "Nothing alike.", "references": ["Nothing alike.", "It rains."]}]
    policies = evaluate_policies({"t": trained}, start, prompts, rewards={"z": judge}, settings=settings).metrics
    assert policies["policies"]["lead"]["rougeL"]["mean"] == 1.0
    assert policies["policies"]["references"]["rougeL"]["mean"] == 0.0


def test_without_readable_references_there_is_no_rouge(start, trained, settings, count_words):
    for reference in (None, "비가 온다."):
        rows = [{"prompt": "It rains.", "reference": reference}]
        metrics = evaluate_policies({"t": trained}, start, rows, rewards={"w": count_words}, settings=settings).metrics
        assert metrics["policies"]["t"]["rougeL"] is None
        assert "rougeL" not in metrics["policies"]["t"]["minus_start"]


def test_the_yardsticks_that_take_long_can_be_left_out(start, trained, count_words):
    given = {"preference": count_words, "validation": embedded_prompts("validation", 2), "yardsticks": False}
    settings = DecodeSettings(max_prompt_tokens=400, max_new_tokens=2)
    found = evaluate_policies({"trained": trained}, start, embedded_prompts("test", 2), settings=settings, **given)
    assert set(found.metrics["policies"]) == {"start", "trained", "references", "oracle", "lead", "random_reference"}
    assert found.metrics["best_temperature"] is None
