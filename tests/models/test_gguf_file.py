"""GGUF files: a tiny Llama written with the package itself, read as the weights and tokenizer it holds."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from prefgym.errors import InputError
from prefgym.models import gguf_file
from prefgym.models.finetune import finetune
from prefgym.models.folder import locate
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason='the package gguf is not installed (pip install "prefgym[gguf]")'
)
TURNS = "{% for m in messages %}{{ m['content'] }}<|endoftext|>{% endfor %}"
WIDTH, HEADS, LAYERS, INNER = 32, 4, 2, 48
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tiny(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=True,
        eos_token_id=0,
        bos_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def paired(weight, name):
    """llama.cpp keeps the two halves of a rotation beside each other."""
    if not name.endswith(("q_proj", "k_proj")):
        return weight
    return weight.view(HEADS, 2, WIDTH // HEADS // 2, WIDTH).transpose(1, 2).reshape(weight.shape)


def write(file, model, tokenizer, architecture="llama"):
    import gguf

    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokenizer))
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token == "<|endoftext|>" else 1 for token in vocabulary])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_chat_template(TURNS)
    weights = {"token_embd.weight": model.model.embed_tokens.weight, "output_norm.weight": model.model.norm.weight}
    for i, layer in enumerate(model.model.layers):
        for ours, theirs in NAMES.items():
            weights[f"blk.{i}.{theirs}.weight"] = paired(layer.get_submodule(ours).weight, ours)
    for name, weight in weights.items():
        writer.add_tensor(name, weight.detach().contiguous().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def original(tokenizer):
    return tiny(tokenizer)


@pytest.fixture
def file(tokenizer, original, tmp_path):
    return write(tmp_path / "tiny.gguf", original, tokenizer)


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 9, 270, 30, 8]])).logits


@needs_package
def test_weights_tokenizer_template_and_eos_come_along_and_are_saved_as_a_plain_folder(
    file, tokenizer, original, tmp_path
):
    lm = LanguageModel.load(file)
    assert lm.name == str(file)
    torch.testing.assert_close(logits(lm.model), logits(original), atol=1e-5, rtol=0)
    assert (lm.model.dtype, lm.eos_token_id, lm.vocab_size) == (torch.float32, 0, len(tokenizer))
    for text in ("my brother broke the window", "  é 12  "):
        assert lm.encode(text) == tokenizer.encode(text)
    assert lm.tokenizer.chat_template == TURNS
    lm.copy().save(tmp_path / "plain")
    assert (tmp_path / "plain" / "model.safetensors").is_file()
    assert "quantization" not in (tmp_path / "plain" / "config.json").read_text()
    again = LanguageModel.load(tmp_path / "plain")
    assert again.checksum() == lm.checksum()
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path / "plain")), logits(original), atol=1e-5, rtol=0
    )
    assert AutoTokenizer.from_pretrained(tmp_path / "plain").chat_template == TURNS


@needs_package
def test_a_folder_whose_only_weights_it_is(file, original, tmp_path):
    (tmp_path / "README.md").write_text("a model")
    assert locate(str(tmp_path)) == file
    torch.testing.assert_close(logits(LanguageModel.load(tmp_path).model), logits(original), atol=1e-5, rtol=0)
    pm = PreferenceModel.start(tmp_path)
    assert np.isfinite(pm.score(["my"], ["brother"])).all()


@needs_package
def test_it_is_trained_like_any_other(file):
    lm = LanguageModel.load(file)
    before = lm.checksum()
    finetune(lm, [("my brother", " broke the window")], max_steps=1, batch_size=1, warmup=0.0)
    assert lm.checksum() != before


@needs_package
def test_an_architecture_that_transformers_cannot_read_is_named(tokenizer, original, tmp_path):
    write(tmp_path / "other.gguf", original, tokenizer, architecture="rwkv7")
    refused(tmp_path / "other.gguf", "rwkv7", "not supported")


@needs_package
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.05, 30])
def test_a_truncated_file_is_one_sentence(file, kept):
    data = file.read_bytes()
    file.write_bytes(data[: kept if kept > 1 else int(len(data) * kept)])
    refused(file, "tiny.gguf", "cannot be loaded")


@needs_package
@pytest.mark.parametrize("place", [4, 5, 10, 17, 30, 60])
def test_a_damaged_head_is_one_sentence(file, place):
    data = bytearray(file.read_bytes())
    data[place : place + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(bytes(data))
    with pytest.raises(InputError) as caught:
        LanguageModel.load(file)
    assert "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF and more")
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(tmp_path / "model.gguf", 'pip install "prefgym[gguf]"')
    refused(tmp_path, 'pip install "prefgym[gguf]"')


def test_a_version_that_is_too_old_names_the_extra_too(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF and more")
    monkeypatch.setitem(sys.modules, "gguf", object())
    monkeypatch.setattr(gguf_file, "is_gguf_available", lambda: False)
    refused(tmp_path, 'pip install "prefgym[gguf]"')


def test_several_files_are_listed_and_another_format_is_named(tmp_path):
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / name).write_bytes(b"PK")
    refused(tmp_path, "several models: a.gguf, b.gguf; name one")
    refused(tmp_path / "a.gguf", "is not a GGUF file")
    refused(tmp_path / "c.gguf", "no model folder")
    with pytest.raises(InputError, match="a trained classifier is needed"):
        PreferenceModel.load(tmp_path / "a.gguf")


def test_safetensors_beside_it_win(language_model, tmp_path):
    language_model.save(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert LanguageModel.load(tmp_path).checksum() == language_model.checksum()


@needs_package
def test_a_real_chat_model():
    path = os.environ.get("PREFGYM_REAL_MODEL")
    if not path:
        pytest.skip("set PREFGYM_REAL_MODEL to the folder of SmolLM2-135M-Instruct.Q4_1.gguf")
    lm = LanguageModel.load(path)
    assert (lm.num_parameters, lm.model.dtype) == (134_515_008, torch.float32)
    assert lm.tokenizer.convert_ids_to_tokens(lm.eos_token_id) == "<|im_end|>"
    turn = [{"role": "user", "content": "What is the capital of France?"}]
    ids = lm.tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        reply = lm.model.generate(ids, do_sample=False, max_new_tokens=12, attention_mask=torch.ones_like(ids))
    assert "Paris" in lm.decode(reply[0, ids.shape[1] :])


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        LanguageModel.load(Path(path))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
