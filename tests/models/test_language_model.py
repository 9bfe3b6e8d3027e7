import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForSequenceClassification

from prefgym.errors import InputError
from prefgym.models import folder as module
from prefgym.models.distribution import Decoding
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel, disable_dropout, embedded_path
from prefgym.storage.manifest import FILES


@pytest.fixture
def folder(language_model, tmp_path):
    language_model.save(tmp_path / "model")
    return tmp_path / "model"


def refused(folder, *words):
    """The folder is refused with one sentence that holds all the words."""
    if Path(folder).is_dir():
        (Path(folder) / FILES).unlink(missing_ok=True)  # as the folder of another tool, which has no sums
    with pytest.raises(InputError) as error:
        LanguageModel.load(folder)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def greedy(language_model, texts, budget=12):
    encoded = [language_model.encode(text) for text in texts]
    width = max(map(len, encoded))
    tokens = torch.tensor([[language_model.pad_token_id] * (width - len(ids)) + ids for ids in encoded])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded])
    generation = generate(
        language_model.model,
        tokens,
        mask,
        max_new_tokens=budget,
        eos_token_id=language_model.eos_token_id,
        pad_token_id=language_model.pad_token_id,
        vocab_size=language_model.vocab_size,
        decoding=Decoding(greedy=True),
    )
    return tokens, mask, generation


def test_weights_that_nobody_shares_stay_where_they_are_in_training(language_model):
    def places(lm):
        return [parameter.data_ptr() for parameter in lm.model.parameters()]

    before = places(language_model)
    assert places(language_model.unfreeze()) == before
    view = language_model.view()
    assert places(view) == before
    assert set(places(view.unfreeze())).isdisjoint(before)


def test_save_and_load_give_the_same_model(language_model, folder):
    loaded = LanguageModel.load(folder)
    assert loaded.checksum() == language_model.checksum()
    assert loaded.name == str(folder)
    assert loaded.vocab_size == len(language_model.tokenizer) == loaded.model.config.vocab_size - 8
    assert loaded.eos_token_id == loaded.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert loaded.context_length == 64
    assert loaded.device.type == "cpu"
    assert next(loaded.model.parameters()).dtype == torch.float32
    tied = loaded.model.model.embed_tokens.weight
    assert loaded.num_parameters == sum(p.numel() for p in loaded.model.model.parameters())
    assert loaded.model.lm_head.weight is tied


def test_a_saved_folder_holds_only_safetensors_json_and_text(folder):
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".jsonl", ".jinja", ".txt"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_transformers_loads_a_saved_folder_and_writes_the_same_tokens(folder):
    ours = LanguageModel.load(folder)
    with torch.no_grad():  # make EOS likely enough that rows end early
        ours.model.lm_head.weight[ours.eos_token_id] *= 4
    ours.save(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["my brother", "the window of our neighbour", "x", "broke it <|endoftext|> my"]
    tokens, mask, generation = greedy(ours, texts)
    expected = theirs.generate(tokens, attention_mask=mask, do_sample=False, max_new_tokens=generation.tokens.shape[1])
    # transformers may draw rows beyond the tokenizer: the case must not hold one
    assert expected.max() < ours.vocab_size
    assert torch.equal(expected[:, tokens.shape[1] :], generation.tokens)
    assert tokenizer.encode("my brother", add_special_tokens=False) == ours.encode("my brother")


def test_saving_over_a_folder_replaces_the_weights(language_model, folder):
    with torch.no_grad():
        language_model.model.lm_head.weight.add_(1.0)
    language_model.save(folder)
    assert LanguageModel.load(folder).checksum() == language_model.checksum()


def test_a_failed_save_leaves_the_folder_as_it_was(language_model, folder, monkeypatch):
    before = LanguageModel.load(folder).checksum()
    files = sorted(path.name for path in folder.iterdir())

    def fail(_folder):
        raise OSError("disk full")

    with torch.no_grad():
        language_model.model.lm_head.weight.add_(1.0)
    monkeypatch.setattr(language_model.tokenizer, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        language_model.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == files
    assert LanguageModel.load(folder).checksum() == before


def test_shards_are_read(language_model, folder):
    (folder / "model.safetensors").unlink()
    language_model.model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").exists()
    assert LanguageModel.load(folder).checksum() == language_model.checksum()


def test_saving_after_shards_leaves_no_stale_index(language_model, folder):
    language_model.model.save_pretrained(folder, max_shard_size="20KB")
    with torch.no_grad():
        language_model.model.lm_head.weight.add_(1.0)
    language_model.save(folder)
    assert LanguageModel.load(folder).checksum() == language_model.checksum()


def test_encode_adds_nothing_and_decode_leaves_special_tokens_out(language_model):
    text = "my brother's  window\n\nTL;DR: é 漢"
    tokens = language_model.encode(text)
    assert language_model.decode(tokens) == text
    assert language_model.decode(torch.tensor([*tokens, language_model.eos_token_id])) == text


def test_without_a_padding_token_eos_fills(language_model):
    assert language_model.tokenizer.pad_token_id is None
    assert language_model.pad_token_id == language_model.eos_token_id
    assert language_model.tokenizer.pad_token_id is None


def test_a_copy_has_weights_of_its_own(language_model):
    language_model.model.lm_head.weight.grad = torch.ones_like(language_model.model.lm_head.weight)
    other = language_model.copy()
    assert other.checksum() == language_model.checksum()
    assert other.model.lm_head.weight.grad is None
    assert other.model.lm_head.weight is other.model.model.embed_tokens.weight
    with torch.no_grad():
        other.model.lm_head.weight[0, 0] += 1e-6
    assert other.checksum() != language_model.checksum()


def test_a_view_has_the_same_weights_in_memory_until_it_is_to_be_trained(language_model):
    view = language_model.view()
    assert [p.data_ptr() for p in view.model.parameters()] == [p.data_ptr() for p in language_model.model.parameters()]
    assert view.model.lm_head.weight is view.model.model.embed_tokens.weight
    assert not any(p.requires_grad for lm in (view, language_model) for p in lm.model.parameters())
    assert all(p.requires_grad for p in view.copy().model.parameters())
    before = view.checksum()
    language_model.unfreeze()
    assert language_model.checksum() == before
    assert language_model.model.lm_head.weight is language_model.model.model.embed_tokens.weight
    with torch.no_grad():
        for parameter in language_model.model.parameters():
            assert parameter.requires_grad
            parameter.add_(1.0)
    assert view.checksum() == before != language_model.checksum()


def test_freeze_stops_gradients(language_model):
    frozen = language_model.copy().freeze()
    assert not any(parameter.requires_grad for parameter in frozen.model.parameters())
    assert all(parameter.requires_grad for parameter in language_model.model.parameters())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_dropout_is_off_in_train_mode(make_model, kind):
    model = make_model(kind, dropout=True).train()
    tokens = torch.arange(1, 13).view(2, 6)
    assert not torch.equal(model(tokens).logits, model(tokens).logits), "the case must have dropout to switch off"
    disable_dropout(model)
    in_train = model(tokens).logits
    assert model.training
    assert torch.equal(in_train, model.eval()(tokens).logits)


def test_dropout_kept_in_attributes_and_configurations_is_switched_off():
    class Config:
        resid_pdrop, layerdrop, num_layers = 0.1, 0.2, 3

        def __init__(self):
            self.resid_pdrop, self.layerdrop, self.num_layers = 0.1, 0.2, 3

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.attention_dropout, self.scale = Config(), 0.3, 0.5

    part = Part()
    disable_dropout(nn.Sequential(part, nn.Dropout1d(0.4)))
    assert (part.attention_dropout, part.config.resid_pdrop, part.config.layerdrop) == (0, 0, 0)
    assert (part.scale, part.config.num_layers) == (0.5, 3)


def test_missing_folder_is_refused(tmp_path):
    refused(tmp_path / "nothing", "There is no model folder", "nothing")


def test_a_file_is_refused(folder):
    refused(folder / "config.json", "is a file")


def test_unreachable_name_is_refused(monkeypatch):
    def unreachable(name, **_options):
        raise OSError(f"cannot reach {name}")

    monkeypatch.setattr(module, "snapshot_download", unreachable)
    refused("somebody/some-model", '"somebody/some-model"', "neither a model folder nor", "Hub")


def test_a_hub_model_is_downloaded_without_pickle_files(monkeypatch, folder):
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(folder)

    monkeypatch.setattr(module, "snapshot_download", download)
    assert LanguageModel.load("somebody/some-model").name == "somebody/some-model"
    assert not any(pattern.endswith(("bin", "pt", "*")) for pattern in asked["somebody/some-model"])


def test_folder_without_configuration_is_refused(folder):
    (folder / "config.json").unlink()
    refused(folder, "no config.json")


def test_broken_configuration_is_refused(folder):
    (folder / "config.json").write_text("{")
    refused(folder, "config.json", "is damaged")


def test_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "no weights", "model.safetensors")


def test_damaged_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(folder, "cannot be loaded")


def test_incomplete_weights_are_refused(folder, language_model):
    language_model.model.model.layers[1].mlp.up_proj = nn.Identity()
    language_model.model.save_pretrained(folder)
    refused(folder, "lacks", "layers.1.mlp.up_proj")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickle_weights_are_refused(folder, language_model, name):
    (folder / "model.safetensors").unlink()
    torch.save(language_model.model.state_dict(), folder / name)
    refused(folder, "only pickle weights", name, "safetensors")


def test_pickle_weights_beside_safetensors_are_not_read(folder, language_model):
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert LanguageModel.load(folder).checksum() == language_model.checksum()


@pytest.mark.parametrize("with_model", [True, False])
def test_pickle_adapters_are_refused(folder, with_model):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    if not with_model:
        (folder / "config.json").unlink()
        (folder / "model.safetensors").unlink()
    refused(folder, "only pickle weights", "adapter_model.bin")


def test_a_model_with_an_adapter_beside_it_is_refused(folder):
    (folder / "adapter_model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "a model and an adapter", "merge")


def test_a_classifier_is_refused(folder, language_model):
    (folder / "model.safetensors").unlink()
    config = language_model.model.config
    config.num_labels, config.pad_token_id = 1, 0
    LlamaForSequenceClassification(config).save_pretrained(folder)
    refused(folder, "not those of a language model", "LlamaForSequenceClassification")


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_refused(folder, tokenizer):
    other = AutoTokenizer.from_pretrained(folder)
    other.add_tokens([f"<{number}>" for number in range(9)])
    other.save_pretrained(folder)
    refused(folder, "different vocabulary from the tokenizer", str(len(tokenizer) + 8), str(len(tokenizer) + 9))


def test_a_much_larger_model_vocabulary_is_refused(language_model):
    language_model.model.resize_token_embeddings(2000)
    with pytest.raises(InputError, match="different vocabulary from the tokenizer"):
        LanguageModel(language_model.model, language_model.tokenizer)


def test_a_tokenizer_without_eos_is_refused(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    refused(folder, "no EOS token")


def test_a_folder_without_tokenizer_is_refused(folder):
    for file in folder.glob("token*"):
        file.unlink()
    refused(folder, "tokenizer")


def test_code_in_a_model_folder_is_not_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('code was run')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unknown", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "cannot be loaded")


def test_embedded_names(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(module, "EMBEDDED", tmp_path / "embedded")
    for name in ("start", "pretrained"):
        shutil.copytree(folder, tmp_path / "embedded" / name)
    assert embedded_path("pretrained") == tmp_path / "embedded" / "pretrained"
    assert LanguageModel.load("embedded").name == "embedded"
    assert LanguageModel.load("embedded/pretrained").vocab_size == 280
    refused("embedded/strat", 'no embedded model "strat"', 'Did you mean "start"?')


def test_dtype_of_the_weights(folder):
    assert LanguageModel.load(folder, dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_loaded_weights_stand_at_aligned_addresses(language_model, tmp_path):
    """Or a resumed run could round otherwise than the run it goes on with."""
    language_model.save(tmp_path)
    loaded = LanguageModel.load(tmp_path)
    assert all(parameter.data_ptr() % 64 == 0 for parameter in loaded.model.parameters())
