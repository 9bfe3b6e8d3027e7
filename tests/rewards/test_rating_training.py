"""Regression on ratings: the loss by hand, learning, and the same model as comparisons train."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.data.comparisons import Comparison
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.accuracy import accuracy
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.rating_training import train_on_ratings
from prefgym.rewards.ratings import Rating

WORDS = ["<eos>", "good", "bad", "very", "the", "cat", "dog", "tree"]
VALUE = {"good": 1.0, "bad": -1.0, "the": 0.0}


@pytest.fixture
def pm():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return PreferenceModel.from_language_model(LanguageModel(LlamaForCausalLM(config), tokenizer))


def rated(count, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [" ".join(rng.choice(WORDS[5:], 3)) for _ in range(count)]
    return [Rating(p, f"very {word}", VALUE[word], "A") for p in prompts for word in rng.choice([*VALUE], 2)]


def test_the_loss_is_the_mean_squared_error_of_the_scores(pm):
    ratings = rated(5)
    metrics = train_on_ratings(pm, ratings, eval_ratings=ratings[:7], max_steps=2, batch_size=4)
    scores = pm.score([r.prompt for r in ratings[:7]], [r.response for r in ratings[:7]])
    expected = np.mean([(score - rating.value) ** 2 for score, rating in zip(scores, ratings[:7], strict=True)])
    assert metrics["eval_loss_minimum"] == pytest.approx(expected, rel=1e-4)
    assert metrics["ratings"] == 10


def test_what_was_rated_is_learned_and_ranks_comparisons(pm):
    comparisons = [Comparison(f"cat {word}", "very good", "very bad") for word in ("dog", "tree", "cat")]
    pm.shift, pm.temperature = 3.0, 2.0
    metrics = train_on_ratings(
        pm, rated(60), eval_ratings=rated(20, seed=1), epochs=8, batch_size=8, learning_rate=5e-3
    )
    assert (pm.shift, pm.temperature) == (0.0, 1.0)
    assert metrics["eval_loss_minimum"] < 0.1
    assert accuracy(pm, comparisons)["mean"] == 1.0
    assert pm.score(["cat dog"], ["very the"])[0] == pytest.approx(0.0, abs=0.3)


def test_the_weights_of_the_smallest_held_out_error_are_kept_unless_told_otherwise(pm):
    """Held-out people who rate the other way round: every step makes it worse for them."""
    others = [Rating(r.prompt, r.response, -r.value, "B") for r in rated(10, seed=1)]

    def error_after(**options):
        metrics = train_on_ratings(
            pm, rated(20), eval_ratings=others, max_steps=12, eval_every=3, batch_size=8, learning_rate=2e-2, **options
        )
        scores = pm.score([r.prompt for r in others], [r.response for r in others])
        error = np.mean([(score - rating.value) ** 2 for score, rating in zip(scores, others, strict=True)])
        return error, metrics["eval_loss_minimum"]

    error, least = error_after()
    assert error == pytest.approx(least, rel=1e-4)
    error, least = error_after(keep_best=False)
    assert error > least + 0.01


def test_no_rating(pm):
    with pytest.raises(InputError, match="at least one rating"):
        train_on_ratings(pm, [])
