"""The study of preference models: what it draws, what accuracy it means, and that it goes on where it stopped."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.data.comparisons import Comparison
from prefgym.data.templates import SUMMARIZE
from prefgym.data.world import post
from prefgym.evaluation.reports.calibration_plot import draw_reliability
from prefgym.lecture import reward_study
from prefgym.lecture.reward_study import WAYS, StudySettings, held_out_share, pairwise_or_ratings, reward_models
from prefgym.lecture.simulated_people import Judgements, collect, expected_right, share
from prefgym.lecture.study_plots import draw_pairwise_or_ratings, draw_reward_models
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.annotators import Annotators, Simulated
from prefgym.rewards.calibration import calibration
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.ratings import Rating

SETTINGS = StudySettings(
    counts=(20, 40), seeds=2, test_posts=3, epochs=4.0, min_steps=8, batch_size=8, learning_rate=0.01
)


def vote(prompt, good="good sad", bad="bad new"):
    return Comparison(prompt, f" {good}", f" {bad}")


@pytest.fixture(scope="module")
def start():
    """A tiny random model that knows the words of the judgements as few tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<eos>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["Post 1. TL;DR: good sad", "Test 2. TL;DR: bad new"] * 50
    raw.train_from_iterator([*texts, *(post("train", index).text for index in range(50))], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        initializer_range=0.15,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")


@pytest.fixture
def judgements():
    """People like "good sad" in 9 of 10 cases; those who rate say so, but for some who have the scale upside down."""
    prompts = [f"Post {i // 2}. TL;DR:" for i in range(60)]
    told = [Rating(p, text, value, "A") for p in prompts for text, value in ((" good sad", 1.0), (" bad new", -1.0))]
    turned = [Rating(rating.prompt, rating.response, -rating.value, "A") for rating in told]
    ratings = {"ratings": told, "ratings_by_person": told, "ratings_one_scale": turned}
    test = [vote(f"Test {i // 3}. TL;DR:") for i in range(9)]
    return Judgements([vote(prompt) for prompt in prompts], ratings, Simulated(test, np.full(9, 0.9), 0.82))


@pytest.fixture
def make_model(start):
    return lambda seed: PreferenceModel.from_language_model(start, seed=seed)


def test_expected_accuracy_by_hand():
    """Right with 0.9 where it sides with the label, with 0.3 where it sides against one of 0.7, a coin at 0."""
    found = expected_right(np.array([2.0, -1.0, 0.0]), np.array([0.9, 0.7, 0.8]))
    assert found == pytest.approx([0.9, 0.3, 0.5])
    rng = np.random.default_rng(0)
    p, lead = rng.random(1000), rng.normal(size=1000)
    assert expected_right(lead, p).mean() < np.maximum(p, 1 - p).mean()
    assert expected_right(p - 0.5, p).mean() == pytest.approx(np.maximum(p, 1 - p).mean())


def test_shares_of_a_seed_hold_the_smaller_ones_and_keep_prompts_together():
    votes = [vote(str(i // 3)) for i in range(30)]
    small, large, other = share(votes, 7, seed=0), share(votes, 20, seed=0), share(votes, 20, seed=1)
    assert small == large[:7] != other[:7]
    prompts = [item.prompt for item in large]
    assert sum(a != b for a, b in pairwise(prompts)) == len(set(prompts)) - 1
    with pytest.raises(ValueError, match="31 judgements were asked for, and there are 30"):
        share(votes, 31, seed=0)


def test_models_learn_and_stand_beside_people(judgements, make_model, tmp_path):
    results = reward_models({"tiny": make_model}, judgements, SETTINGS, tmp_path)
    assert results["people"] == {"comparisons": 9, "agreement": 0.82, "ceiling": pytest.approx(0.9), "longer": 0.5}
    last = results["models"]["tiny"]["points"][-1]
    assert last["n"] == 40
    assert last["accuracy"]["mean"] == pytest.approx(0.9)
    assert last["seeds"] == [pytest.approx(0.9)] * 2
    assert 0 <= last["ece_after"] <= 1
    assert last["by_length"] == [{"from": 0, "to": 0, "accuracy": 1.0}]  # on the labels as they fell
    first = results["models"]["tiny"]["points"][0]
    gain = results["models"]["tiny"]["gain"]
    assert gain["mean"] == pytest.approx(last["accuracy"]["mean"] - first["accuracy"]["mean"], abs=1e-5)
    path = draw_reward_models(results, tmp_path / "reward_models.png")
    assert path.stat().st_size > 1000


def test_enough_judgements_are_held_out_to_set_a_temperature(make_model, tmp_path, monkeypatch):
    """4 of 10 of the fewest, 400 of thousands, then a tenth; prompts fall to a side as a coin does."""
    assert [round(n * held_out_share(n)) for n in (100, 500, 1000, 2000, 4000, 16000)] == [40, 200, 400, 400, 400, 1600]
    learned, used = [], []
    monkeypatch.setattr(reward_study, "train_preference_model", lambda pm, made, **options: learned.extend(made))
    monkeypatch.setattr(reward_study, "calibrate_temperature", lambda pm, made: used.extend(made) or 1.0)
    asked = [vote(f"Post {i}. TL;DR:") for i in range(300)]
    judged = Judgements(asked, {}, Simulated([vote("Test. TL;DR:")], np.full(1, 0.9), 0.8))
    reward_models({"tiny": make_model}, judged, replace(SETTINGS, counts=(300,), seeds=1), tmp_path)
    assert 90 <= len(used) <= 150  # 120, and 3.5 of its standard deviations of 8.5
    assert sorted(c.prompt for c in learned + used) == sorted(c.prompt for c in asked)


def test_a_larger_model_is_paired_with_a_smaller_one_by_prompt(judgements, make_model, tmp_path):
    settings = replace(SETTINGS, counts=(4, 8), epochs=1.0, min_steps=2)
    results = reward_models({"a": make_model, "b": make_model}, judgements, settings, tmp_path)
    assert results["larger"] == {"mean": 0.0, "low": 0.0, "high": 0.0}  # the same model twice


def test_a_stopped_study_goes_on_and_other_settings_do_not(judgements, make_model, tmp_path):
    made = []

    def counted(seed):
        made.append(seed)
        return make_model(seed)

    settings = replace(SETTINGS, counts=(4, 8), min_steps=2)
    first = reward_models({"tiny": counted}, judgements, settings, tmp_path)
    runs = len(made)
    (tmp_path / "tiny-comparisons-8-seed1.json").unlink()
    assert reward_models({"tiny": counted}, judgements, settings, tmp_path) == first
    assert len(made) - runs == 1  # the point that was lost; of the others not even an untrained model
    file = tmp_path / "tiny-comparisons-4-seed0.json"
    before = json.loads(file.read_text())["made_by"]
    reward_models({"tiny": counted}, judgements, replace(settings, min_steps=3), tmp_path)
    assert json.loads(file.read_text())["made_by"] == {**before, "min_steps": 3}


def test_every_way_to_ask_trains_on_its_own_answers(judgements, make_model, tmp_path):
    results = pairwise_or_ratings("tiny", make_model, judgements, replace(SETTINGS, epochs=2.0), tmp_path)
    assert set(results["ways"]) == set(WAYS)
    for way, made in (("comparisons", [20, 40]), ("ratings", [40, 80])):
        assert [point["texts"] for point in results["ways"][way]] == [40, 80]
        assert [point["judgements"] for point in results["ways"][way]] == made
    for way in ("comparisons", "ratings", "ratings_by_person"):
        assert results["ways"][way][-1]["accuracy"]["mean"] == pytest.approx(0.9)
    turned = results["ways"]["ratings_one_scale"][-1]
    assert turned["accuracy"]["mean"] == pytest.approx(0.1)
    assert turned["lead"]["mean"] == pytest.approx(0.8)
    assert results["ways"]["comparisons"][-1]["lead"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    path = draw_pairwise_or_ratings(results, tmp_path / "ways.png")
    assert path.stat().st_size > 1000


def test_people_are_asked_about_the_embedded_posts(start):
    found = collect(8, start, start, ratings=True, test_posts=2)
    assert len(found.comparisons) >= 8
    assert all(len(ratings) >= 16 for ratings in found.ratings.values())
    assert {c.prompt for c in found.comparisons}.isdisjoint(c.prompt for c in found.test.comparisons)
    assert all(c.prompt.endswith("TL;DR:") and c.chosen.startswith(" ") for c in found.comparisons)
    assert {r.prompt for r in found.ratings["ratings"]} == {c.prompt for c in found.comparisons}
    assert 0.5 < found.people["agreement"] < found.people["ceiling"] < 1


def test_people_are_asked_for_no_more_than_is_wanted(start):
    few = collect(31, start, start, posts_from=7, pairs_per_post=20)
    assert 31 <= len(few.comparisons) <= 3 * 20  # 15 of a post are certain
    assert {c.prompt for c in few.comparisons} == {SUMMARIZE.render(post("train", i).text) for i in (7, 8, 9)}
    assert (few.ratings, few.test.comparisons) == ({}, [])
    exact = collect(31, start, start, posts_from=7, pairs_per_post=20, annotators=Annotators(0.01, 0.0, 0.0, 0.0))
    assert [{c.chosen, c.rejected} for c in exact.comparisons] == [{c.chosen, c.rejected} for c in few.comparisons]
    assert [c.chosen for c in exact.comparisons] != [c.chosen for c in few.comparisons]


def test_the_reliability_plot(tmp_path):
    lead = np.random.default_rng(0).normal(size=200)
    comparisons = [vote(str(i % 9)) for i in range(200)]
    for rows in (slice(None), slice(0, 1)):
        path = draw_reliability(calibration(lead[rows], comparisons[rows]), tmp_path / "plot.png", "200 comparisons")
        assert path.stat().st_size > 1000
