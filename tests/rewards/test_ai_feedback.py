"""Verdicts of language models: the likelihoods by hand and by a plain forward, both orders, the safe loader."""

import doctest
import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.data.comparisons import Comparison
from prefgym.data.templates import SUMMARIZE
from prefgym.data.text_pairs import TextPair
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.tabular import TabularLM
from prefgym.rewards import ai_feedback as module
from prefgym.rewards.ai_feedback import LanguageModelAnnotator, ai_comparisons, load_annotator
from prefgym.rewards.preference_model import PreferenceModel

WORDS = ["<eos>", "1", "2", "why", "how", "good", "bad", "fine", "better", "is"]
QUESTION = "{prompt} {first} {second} better is"


@pytest.fixture
def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")


@pytest.fixture
def table(tokenizer):
    """``table({question: log-odds of the verdict 1})``: an annotator that is a table of what it says to whom."""

    def make(verdicts):
        texts = {text: tuple(tokenizer(text)["input_ids"]) for text in verdicts}
        model = TabularLM.of(texts.values(), len(WORDS))
        with torch.no_grad():
            for text, odds in verdicts.items():
                state = model.transitions(torch.tensor([texts[text]]), torch.ones(1, len(texts[text])))[0, -1]
                model.table.weight[state, 1] = model.table.weight[state, 2] + odds
        return LanguageModelAnnotator(LanguageModel(model, tokenizer, "table"), QUESTION)

    return make


@pytest.fixture
def llama(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.5,
        eos_token_id=0,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")


def odds(probability):
    return math.log(probability / (1 - probability))


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


def test_both_orders_are_averaged_by_hand(table):
    """Shown first, "good" wins with 0.9; shown second, it still does with 1 - 0.4: (0.9 + 0.6) / 2."""
    annotator = table({"why good bad better is": odds(0.9), "why bad good better is": odds(0.4)})
    assert annotator.in_order(["why"], ["good"], ["bad"]) == pytest.approx([0.9])
    assert annotator(["why"], ["good"], ["bad"]) == pytest.approx([0.75])
    assert annotator(["why"], ["bad"], ["good"]) == pytest.approx([0.25])


def test_a_model_that_likes_the_number_one_says_nothing(table):
    annotator = table({"why good bad better is": odds(0.9), "why bad good better is": odds(0.9)})
    assert annotator(["why"], ["good"], ["bad"]) == pytest.approx([0.5])


def test_likelihoods_are_those_of_a_plain_forward_in_any_batch(llama):
    rows = [("why", "good", "bad"), ("how how is", "fine", "good good bad"), ("why", "bad", "fine fine")]
    expected = []
    for prompt, first, second in rows:
        text = QUESTION.format(prompt=prompt, first=first, second=second)
        ids = torch.tensor([llama.encode(text)])
        log_probs = torch.log_softmax(llama.model(ids).logits[0, -1, : len(WORDS)], -1)
        expected.append(float((log_probs[1].exp() / (log_probs[1].exp() + log_probs[2].exp())).detach()))
    for size in (1, 2, 8):
        annotator = LanguageModelAnnotator(llama, QUESTION, batch_size=size)
        assert annotator.in_order(*map(list, zip(*rows, strict=True))) == pytest.approx(expected, abs=1e-5)
    assert annotator([], [], []).shape == (0,)


def test_the_two_sides_are_exchangeable(llama):
    annotator = LanguageModelAnnotator(llama, QUESTION)
    prompts, first, second = ["why", "how"], ["good", "fine bad"], ["bad", "good"]
    assert annotator(prompts, first, second) + annotator(prompts, second, first) == pytest.approx(np.ones(2))


def test_verdicts_of_several_tokens_count_whole(llama, monkeypatch):
    monkeypatch.setattr(module, "VERDICTS", (" 1 good", " 2"))
    annotator = LanguageModelAnnotator(llama, QUESTION)
    ids = llama.encode("why fine bad better is")

    def log_prob(tokens):
        logits = llama.model(torch.tensor([[*ids, *tokens]])).logits[0, len(ids) - 1 : -1, : len(WORDS)]
        return sum(float(row[token].detach()) for row, token in zip(torch.log_softmax(logits, -1), tokens, strict=True))

    one, two = log_prob([1, 5]), log_prob([2])
    found = annotator.in_order(["why"], ["fine"], ["bad"])
    assert found == pytest.approx([math.exp(one) / (math.exp(one) + math.exp(two))], abs=1e-5)


def test_a_long_prompt_is_cut_and_a_text_that_looks_like_a_place_is_none(llama):
    annotator = LanguageModelAnnotator(llama, QUESTION)
    whole, cut = ("why " * count for count in (19, 40))
    assert annotator([cut], ["good"], ["bad"]) == pytest.approx(annotator([whole], ["good"], ["bad"]))
    assert annotator([whole], ["good"], ["bad"]) != pytest.approx(annotator(["why"], ["good"], ["bad"]))
    assert np.isfinite(annotator(["{first} {prompt}"], ["{second}"], ["{prompt} {first}"])).all()
    with pytest.raises(InputError, match='leave no room for their prompt in the 24 tokens of "tiny"'):
        annotator(["why"], ["good " * 20], ["bad"])


def test_what_cannot_be_asked(llama, tokenizer):
    for question in ("{prompt} {first}", "{prompt} {first} {second} {second}"):
        with pytest.raises(InputError, match=r"must contain \{second\} exactly once"):
            LanguageModelAnnotator(llama, question)
    tokenizer._tokenizer.model = models.WordLevel({"<eos>": 0, "why": 1}, unk_token="<eos>")
    with pytest.raises(InputError, match='cannot tell the verdicts "1" and "2" apart'):
        LanguageModelAnnotator(llama, QUESTION)


def test_folders_are_loaded_as_what_they_are(llama, tmp_path):
    llama.save(tmp_path / "lm")
    annotator = load_annotator(str(tmp_path / "lm"), question=QUESTION)
    assert isinstance(annotator, LanguageModelAnnotator)
    rows = ["why"], ["good"], ["bad"]
    assert annotator(*rows) == pytest.approx(LanguageModelAnnotator(llama, QUESTION)(*rows), abs=1e-6)

    pm = PreferenceModel.from_language_model(llama, seed=1)
    pm.save(tmp_path / "pm")
    judge = load_annotator(str(tmp_path / "pm"))
    rendered = [SUMMARIZE.render("why")], [" good"], [" bad"]
    assert judge(*rows) == pytest.approx(pm.probability(*rendered), abs=1e-6)


def test_pickles_are_refused_and_what_is_missing_is_named(llama, tmp_path):
    llama.save(tmp_path / "lm")
    weights = tmp_path / "lm" / "model.safetensors"
    weights.rename(tmp_path / "lm" / "pytorch_model.bin")
    with pytest.raises(InputError, match="only pickle weights"):
        load_annotator(str(tmp_path / "lm"))
    with pytest.raises(InputError, match="There is no model folder"):
        load_annotator(str(tmp_path / "nowhere"))
    (tmp_path / "lm" / "config.json").write_text("{")
    with pytest.raises(InputError):
        load_annotator(str(tmp_path / "lm"))


def test_verdicts_become_comparisons():
    pairs = [TextPair("p", "a", "b"), TextPair("q", "a", "b"), TextPair("r", "a", "b")]

    def annotator(prompts, first, second):
        assert (first, second) == (["a"] * 3, ["b"] * 3)
        return np.array([{"p": 0.8, "q": 0.3, "r": 0.52}[prompt] for prompt in prompts])

    assert ai_comparisons(annotator, pairs, tie=0.05, name="model") == [
        Comparison("p", "a", "b", annotator="model"),
        Comparison("q", "b", "a", annotator="model"),
        Comparison("r", "a", "b", tie=True, annotator="model"),
    ]
    assert [c.tie for c in ai_comparisons(annotator, pairs)] == [False] * 3
