"""A preference model scores text: by the mask, the same in any batch, and safely loaded."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.reward import Reward
from prefgym.rewards.scorer import init_head

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "away", "home", "sad", "glad"]
PROMPTS = ["the cat", "the dog ran away home", "sad", "the mat on the mat"]
RESPONSES = [" sat on the mat", " glad", "", " ran ran"]


def word_tokenizer(**special):
    """One token a word; the EOS is also what fills padding, unless told otherwise."""
    names = ["<eos>", "[CLS]", "[SEP]", "[PAD]"]
    vocabulary = {word: i for i, word in enumerate([*names, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if "cls_token" in special:
        words.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def language_model(kind="llama", context=24):
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    common = {"vocab_size": 15, "max_position_embeddings": context, "initializer_range": 0.3}
    torch.manual_seed(0)
    model = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**size, **common)),
        "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**size, **common, hidden_dropout=0.5)),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=15, n_embd=16, n_layer=2, n_head=2, n_positions=context, initializer_range=0.3)
        ),
    }[kind]()
    return LanguageModel(model, word_tokenizer(eos_token="<eos>", pad_token="<eos>"), kind)


def encoder(context=24):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=15,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=context,
        num_labels=1,
        initializer_range=0.3,
        hidden_dropout_prob=0.5,
        pad_token_id=3,
    )
    tokenizer = word_tokenizer(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    return PreferenceModel(BertForSequenceClassification(config), tokenizer)


def make(kind, **arguments):
    return (
        encoder(**arguments)
        if kind == "bert"
        else PreferenceModel.from_language_model(language_model(kind, **arguments))
    )


@pytest.fixture(params=["llama", "gpt2", "neox", "bert"])
def pm(request):
    return make(request.param)


def test_a_batch_equals_its_rows_one_by_one(pm):
    together = pm.score(PROMPTS, RESPONSES)
    alone = [pm.score([prompt], [response])[0] for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, pm.score(PROMPTS, RESPONSES, batch_size=1), atol=1e-4)
    assert together.shape == (4,)
    assert np.ptp(together) > 1e-3


def test_dropout_is_off_in_train_mode_too(tmp_path):
    """The encoder is configured with dropout 0.5; what is trained further is saved and read without it."""
    pm = encoder()
    pm.save(tmp_path / "saved")
    for model in (pm, PreferenceModel.start(tmp_path / "saved")):
        batch = model.collate(model.encode(PROMPTS, RESPONSES))
        model.model.train()
        torch.testing.assert_close(model.scorer(**batch), model.scorer(**batch), atol=0, rtol=0)


def test_what_stands_on_padding_changes_nothing(pm):
    batch = pm.collate(pm.encode(PROMPTS, RESPONSES))
    pm.model.eval()
    before = pm.scorer(**batch)
    batch["input_ids"][batch["attention_mask"] == 0] = 7
    torch.testing.assert_close(pm.scorer(**batch), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_a_decoder_is_read_at_its_last_real_token_though_eos_fills_padding_too(kind):
    pm = make(kind)
    rows = pm.encode(PROMPTS, RESPONSES)
    eos = pm.tokenizer.eos_token_id
    assert eos == pm.tokenizer.pad_token_id
    assert rows[0].input_ids == [*pm.tokenizer.encode("the cat sat on the mat"), eos]
    pm.model.eval()
    expected = [
        pm.model.score(pm.model.base_model(torch.tensor([row.input_ids])).last_hidden_state[0, -1]).item()
        for row in rows
    ]
    np.testing.assert_allclose(pm.logits(PROMPTS, RESPONSES), expected, atol=1e-5)
    # the trap: transformers looks for the last token that is not the padding id, and so reads one before the EOS
    batch = pm.collate(rows)
    pm.model.config.pad_token_id = eos
    stock = pm.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    assert np.abs(stock.detach().numpy() - expected).min() > 1e-4


def test_left_padding_scores_like_right_padding():
    pm = make("llama")
    row = pm.encode(["the cat"], ["sat"])[0].input_ids
    left = torch.tensor([[5, 6, *row]])
    mask = torch.tensor([[0, 0, *[1] * len(row)]])
    assert pm.scorer(left, mask).item() == pytest.approx(pm.logits(["the cat"], ["sat"])[0], abs=1e-5)


def test_an_encoder_gets_the_text_pair_and_pools_as_it_was_trained():
    pm = encoder()
    row = pm.encode(["the cat"], ["sat on"])[0]
    words = pm.tokenizer.convert_ids_to_tokens(row.input_ids)
    assert words == ["[CLS]", "the", "cat", "[SEP]", "sat", "on", "[SEP]"]
    assert row.token_type_ids == [0, 0, 0, 0, 1, 1, 1]
    pm.model.eval()
    logit = (
        pm.model(torch.tensor([row.input_ids]), token_type_ids=torch.tensor([row.token_type_ids])).logits[0, 0].item()
    )
    assert pm.logits(["the cat"], ["sat on"])[0] == pytest.approx(logit, abs=1e-6)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_of_a_long_text_the_end_of_the_prompt_is_cut_first(kind):
    pm = make(kind, context=8)
    short, long, longer = pm.encode(
        ["the cat"] + ["the cat ran away home sad glad"] * 2, [" sat", " sat on", " sat" * 20]
    )
    tokens = [pm.tokenizer.decode(row.input_ids) for row in (short, long, longer)]
    assert len(long.input_ids) == len(longer.input_ids) == 8
    if kind == "llama":
        assert tokens[1] == "the cat ran away home sat on <eos>"
        assert tokens[2] == "sat " * 7 + "<eos>"
    else:
        assert tokens[1] == "[CLS] the cat ran [SEP] sat on [SEP]"
        assert tokens[2].endswith("sat [SEP]")
    assert (pm.cuts.prompts, pm.cuts.responses) == (2, 1)


def test_score_is_the_shifted_logit_over_the_temperature_and_probability_its_sigmoid(pm):
    logits = pm.logits(PROMPTS, RESPONSES)
    pm.shift, pm.temperature = 0.5, 2.0
    scores = pm.score(PROMPTS, RESPONSES)
    np.testing.assert_allclose(scores, (logits - 0.5) / 2.0)
    assert pm(prompts=PROMPTS, completions=RESPONSES, reference=[None] * 4) == scores.tolist()
    first, second = pm.score(["the"], ["cat"])[0], pm.score(["the"], ["dog"])[0]
    probability = pm.probability(["the"], ["cat"], ["dog"])[0]
    assert np.log(probability / (1 - probability)) == pytest.approx(first - second, abs=1e-6)
    total, _ = Reward({"preference": (pm, 2.0)})(PROMPTS, RESPONSES)
    np.testing.assert_allclose(total, 2 * scores)


@pytest.mark.parametrize("kind", ["neox", "bert"])
def test_dropout_is_off_in_scoring_even_in_train_mode(kind):
    pm = make(kind)
    pm.model.config.hidden_dropout = 0.5
    pm.model.train()
    np.testing.assert_array_equal(pm.score(PROMPTS, RESPONSES), pm.score(PROMPTS, RESPONSES))


def test_head_is_drawn_with_variance_one_over_width_plus_one():
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=4,
            hidden_size=2048,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=4,
            num_labels=1,
        )
    )
    init_head(model, seed=0)
    assert model.classifier.weight.var().item() == pytest.approx(1 / 2049, rel=0.1)
    assert model.classifier.bias.item() == 0


def test_a_classifier_on_a_language_model_has_its_trunk_and_its_own_weights():
    lm = language_model()
    before = lm.checksum()
    pm = PreferenceModel.from_language_model(lm)
    tokens = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(
        pm.model.base_model(tokens).last_hidden_state, lm.model.base_model(tokens).last_hidden_state
    )
    with torch.no_grad():
        next(pm.model.parameters()).add_(1.0)
    assert lm.checksum() == before


def test_saved_and_loaded_it_scores_the_same_and_is_frozen(pm, tmp_path):
    pm.shift, pm.temperature, pm.facts = 0.25, 1.5, {"comparisons": 12}
    pm.save(tmp_path)
    loaded = PreferenceModel.load(tmp_path)
    np.testing.assert_allclose(loaded.score(PROMPTS, RESPONSES), pm.score(PROMPTS, RESPONSES), atol=1e-6)
    assert loaded.checksum() == pm.checksum()
    left = 0.25 / 1.5 if pm.scorer.is_decoder else 0.0  # the head of an encoder has a bias
    assert (loaded.shift, loaded.temperature, loaded.facts) == (left, 1.0, {"comparisons": 12})
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".jsonl", ".safetensors", ".jinja", ".txt"}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_start_takes_a_causal_language_model_folder(kind, tmp_path):
    lm = language_model(kind)
    lm.save(tmp_path)
    pm = PreferenceModel.start(tmp_path, seed=3)
    same = PreferenceModel.from_language_model(lm, seed=3)
    np.testing.assert_allclose(pm.logits(PROMPTS, RESPONSES), same.logits(PROMPTS, RESPONSES), atol=1e-5)
    assert PreferenceModel.start(tmp_path, seed=4).checksum() != pm.checksum()
    with pytest.raises(InputError, match="no trained score"):
        PreferenceModel.load(tmp_path)


def test_a_new_model_scores_its_logits_and_remembers_how_much_it_reads(tmp_path):
    pm = PreferenceModel.from_language_model(language_model(), max_length=10)
    assert (pm.shift, pm.temperature) == (0.0, 1.0)
    np.testing.assert_allclose(pm.score(PROMPTS, RESPONSES), pm.logits(PROMPTS, RESPONSES), atol=1e-6)
    pm.save(tmp_path / "pm")
    assert PreferenceModel.load(tmp_path / "pm").max_length == 10


def test_start_takes_up_a_trained_preference_model(pm, tmp_path):
    pm.save(tmp_path)
    assert PreferenceModel.start(tmp_path, seed=9).checksum() == pm.checksum()


def test_unusable_folders_get_one_sentence(tmp_path):
    pm = make("llama")
    with pytest.raises(InputError, match="There is no model folder"):
        PreferenceModel.load(tmp_path / "absent")

    damaged = tmp_path / "damaged"
    pm.save(damaged)
    (damaged / "preference.json").write_text(json.dumps({"shift": "much", "temperature": 1}))
    with pytest.raises(InputError, match=r'preference\.json" is damaged: its "shift" is a text, not a number'):
        PreferenceModel.load(damaged)
    (damaged / "preference.json").write_text(json.dumps({"shift": 0, "temperature": 0}))
    with pytest.raises(InputError, match="temperature 0"):
        PreferenceModel.load(damaged)

    pickled = tmp_path / "pickled"
    pm.save(pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="only pickle weights"):
        PreferenceModel.load(pickled)

    two = tmp_path / "two"
    pm.save(two)
    config = json.loads((two / "config.json").read_text())
    config["id2label"] = {"0": "bad", "1": "good"}
    (two / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        PreferenceModel.load(two)


def test_a_decoder_without_eos_or_with_too_few_embedding_rows_is_refused():
    lm = language_model()
    lm.tokenizer.eos_token = None
    with pytest.raises(InputError, match="no EOS token"):
        PreferenceModel.from_language_model(lm)
    other = language_model()
    other.tokenizer.add_tokens(["more", "words"])
    with pytest.raises(InputError, match="different vocabulary"):
        PreferenceModel.from_language_model(other)
    with pytest.raises(InputError, match="4 to 24 tokens, not 99"):
        PreferenceModel.from_language_model(language_model(), max_length=99)


@pytest.mark.parametrize("template", ["<s> $A", "<s> $A <eos>"])
def test_a_reward_model_made_elsewhere_scores_the_same(template):
    """One whose tokenizer puts BOS before a text, or EOS behind it too; words that run together are one text."""
    words = word_tokenizer(eos_token="<eos>")
    words.add_special_tokens({"bos_token": "<s>"})
    eos, bos = words.eos_token_id, words.bos_token_id
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", bos), ("<eos>", eos)]
    )
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = LlamaConfig(**size, vocab_size=16, max_position_embeddings=24, initializer_range=0.3, num_labels=1)
    model = LlamaForSequenceClassification(config).eval()
    pm = PreferenceModel(model, words)
    prompts, answers = ["the cat", "the dog ran", "the d", "<s> the cat"], [" sat on", "", "og ran", " sat"]
    texts = [
        [token for token in words(p + r, add_special_tokens=False).input_ids if token != bos]
        for p, r in zip(prompts, answers, strict=True)
    ]
    assert [len(text) for text in texts] == [4, 3, 3, 3]
    with torch.no_grad():
        ids = [torch.tensor([[bos, *text, eos]]) for text in texts]
        theirs = [model.score(model.base_model(row).last_hidden_state[0, -1]).item() for row in ids]
    np.testing.assert_allclose(pm.score(prompts, answers), theirs, atol=1e-4)
    cut = pm.encode(["the " * 40], [" sat"])[0].input_ids
    assert cut == [
        bos,
        *words("the " * 21, add_special_tokens=False).input_ids,
        words.convert_tokens_to_ids("sat"),
        eos,
    ]


LENGTHS = [(p, r) for p in (0, 1, 3, 9, 20, 21, 22, 23, 24, 40) for r in (0, 1, 3, 20, 21, 22, 23, 24, 30)]


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_texts_encoded_in_batches_are_those_of_the_plain_definition(kind):
    pm = PreferenceModel.from_language_model(language_model()) if kind == "decoder" else encoder()
    tokenizer = pm.tokenizer
    texts = [tuple("".join(f" {WORDS[i % 11]}" for i in range(n)) for n in lengths) for lengths in LENGTHS]
    plain, cut = [], [0, 0]
    for prompt, response in texts:
        p, r = (tokenizer.encode(text, add_special_tokens=False) for text in (prompt, response))
        if kind == "decoder":
            room = pm.max_length - 1
            cut[0] += len(p) > room - len(r[:room])
            cut[1] += len(r) > room
            start = p[: room - len(r[:room])]
            plain.append(([*start, *r[:room], tokenizer.eos_token_id], None, len(start)))
            continue
        room = pm.max_length - 3
        long, longer = len(p) + len(r) > room, len(r) >= room
        cut[0] += long
        cut[1] += longer
        how = "longest_first" if longer else "only_first" if long else "do_not_truncate"
        limit = pm.max_length if long else None
        row = tokenizer(prompt, response, truncation=how, max_length=limit, return_token_type_ids=True)
        plain.append((row["input_ids"], row["token_type_ids"], 0))
    found = [(row.input_ids, row.token_type_ids, row.prompt_length) for row in pm.encode(*zip(*texts, strict=True))]
    assert found == plain
    assert [pm.prompts_cut, pm.responses_cut] == cut
    assert min(cut) > 0
