"""What a preference model was trained on is on record, whatever the template, and survives saving."""

import doctest
import json
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from prefgym.data.comparisons import Comparison
from prefgym.data.templates import SUMMARIZE, Template
from prefgym.errors import InputError
from prefgym.rewards import training_rows
from prefgym.rewards.ensemble import PreferenceEnsemble
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.rating_training import train_on_ratings
from prefgym.rewards.ratings import Rating
from prefgym.rewards.training import train_preference_model
from prefgym.rewards.training_rows import ROWS_FILE, UNKNOWN, TrainingRows, prompt_hash

PAIRS = [Comparison(f"post {i // 2}", f"good {i}", f"bad {i}") for i in range(4)]


def tiny(seed: int = 0) -> PreferenceModel:
    words = {word: place for place, word in enumerate(["<eos>", "<pad>", "post", "good", "bad", ":", "TL", "DR"])}
    core = Tokenizer(models.WordLevel(words, unk_token="post"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="post")
    torch.manual_seed(seed)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = LlamaConfig(vocab_size=len(words), num_labels=1, pad_token_id=1, max_position_embeddings=64, **shape)
    return PreferenceModel(LlamaForSequenceClassification(config), tokenizer, rows=TrainingRows())


def test_docstrings():
    assert doctest.testmod(training_rows).failed == 0


def test_a_prompt_is_the_same_in_any_template_and_with_any_white_space():
    own = Template("Post: {prompt} So:")
    plain = TrainingRows.of(PAIRS)
    assert TrainingRows.of([item.render(SUMMARIZE) for item in PAIRS], SUMMARIZE) == plain
    assert TrainingRows.of([item.render(own) for item in PAIRS], own) == plain
    assert TrainingRows.of([replace(item, prompt=f" {item.prompt}\n".replace(" ", "  ")) for item in PAIRS]) == plain
    assert prompt_hash("caf\u00e9") == prompt_hash("cafe\u0301")
    assert prompt_hash("post 0") != prompt_hash("Post 0")
    assert (len(plain.prompts), len(plain.comparisons)) == (2, 4)


def test_a_comparison_is_the_same_whoever_won_and_another_with_another_response():
    turned = replace(PAIRS[0], chosen=PAIRS[0].rejected, rejected=PAIRS[0].chosen, tie=True, annotator="Ann")
    assert TrainingRows.of([turned]) == TrainingRows.of(PAIRS[:1])
    other = TrainingRows.of([replace(PAIRS[0], chosen="better")])
    assert other.prompts == TrainingRows.of(PAIRS[:1]).prompts
    assert not other.comparisons & TrainingRows.of(PAIRS).comparisons


def test_training_is_on_record_with_what_chose_the_step_and_training_further_adds(tmp_path):
    pm = tiny()
    options = {"epochs": 1, "batch_size": 2}
    train_preference_model(pm, PAIRS[:2], eval_comparisons=PAIRS[2:], **options)
    assert pm.rows == TrainingRows.of(PAIRS)
    pm.save(tmp_path / "pm")
    assert PreferenceModel.load(tmp_path / "pm").rows == pm.rows
    further = PreferenceModel.start(tmp_path / "pm")
    train_on_ratings(further, [Rating("post 7", "good", 1.0, "Ann")], **options)
    assert further.rows.prompts == {*pm.rows.prompts, prompt_hash("post 7")}
    assert further.rows.comparisons == pm.rows.comparisons
    assert PreferenceEnsemble([pm, further]).rows == pm.rows | further.rows


def test_a_model_that_was_trained_without_a_record_stays_unknown(tmp_path):
    pm = tiny()
    pm.rows = TrainingRows.of(PAIRS)
    pm.save(tmp_path / "pm")
    pm.rows = UNKNOWN
    pm.save(tmp_path / "pm")
    assert not (tmp_path / "pm" / ROWS_FILE).exists()  # nor is the record of an earlier save left
    assert PreferenceModel.load(tmp_path / "pm").rows == UNKNOWN
    further = PreferenceModel.start(tmp_path / "pm")
    train_preference_model(further, PAIRS, epochs=1)
    assert (further.rows.known, further.rows.complete) == (True, False)


def test_the_file_is_sorted_and_small_and_a_damaged_one_is_named(tmp_path):
    rows = TrainingRows.of_prompts(f"post {i}" for i in range(500))
    rows.write(tmp_path)
    file = tmp_path / ROWS_FILE
    told = json.loads(file.read_text())
    assert told["prompts"] == sorted(told["prompts"])
    assert file.stat().st_size < 500 * 21
    assert TrainingRows.read(tmp_path) == rows
    file.write_text(file.read_text().replace("true", "1"))
    with pytest.raises(InputError, match=f"{ROWS_FILE}.*damaged"):
        TrainingRows.read(tmp_path)
