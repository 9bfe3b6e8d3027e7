"""Texts become tokens as the tokenizer's own maker has it: BOS once, no EOS in a prompt, no lone piece in between."""

import json
import random

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartTokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    MBartTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
)

from prefgym.models.text_tokens import TextTokens

PROMPT, RESPONSE = "our house TL;DR:", " the cat ran"
TEXT = ["the cat ran away from our house TL;DR: don't, 12 345"] * 9
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<s>", "</s>"]


def sentence_pieces():
    """The vocabulary and merges of a BPE over texts whose spaces are "▁", one of them before every text."""
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("▁*[^▁]*"), "isolated")
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    raw.train_from_iterator(
        [*TEXT, "a b . ! ?"], trainers.BpeTrainer(vocab_size=150, special_tokens=SPECIAL, show_progress=False)
    )
    return raw


def byte_level(pre_tokenizer=None, **special):
    """A byte-level BPE, like GPT-2's."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=["<|end|>", "<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, **{"eos_token": "<|end|>", **special})


def framed(template, **special):
    """A byte-level tokenizer that puts special tokens around a text."""
    tokenizer = byte_level(bos_token="<s>", **special)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", tokenizer.bos_token_id), ("<|end|>", tokenizer.eos_token_id)]
    )
    return tokenizer


def parts(tokenizer):
    """What a model class of transformers is made of."""
    model = tokenizer.backend_tokenizer.model if hasattr(tokenizer, "backend_tokenizer") else tokenizer.model
    return {"vocab": tokenizer.get_vocab(), "merges": _merges(model)}


def _merges(model):
    found = json.loads(model.__getstate__())["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found]


def test_bos_comes_before_a_prompt_once_and_eos_never_after_it():
    tokenizer = framed("<s> $A <|end|>")
    texts, bos, plain = (
        TextTokens(tokenizer),
        tokenizer.bos_token_id,
        tokenizer.encode(PROMPT, add_special_tokens=False),
    )
    assert tokenizer(PROMPT).input_ids == [bos, *plain, tokenizer.eos_token_id]
    assert texts.prompt(PROMPT) == [bos, *plain]
    assert texts.prompt(f"<s>{PROMPT}") == [bos, *plain]
    assert texts.prompt("") == [bos]
    assert (texts.before, texts.after) == ([bos], [])
    assert texts.ended(texts.response(PROMPT, RESPONSE)) == [*tokenizer.encode(RESPONSE)[1:-1], tokenizer.eos_token_id]
    assert texts.ended(texts.response(PROMPT, f"{RESPONSE}<|end|>")) == texts.ended(texts.response(PROMPT, RESPONSE))


def test_text_of_a_chat_template_brings_its_own_special_tokens():
    tokenizer = framed("<s> $A")
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    messages = [{"role": "user", "content": PROMPT}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert TextTokens(tokenizer).prompt(text, framed=True) == ids
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"  # writes no BOS
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    texts = TextTokens(tokenizer)
    assert texts.prompt(text, framed=True) == ids == texts.prompt(text)[1:]
    assert texts.response(text, "!", framed=True) == texts.response(text, "!")


def test_a_response_has_no_piece_of_its_own_before_it():
    raw = sentence_pieces()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", bos_token="<s>", unk_token="<unk>")
    texts = TextTokens(tokenizer)
    alone = tokenizer.convert_ids_to_tokens(tokenizer.encode(RESPONSE, add_special_tokens=False))
    assert alone == ["▁", "▁the", "▁cat", "▁ran"]
    ids = texts.response(PROMPT, RESPONSE)
    assert tokenizer.convert_ids_to_tokens(ids) == ["▁the", "▁cat", "▁ran"]
    assert texts.prompt(PROMPT) + ids == tokenizer.encode(PROMPT + RESPONSE, add_special_tokens=False)
    assert texts.text(ids) == RESPONSE  # the tokenizer alone drops the space: "the cat ran"
    crossing = texts.response("our house ", "cat ran")  # "▁cat" spans both, so the prompt's tokens are no beginning
    assert "".join(tokenizer.convert_ids_to_tokens(crossing)) == "cat▁ran"
    assert texts.continuation(f"{PROMPT} the", " cat ran") == ids[1:]


@pytest.mark.parametrize("kind", [LlamaTokenizer, GemmaTokenizer])
def test_the_tokenizers_of_llama_and_gemma(kind):
    tokenizer = kind(**parts(sentence_pieces()), add_bos_token=True)
    texts = TextTokens(tokenizer)
    whole = tokenizer(PROMPT + RESPONSE).input_ids
    assert whole[0] == tokenizer.bos_token_id
    assert texts.prompt(PROMPT) == tokenizer(PROMPT).input_ids
    assert texts.prompt(PROMPT) + texts.response(PROMPT, RESPONSE) == whole
    assert texts.split(PROMPT, RESPONSE) == (texts.prompt(PROMPT), texts.response(PROMPT, RESPONSE))
    assert texts.text(texts.response(PROMPT, RESPONSE)) == RESPONSE


def test_an_encoder_reads_whole_texts_and_its_decoder_writes_targets():
    unigrams = [(piece, -float(place)) for place, piece in enumerate(sentence_pieces().get_vocab())]
    cases = [
        (T5Tokenizer(vocab=unigrams), [], ["</s>"], []),
        (MBartTokenizer(vocab=unigrams), [], ["</s>", "en_XX"], []),
        (BartTokenizer(**parts(byte_level())), ["<s>"], ["</s>"], ["<s>"]),
    ]
    for tokenizer, before, after, target in cases:
        texts, name = TextTokens(tokenizer, encoder_decoder=True), tokenizer.convert_ids_to_tokens
        assert (name(texts.before), name(texts.after)) == (before, after)
        assert texts.prompt(PROMPT) == tokenizer(PROMPT).input_ids
        assert texts.prompt(f"{PROMPT}{''.join(after)}") == texts.prompt(PROMPT)
        response = texts.ended(texts.response(PROMPT, RESPONSE))
        assert response == texts.ended(texts.response("else", RESPONSE))
        labels = tokenizer(text_target=RESPONSE).input_ids
        assert response == labels[: len(response)]  # mBART has its language behind EOS
        assert name(response)[: len(target)] == target
        assert response.count(tokenizer.eos_token_id) == 1
        assert response[-1] == tokenizer.eos_token_id


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
TOKENIZERS = {
    "gpt2": lambda: byte_level(GPT2),
    "smollm": lambda: byte_level(DIGITS),
    "qwen": lambda: Qwen2Tokenizer(**parts(byte_level())),
    "bos": lambda: framed("<s> $A"),
    "pieces": lambda: PreTrainedTokenizerFast(tokenizer_object=sentence_pieces(), eos_token="</s>", unk_token="<unk>"),
    "words": lambda: PreTrainedTokenizerFast(tokenizer_object=words(), eos_token="the", unk_token="cat"),
}


def words():
    found = Tokenizer(models.WordLevel({"the": 0, "cat": 1, "ran": 2}, unk_token="cat"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return found


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_what_is_encoded_apart_is_what_the_whole_text_gives(kind):
    texts, rng = TextTokens(TOKENIZERS[kind]()), random.Random(0)
    bits = [
        "the",
        "cat",
        "don't",
        "'s",
        " ",
        "  ",
        "\n",
        "\n\n",
        "12",
        "345",
        "!",
        "...",
        "é",
        "\u0301",
        "\x00",
        "<s>",
        "",
    ]
    pairs = [tuple("".join(rng.choices(bits, k=rng.randint(1, 5))) for _ in range(2)) for _ in range(400)]
    pairs += [(prompt, f" {response}") for prompt, response in pairs]
    apart = [pair for pair in pairs if texts.apart(*pair)]
    assert bool(apart) == (kind != "pieces")
    for prompt, response in apart:
        head, tail, whole = texts.plain([prompt, response, prompt + response])
        assert whole == head + tail, (prompt, response)
    found = texts.responses(*map(list, zip(*pairs, strict=True)))
    for (prompt, response), ids in zip(pairs, found, strict=True):
        head, whole = texts.prompts([prompt, prompt + response])
        if whole[: len(head)] == head:
            assert ids == whole[len(head) :], (prompt, response)
        elif kind != "pieces":
            assert ids == texts.plain([response])[0]


def test_a_tokenizer_that_splits_at_spaces_reads_each_text_once(monkeypatch):
    texts, read = TextTokens(framed("<s> $A")), []
    plain = texts.plain
    monkeypatch.setattr(texts, "plain", lambda given: read.extend(given) or plain(given))
    texts.responses([PROMPT] * 3, [RESPONSE, " a", " the"])
    assert read == [RESPONSE, " a", " the"]
    read.clear()
    texts.responses([PROMPT], ["\nthe"])
    assert read == [f"{PROMPT}\nthe", PROMPT]


def test_a_token_that_takes_the_space_before_a_response_is_seen():
    tokenizer = byte_level()
    assert TextTokens(tokenizer).apart(PROMPT, RESPONSE)
    tokenizer.add_tokens(AddedToken("TL;DR:", rstrip=True))
    texts = TextTokens(tokenizer)
    assert not texts.apart(PROMPT, RESPONSE)
    assert texts.prompt(PROMPT) + texts.response(PROMPT, RESPONSE) == tokenizer.encode(PROMPT + RESPONSE)
