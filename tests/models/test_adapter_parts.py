"""Adapters with tokens and weights of their own: merged, they compute what peft itself computes."""

import copy
import json
import warnings

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel

TURNS = "{% for m in messages %}{{ m['content'] }}<turn>{% endfor %}"


def saved_base(tokenizer, folder, tied, rows=0):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    LanguageModel(LlamaForCausalLM(config), tokenizer, "base").save(folder)
    return folder


def saved_adapter(base, folder, tokens=(), tokenizer=None, **options):
    """What peft writes after training: every trained weight is moved; with new tokens the tokenizer is there too."""
    own = copy.deepcopy(tokenizer or AutoTokenizer.from_pretrained(base))
    own.add_special_tokens({"additional_special_tokens": list(tokens)})
    model = AutoModelForCausalLM.from_pretrained(base)
    if tokens:
        model.resize_token_embeddings(len(own), mean_resizing=False)
        own.eos_token, own.chat_template = tokens[0], TURNS
    config = LoraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **options})
    generator = torch.Generator().manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, config)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        adapted.save_pretrained(folder)
    if tokens:
        own.save_pretrained(folder)
    return folder


def by_peft(folder, tokens):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return AutoPeftModelForCausalLM.from_pretrained(folder).eval()(tokens).logits


def by_us(lm, tokens):
    with torch.no_grad():
        return lm.model.eval()(tokens).logits


OPTIONS = {
    "grown embeddings": {},
    "modules_to_save": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "single rows": {"trainable_token_indices": [3, 280, 281]},
    "low rank on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "a norm": {"modules_to_save": ["norm"]},
}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", OPTIONS)
def test_added_tokens_and_whole_weights_are_those_of_peft(tokenizer, tmp_path, tied, kind):
    options = OPTIONS[kind]
    if kind == "single rows" and not tied:
        options = {"trainable_token_indices": {"embed_tokens": [3, 280, 281], "lm_head": [280, 281]}}
    base = saved_base(tokenizer, tmp_path / "base", tied)
    folder = saved_adapter(base, tmp_path / "adapter", ["<turn>", "<think>"], **options)
    if kind == "low rank on embeddings" and not tied:  # peft then draws those rows of the head anew at every load
        with pytest.raises(InputError, match="no weights for them in lm_head"):
            LanguageModel.load(folder)
        return
    lm = LanguageModel.load(folder)
    tokens = torch.tensor([[5, 3, 280, 281, 9, 30]])
    expected = by_peft(folder, tokens)
    torch.testing.assert_close(by_us(lm, tokens), expected, atol=1e-5, rtol=0)
    assert (lm.vocab_size, lm.eos_token_id) == (282, 280)
    assert lm.tokenizer.chat_template == TURNS
    assert lm.encode("a<think>b")[1] == 281
    lm.save(tmp_path / "merged")
    again = LanguageModel.load(tmp_path / "merged")
    torch.testing.assert_close(by_us(again, tokens), expected, atol=1e-5, rtol=0)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(tokens).logits, expected, atol=1e-5, rtol=0)
    assert plain.get_input_embeddings().weight.shape[0] == 282


@pytest.mark.parametrize("kind", ["modules_to_save", "low rank on embeddings", "a norm"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_without_new_tokens_too(tokenizer, tmp_path, tied, kind):
    base = saved_base(tokenizer, tmp_path / "base", tied, rows=8)
    folder = saved_adapter(base, tmp_path / "adapter", **OPTIONS[kind])
    lm = LanguageModel.load(folder)
    tokens = torch.tensor([[5, 3, 9, 30]])
    torch.testing.assert_close(by_us(lm, tokens), by_peft(folder, tokens), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="cannot be trained further as an adapter"):
        AdaptedModel.read(folder)


def test_an_adapter_with_a_tokenizer_and_no_new_rows_uses_it(tokenizer, tmp_path):
    """The base has rows to spare: only the tokenizer grows, and its EOS is another one."""
    base = saved_base(tokenizer, tmp_path / "base", tied=True, rows=8)
    folder = saved_adapter(base, tmp_path / "adapter")
    own = AutoTokenizer.from_pretrained(base)
    own.add_special_tokens({"eos_token": "<turn>"})
    own.save_pretrained(folder)
    lm = LanguageModel.load(folder)
    assert (lm.eos_token_id, lm.vocab_size) == (280, 281)
    assert AdaptedModel.read(folder).eos_token_id == 280


def test_without_a_tokenizer_the_base_s_own_is_used(tokenizer, tmp_path):
    base = saved_base(tokenizer, tmp_path / "base", tied=True)
    folder = saved_adapter(base, tmp_path / "adapter")
    assert not (folder / "tokenizer.json").exists()
    assert LanguageModel.load(folder).encode("my brother") == tokenizer.encode("my brother")


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_tokens_without_weights_are_one_sentence(tokenizer, tmp_path, tied):
    base = saved_base(tokenizer, tmp_path / "base", tied)
    folder = saved_adapter(base, tmp_path / "adapter", ["<turn>", "<think>"])
    weights = folder / "adapter_model.safetensors"
    save_file({key: t for key, t in load_file(weights).items() if "lora_" in key}, weights)
    with pytest.raises(InputError, match=r"has 2 tokens more than its base .* save_embedding_layers=True\.$"):
        LanguageModel.load(folder)


def test_embeddings_of_another_width_are_one_whole_sentence(tokenizer, tmp_path):
    base = saved_base(tokenizer, tmp_path / "base", tied=True)
    folder = saved_adapter(base, tmp_path / "adapter", ["<turn>"])
    weights = folder / "adapter_model.safetensors"
    tensors = {k: t if "lora_" in k else t[:, :7].contiguous() for k, t in load_file(weights).items()}
    save_file(tensors, weights)
    with pytest.raises(InputError, match=r"^The adapter .* cannot be loaded: .*size mismatch for .*\.$"):
        LanguageModel.load(folder)


@pytest.mark.parametrize(
    "changes", [{"modules_to_save": "embed_tokens"}, {"trainable_token_indices": {"embed_tokens": "all"}}], ids=str
)
def test_wrong_kinds_of_settings_are_named(tokenizer, tmp_path, changes):
    base = saved_base(tokenizer, tmp_path / "base", tied=True)
    folder = saved_adapter(base, tmp_path / "adapter")
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    with pytest.raises(InputError, match=f"is damaged: .*{next(iter(changes))}"):
        LanguageModel.load(folder)
