"""Bradley-Terry training: the loss by hand, learning, accuracy and its interval, calibration, cross-validation."""

import math
import random
import sys
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from prefgym.data.comparisons import Comparison, load_comparisons
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.accuracy import accuracy, leads
from prefgym.rewards.cross_validation import cross_validate
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.training import (
    bradley_terry_loss,
    calibrate_temperature,
    reference_shift,
    train_preference_model,
)

NOUNS = ["cat", "dog", "mat", "home", "car", "tree", "boat", "house"]
WORDS = ["good", "bad", "very", "the", *NOUNS]


def preference_model(seed=0):
    vocabulary = {word: i for i, word in enumerate(["<eos>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=13,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return PreferenceModel.from_language_model(LanguageModel(LlamaForCausalLM(config), tokenizer), seed=seed)


def simulated(count, seed=0, noise=0.0):
    """The good one is preferred; wrongly labelled at a rate of ``noise``. Length says nothing."""
    rng = random.Random(seed)
    comparisons = []
    for i in range(count):
        prompt = " ".join(rng.choices(NOUNS, k=4))
        good, bad = (
            "".join(f" {each}" for each in [*rng.choices(["very", "the"], k=rng.randint(0, 3)), word])
            for word in ("good", "bad")
        )
        if rng.random() < noise:
            good, bad = bad, good
        comparisons.append(Comparison(prompt, good, bad, group=str(i // 2)))
    return comparisons


class Table:
    """A preference model whose logits are given for each response."""

    chat = False

    def __init__(self, logits):
        self.table, self.shift, self.temperature = logits, 0.0, 1.0

    def logits(self, prompts, responses, batch_size=64):
        return np.array([self.table[response] for response in responses])

    def score(self, prompts, responses, batch_size=64):
        return (self.logits(prompts, responses) - self.shift) / self.temperature


def test_loss_at_equal_scores_is_log_two():
    assert bradley_terry_loss(torch.tensor([1.0, -3.0]), torch.tensor([1.0, -3.0])).item() == pytest.approx(math.log(2))


def test_loss_by_hand_with_margin_and_mean():
    # odds 3:1 for the chosen one: -log 3/4; a margin of log 3 takes that back to even; odds 1:3: -log 1/4
    lead = torch.tensor([math.log(3)])
    zero = torch.zeros(1)
    assert bradley_terry_loss(lead, zero).item() == pytest.approx(math.log(4 / 3))
    assert bradley_terry_loss(lead, zero, margin=math.log(3)).item() == pytest.approx(math.log(2))
    both = bradley_terry_loss(torch.tensor([math.log(3), 0.0]), torch.tensor([0.0, math.log(3)]))
    assert both.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


def test_gradient_raises_the_chosen_and_lowers_the_rejected_by_the_chance_of_being_wrong():
    chosen, rejected = torch.tensor([math.log(3)], requires_grad=True), torch.zeros(1, requires_grad=True)
    bradley_terry_loss(chosen, rejected).backward()
    assert chosen.grad.item() == pytest.approx(-0.25)
    assert rejected.grad.item() == pytest.approx(0.25)


def test_a_tie_is_half_a_vote_for_each_side():
    # odds 3:1: (-log 3/4 - log 1/4) / 2; its margin is ignored; the gradient pulls both together and is 0 when equal
    scores, tie = torch.tensor([math.log(3)], requires_grad=True), torch.tensor([True])
    loss = bradley_terry_loss(scores, torch.zeros(1), margin=5.0, tie=tie)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    loss.backward()
    assert scores.grad.item() == pytest.approx(0.75 - 0.5)
    equal = torch.zeros(1, requires_grad=True)
    bradley_terry_loss(equal, torch.zeros(1), tie=tie).backward()
    assert equal.grad.item() == 0


def test_loss_stays_finite_for_extreme_scores():
    assert bradley_terry_loss(torch.tensor([-1e4]), torch.tensor([1e4])).item() == pytest.approx(2e4)


@pytest.mark.parametrize(("small", "rate"), [(10**7, 3e-4), (1, 5e-5)])
def test_the_learning_rate_suits_the_size(small, rate, monkeypatch):
    monkeypatch.setattr("prefgym.models.learning_rate.SMALL", small)
    metrics = train_preference_model(preference_model(), simulated(4), max_steps=1, warmup=0, schedule="linear")
    assert metrics["history"][0]["learning_rate"] == pytest.approx(rate)


def test_training_learns_a_small_set_and_generalises():
    pm = preference_model()
    train, held_out = simulated(60), simulated(40, seed=1)
    assert accuracy(pm, held_out)["mean"] < 0.8
    metrics = train_preference_model(
        pm, train, eval_comparisons=held_out, epochs=6, batch_size=8, learning_rate=5e-3, seed=0
    )
    assert accuracy(pm, held_out)["mean"] > 0.95
    assert accuracy(pm, train)["mean"] > 0.95
    assert metrics["eval_loss_minimum"] < 0.2 < metrics["history"][0]["loss"]
    assert metrics["comparisons"] == 60
    assert metrics["steps"] == 48


def test_evaluation_loss_is_the_loss_of_the_scores():
    pm, comparisons = preference_model(), simulated(7)
    comparisons[3] = Comparison("cat", "good", "bad", tie=True)
    comparisons[4] = Comparison("cat", "good", "bad", margin=0.5)
    metrics = train_preference_model(pm, comparisons, eval_comparisons=comparisons, max_steps=3, batch_size=4)
    expected = [
        math.log(1 + math.exp(-lead)) / 2 + math.log(1 + math.exp(lead)) / 2
        if comparison.tie
        else math.log(1 + math.exp(-lead + comparison.margin))
        for lead, comparison in zip(leads(pm, comparisons), comparisons, strict=True)
    ]
    assert metrics["eval_loss_minimum"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert metrics["ties"] == 1


def test_the_same_seed_trains_the_same_model():
    checksums = []
    for seed in (0, 0, 1):
        pm = preference_model()
        train_preference_model(pm, simulated(20), max_steps=4, batch_size=4, seed=seed)
        checksums.append(pm.checksum())
    assert checksums[0] == checksums[1] != checksums[2]


def test_a_text_of_several_comparisons_is_read_once_and_counts_in_each(monkeypatch):
    pm = preference_model()
    comparisons = [
        Comparison("cat", " good", " bad"),
        Comparison("cat", " good", " very bad", margin=0.3),
        Comparison("cat", " very bad", " bad"),
        Comparison("dog", " good", " bad", tie=True),
    ]
    expected = [math.log(1 + math.exp(-lead)) for lead in leads(pm, comparisons)]
    expected[1] = math.log(1 + math.exp(-leads(pm, comparisons)[1] + 0.3))
    tie = leads(pm, comparisons)[3]
    expected[3] = math.log(1 + math.exp(-tie)) / 2 + math.log(1 + math.exp(tie)) / 2
    sizes = []
    forward = pm.scorer.forward
    monkeypatch.setattr(pm.scorer, "forward", lambda **batch: sizes.append(len(batch["input_ids"])) or forward(**batch))
    metrics = train_preference_model(pm, comparisons, max_steps=1, batch_size=4)
    assert sizes == [5]
    assert metrics["train_loss"] == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_sharing_prompts_changes_neither_scores_nor_gradients(checkpointing):
    pm = preference_model()
    if checkpointing:  # it drops the cache, so prompts are then read plainly
        pm.model.gradient_checkpointing_enable()
    pm.model.train()
    prompts = ["cat", "dog", "cat", "cat", "dog"]
    rows = pm.encode(prompts, [" good", " bad", " very bad", " bad", " good"])

    def gradient(batch):
        pm.model.zero_grad()
        scores = pm.scorer(**batch)
        (scores * torch.arange(1.0, 6)).sum().backward()
        return scores.detach(), torch.cat([p.grad.flatten() for p in pm.model.parameters()])

    plain, expected = gradient(pm.collate(rows))
    shared, found = gradient(pm.collate(rows, share_prompts=True))
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=0)
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_a_stopped_run_goes_on_in_its_order(tmp_path):
    options = {"batch_size": 4, "learning_rate": 1e-2, "schedule": "constant_with_warmup", "warmup": 0.0}
    comparisons = simulated(20)  # 5 steps an epoch
    whole, stopped, resumed = preference_model(), preference_model(), preference_model()
    train_preference_model(whole, comparisons, max_steps=9, **options)
    train_preference_model(stopped, comparisons, max_steps=7, save_every=7, output_dir=tmp_path, **options)
    train_preference_model(resumed, comparisons, max_steps=9, resume=True, output_dir=tmp_path, **options)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_training_thaws_a_frozen_model_and_counts_what_it_cut():
    pm = preference_model().freeze()
    before = pm.checksum()
    long = [Comparison("cat " * 40, "good", "bad")]
    metrics = train_preference_model(pm, [*simulated(3), *long], max_steps=1, warmup=0.0)
    assert pm.checksum() != before
    assert (metrics["prompts_cut"], metrics["responses_cut"]) == (2, 0)
    with pytest.raises(InputError, match="at least one comparison"):
        train_preference_model(pm, [])


def test_calibration_finds_the_temperature_of_the_annotators():
    # the logits lead by log 9 (90 %), but people agree in 75 %: log 3, so the temperature is 2
    comparisons = [Comparison(str(i), "good", "bad") for i in range(75)]
    comparisons += [Comparison(str(i), "bad", "good") for i in range(75, 100)]
    pm = Table({"good": math.log(9) + 7, "bad": 7.0})
    pm.temperature = 0.3  # what stood there before does not matter
    assert calibrate_temperature(pm, comparisons) == pytest.approx(2.0, rel=1e-4)
    assert pm.temperature == pytest.approx(2.0, rel=1e-4)
    useless = Table({"good": 0.0, "bad": 1.0})
    assert calibrate_temperature(useless, comparisons) == pytest.approx(20.0, rel=1e-3)


def test_reference_shift_makes_references_average_zero_at_any_temperature():
    pm = preference_model()
    pm.temperature = 3.0
    prompts, references = ["cat", "the dog", "boat"], ["good", "very bad", "the good"]
    reference_shift(pm, prompts, references)
    assert pm.score(prompts, references).mean() == pytest.approx(0.0, abs=1e-6)
    often = [0, 0, 1, 0, 2]  # what is there three times counts three times, and is read once
    prompts, references = ([texts[place] for place in often] for texts in (prompts, references))
    with patch.object(pm, "logits", wraps=pm.logits) as read:
        reference_shift(pm, prompts, references)
    assert len(read.call_args.args[0]) == 3
    assert pm.score(prompts, references).mean() == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(InputError, match="at least one prompt"):
        reference_shift(pm, [], [])


def test_cross_validation_trains_a_new_model_on_each_fold_and_never_on_the_prompts_it_tests(monkeypatch):
    comparisons = simulated(40, noise=0.1)
    made, seen = [], []

    def make_model():
        made.append(preference_model(seed=len(made)))
        return made[-1]

    def spy(pm, training, **options):
        seen.append({comparison.group for comparison in training})
        return train_preference_model(pm, training, **options)

    monkeypatch.setattr(sys.modules[train_preference_model.__module__], "train_preference_model", spy)
    result = cross_validate(make_model, comparisons, folds=4, epochs=4, batch_size=8, learning_rate=1e-2)
    assert len(made) == len(result["folds"]) == 4
    tested = [{c.group for c in comparisons} - groups for groups in seen]
    assert sorted(group for groups in tested for group in groups) == sorted({c.group for c in comparisons})
    assert sum(fold["n"] for fold in result["folds"]) == result["accuracy"]["n"] == result["comparisons"] == 40
    assert result["accuracy"]["mean"] > 0.75
    assert result["accuracy"]["low"] > result["chance"] == 0.5
    assert result["prompts"] == 20
    longer = [0.5 if len(c.chosen) == len(c.rejected) else len(c.chosen) > len(c.rejected) for c in comparisons]
    assert result["longer"]["mean"] == pytest.approx(np.mean(longer))


REAL = {
    "news_summaries_pairwise.json": {
        "prompt_column": "article_text",
        "first_column": "writer_summary",
        "second_column": "text-davinci-002_summary",
        "label_column": "overall_writer_better",
        "label_map": "true=first,false=second,Equally Good=tie",
        "group_column": "article_id",
    },
    "mt_bench_human.json": {
        "prompt_column": "input",
        "first_column": "output_1",
        "second_column": "output_2",
        "label_column": "label",
    },
}


@pytest.mark.parametrize("name", REAL)
def test_an_encoder_with_its_own_tokenizer_is_cross_validated_on_real_human_comparisons(
    real_data, name, tmp_path, word_piece_encoder
):
    comparisons = load_comparisons(real_data / "preferences" / name, **REAL[name])
    texts = [text for c in comparisons for text in (c.prompt, c.chosen, c.rejected)]
    folder = word_piece_encoder(texts, tmp_path)
    checksums = []
    for state in (1, 2):  # whatever was drawn before, the missing pooler and head follow from the seed
        torch.manual_seed(state)
        checksums.append(PreferenceModel.start(folder, seed=0).checksum())
    assert checksums[0] == checksums[1]
    result = cross_validate(
        lambda: PreferenceModel.start(folder), comparisons, folds=2, epochs=1, batch_size=8, learning_rate=1e-3
    )
    assert result["comparisons"] == len(comparisons) >= 60
    assert result["accuracy"]["low"] < result["accuracy"]["mean"] < result["accuracy"]["high"]
    assert 0 < result["longer"]["low"] < result["longer"]["high"] < 1
    assert result["prompts_cut"] > 0
