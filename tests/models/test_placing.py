"""Devices and number formats by name, weights stored in another format, and checkpoints in shards."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from prefgym.errors import InputError
from prefgym.models import placing
from prefgym.models.language_model import LanguageModel
from prefgym.models.placing import device_named, dtype_named, store_as
from prefgym.rewards.preference_model import PreferenceModel


@pytest.fixture
def folder(language_model, tmp_path):
    language_model.save(tmp_path / "model")
    return tmp_path / "model"


def test_devices_by_name():
    assert device_named("cuda:1") == torch.device("cuda", 1)
    assert device_named(torch.device("cpu")) == torch.device("cpu")
    for wrong in ("gpu", "", 'auto"'):
        with pytest.raises(InputError, match=r"name one, as in --env\.device cpu, cuda or cuda:1\.$"):
            device_named(wrong)


@pytest.mark.parametrize("kind", [LanguageModel, PreferenceModel])
def test_auto_is_no_device(folder, kind):
    load = kind.load if kind is LanguageModel else kind.start
    with pytest.raises(InputError, match=r"not spread over several, .*--env\.device cpu, cuda"):
        load(folder, device="auto")


def test_a_model_spread_over_devices_is_refused(language_model):
    language_model.model.hf_device_map = {"model.embed_tokens": 0, "lm_head": "cpu"}
    with pytest.raises(InputError, match=r"is spread over 0, cpu \(device_map\); .*--env\.device cuda\."):
        LanguageModel(language_model.model, language_model.tokenizer)
    language_model.model.hf_device_map = {"": "cpu"}
    LanguageModel(language_model.model, language_model.tokenizer)


def test_formats_by_name(monkeypatch):
    assert dtype_named("bf16") == torch.bfloat16
    with pytest.raises(InputError, match=r'"bf61" is not one of fp32, bf16, fp16\. Did you mean "bf16"'):
        dtype_named("bf61")
    monkeypatch.setattr(placing, "_computes_in", lambda dtype, device: dtype != torch.bfloat16)
    with pytest.raises(InputError, match=r'"cpu" does not compute in bf16; set env\.dtype to fp32 or fp16\.'):
        dtype_named("bf16")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_stored_in_another_format_are_those_that_transformers_loads(language_model, folder, dtype):
    stored = language_model.copy().model
    store_as(stored, dtype)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tokens = torch.tensor([[5, 9, 270, 30, 8]])
    with torch.no_grad():
        assert torch.equal(stored(tokens).logits, theirs(tokens).logits)
    assert stored.lm_head.weight is stored.model.embed_tokens.weight
    assert language_model.model.dtype == torch.float32


def test_weights_that_an_architecture_keeps_in_fp32_stay_so():
    shape = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 8}
    model = T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0))
    store_as(model, torch.float16)
    kinds = {name.split(".")[-2]: p.dtype for name, p in model.named_parameters()}
    assert (kinds["wo"], kinds["wi"]) == (torch.float32, torch.float16)


def in_shards(language_model, folder):
    (folder / "model.safetensors").unlink()
    (folder / "prefgym-files.jsonl").unlink()
    language_model.model.save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    return shards


def test_shards_are_one_model(language_model, folder):
    in_shards(language_model, folder)
    assert LanguageModel.load(folder).checksum() == language_model.checksum()


@pytest.mark.parametrize("damage", ["missing", "torn", "index"])
def test_a_shard_that_is_missing_or_damaged_is_one_sentence(language_model, folder, damage):
    shards = in_shards(language_model, folder)
    if damage == "missing":
        shards[1].unlink()
    elif damage == "torn":
        shards[1].write_bytes(shards[1].read_bytes()[:100])
    else:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}}))
    with pytest.raises(InputError) as caught:
        LanguageModel.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    if damage == "missing":
        assert shards[1].name in str(caught.value)
