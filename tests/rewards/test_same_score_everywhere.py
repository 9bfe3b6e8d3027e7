"""Our folders give transformers the score that is paid here; theirs score here as transformers reads them."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from prefgym.rewards.preference_model import PreferenceModel

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "away", "home", "sad", "glad"]
PROMPTS = ["the cat", "the dog ran away home", "sad", "the mat on the mat"]
RESPONSES = [" sat on the mat", " glad", "", " ran ran"]
TEMPLATE = "{% for m in messages %}{{ m['content'] }} <eos> {% endfor %}"


def tokenizer(**special):
    vocabulary = {word: i for i, word in enumerate(["<eos>", "<bos>", "<pad>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", **special)


def classifier(kind="llama", **config):
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    common = {"vocab_size": 14, "num_labels": 1, "initializer_range": 0.3, **config}
    makers = {
        "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**size, **common, max_position_embeddings=32)),
        "gpt2": lambda: GPT2ForSequenceClassification(
            GPT2Config(**common, n_embd=16, n_layer=2, n_head=2, n_positions=32)
        ),
        "bert": lambda: BertForSequenceClassification(BertConfig(**size, **common, max_position_embeddings=32)),
    }
    return makers[kind]().eval()


def read_by_transformers(folder, texts):
    """One batch through the folder's own tokenizer and classifier, padded on the right."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encode = AutoTokenizer.from_pretrained(folder)
    batch = encode(texts, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0].numpy()


def texts(prompts, responses):
    return [f"{prompt}{response} <eos>" for prompt, response in zip(prompts, responses, strict=True)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("special", [{"pad_token": "<pad>"}, {"pad_token": "<eos>", "bos_token": "<bos>"}], ids=str)
def test_transformers_reads_the_score_from_the_folder_up_to_the_stated_constant(kind, special, tmp_path):
    pm = PreferenceModel(classifier(kind), tokenizer(**special), shift=0.75, temperature=0.4)
    before = pm.score(PROMPTS, RESPONSES)
    pm.save(tmp_path)
    constant = json.loads((tmp_path / "preference.json").read_text())["shift"]
    np.testing.assert_allclose(read_by_transformers(tmp_path, texts(PROMPTS, RESPONSES)) - constant, before, atol=1e-5)
    np.testing.assert_allclose(pm.score(PROMPTS, RESPONSES), before, atol=1e-5)
    np.testing.assert_allclose(PreferenceModel.load(tmp_path).score(PROMPTS, RESPONSES), before, atol=1e-5)


def test_a_head_with_a_bias_holds_the_shift_too(tmp_path):
    words = tokenizer(pad_token="<pad>", cls_token="<bos>", sep_token="<eos>")
    pm = PreferenceModel(classifier("bert", pad_token_id=2), words, shift=0.75, temperature=0.4)
    before = pm.score(PROMPTS, RESPONSES)
    pm.save(tmp_path)
    facts = json.loads((tmp_path / "preference.json").read_text())
    assert (facts["shift"], facts["temperature"]) == (0.0, 1.0)
    np.testing.assert_allclose(PreferenceModel.load(tmp_path).logits(PROMPTS, RESPONSES), before, atol=1e-5)


def test_saving_again_changes_nothing(tmp_path):
    pm = PreferenceModel(classifier(), tokenizer(pad_token="<pad>"), shift=0.75, temperature=0.4)
    pm.save(tmp_path)
    checksum = pm.checksum()
    PreferenceModel.load(tmp_path).save(tmp_path)
    assert PreferenceModel.load(tmp_path).checksum() == checksum


def test_a_folder_of_an_earlier_version_keeps_its_score(tmp_path):
    pm = PreferenceModel(classifier(), tokenizer(pad_token="<pad>"))
    expected = (pm.logits(PROMPTS, RESPONSES) - 0.75) / 0.4
    pm.save(tmp_path)
    (tmp_path / "preference.json").write_text(json.dumps({"shift": 0.75, "temperature": 0.4}))
    loaded = PreferenceModel.load(tmp_path)
    assert (loaded.shift, loaded.temperature, loaded.skipped_token_id) == (0.75, 0.4, None)
    np.testing.assert_allclose(loaded.score(PROMPTS, RESPONSES), expected, atol=1e-6)


def test_what_follows_the_head_and_is_not_linear_is_left_in_the_file(tmp_path):
    model = classifier()
    model.score.register_forward_hook(lambda module, inputs, output: torch.tanh(output))
    pm = PreferenceModel(model, tokenizer(pad_token="<pad>"), shift=0.25, temperature=0.4)
    before = pm.score(PROMPTS, RESPONSES)
    pm.save(tmp_path)
    assert (pm.shift, pm.temperature) == (0.25, 0.4)
    np.testing.assert_array_equal(pm.score(PROMPTS, RESPONSES), before)


def saved_as_trl_does(folder, pad, kind="llama"):
    """``RewardTrainer`` sets the padding id, EOS where there is none, in tokenizer and config, and saves both."""
    words, model = tokenizer(), classifier(kind)
    words.chat_template = TEMPLATE
    words.pad_token = pad or words.eos_token
    model.config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model, words


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("pad", [None, "<pad>"])
def test_a_reward_model_saved_by_trl_scores_as_its_trainer_read_it(kind, pad, tmp_path):
    saved_as_trl_does(tmp_path, pad, kind)
    pm = PreferenceModel.load(tmp_path, chat=False)  # trained on bare texts
    theirs = read_by_transformers(tmp_path, texts(PROMPTS, RESPONSES))
    np.testing.assert_allclose(pm.score(PROMPTS, RESPONSES), theirs, atol=1e-5)
    one_prompt = pm.score(["the cat"] * 3, [" sat", "", " ran on"])  # the prompt is then read once for all
    expected = read_by_transformers(tmp_path, texts(["the cat"] * 3, [" sat", "", " ran on"]))
    np.testing.assert_allclose(one_prompt, expected, atol=1e-5)


def test_saved_here_again_it_still_scores_the_same_for_everybody(tmp_path):
    saved_as_trl_does(tmp_path / "theirs", None)
    pm = PreferenceModel.load(tmp_path / "theirs", chat=False)
    expected = pm.score(PROMPTS, RESPONSES)
    pm.shift = 1.0
    pm.save(tmp_path / "ours")
    again = PreferenceModel.load(tmp_path / "ours")
    np.testing.assert_allclose(again.score(PROMPTS, RESPONSES), expected - 1.0, atol=1e-5)
    theirs = read_by_transformers(tmp_path / "ours", texts(PROMPTS, RESPONSES))
    np.testing.assert_allclose(theirs - 1.0, again.score(PROMPTS, RESPONSES), atol=1e-5)
    assert PreferenceModel.start(tmp_path / "ours").skipped_token_id == pm.tokenizer.eos_token_id
