"""Adapters on three architectures: shared base, the same answers by every path, merging, and unusable folders."""

import copy
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prefgym.errors import InputError
from prefgym.models.finetune import finetune
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel, LoRA
from prefgym.models.stepper import Stepper
from prefgym.storage.manifest import FILES


@pytest.fixture
def base(model, tokenizer):
    """A language model of each architecture; its tokenizer only needs to fit."""
    model.resize_token_embeddings(len(tokenizer))
    return LanguageModel(model, tokenizer, "base")


@pytest.fixture
def adapted(base):
    """An adapter that is not where it starts."""
    return moved(AdaptedModel.start(base, LoRA(rank=3), seed=1))


def moved(adapted):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapted


@pytest.fixture
def batch(prompts):
    """Responses of four tokens to five prompts, the first and the third of which are the same."""
    tokens, mask = (part.clone() for part in prompts)
    tokens[2], mask[2] = tokens[0], mask[0]
    responses = torch.randint(1, 40, (5, 4), generator=torch.Generator().manual_seed(3))
    return torch.cat([tokens, responses], 1), torch.cat([mask, torch.ones(5, 4, dtype=torch.bool)], 1)


def logits(lm, batch, **options):
    with torch.no_grad():
        return response_logits(lm.model, *batch, 4, **options)


def test_a_new_adapter_changes_nothing_and_the_base_is_the_model_without_it(base, batch):
    expected, checksum = logits(base, batch), base.checksum()
    adapted = AdaptedModel.start(base, LoRA(rank=3))
    assert torch.equal(logits(adapted, batch), expected)
    assert not torch.allclose(logits(moved(adapted), batch), expected, atol=1e-2)
    assert torch.equal(logits(base, batch), expected)
    assert base.checksum() == checksum
    with adapted.peft_model.disable_adapter():
        assert torch.equal(logits(adapted, batch), expected)


def test_the_adapter_is_the_low_rank_product(base, batch):
    """W + (alpha / rank) B A, put by hand in the place of one layer's W."""
    adapted = moved(AdaptedModel.start(base, LoRA(rank=3, alpha=1.5)))
    plain = copy.deepcopy(base.model)
    for name, module in adapted.model.named_modules():
        if hasattr(module, "lora_A"):
            delta = 0.5 * module.lora_B["default"].weight @ module.lora_A["default"].weight
            weight = plain.get_submodule(name).weight
            with torch.no_grad():
                weight += delta if isinstance(plain.get_submodule(name), nn.Linear) else delta.T
    expected = response_logits(plain, *batch, 4)
    torch.testing.assert_close(logits(adapted, batch), expected.detach(), rtol=0, atol=1e-4)


def test_a_shared_prompt_gives_the_same_log_probs_and_gradients(adapted, batch):
    gradients = []
    for prompt_of in (None, torch.tensor([0, 1, 0, 2, 3])):
        adapted.model.zero_grad()
        log_probs = token_log_probs(adapted.model, *batch, 4, adapted.vocab_size, prompt_of=prompt_of)
        (log_probs * torch.arange(20.0).view(5, 4)).sum().backward()
        trained = [p for p in adapted.model.parameters() if p.requires_grad]
        gradients.append([log_probs.detach(), *(p.grad.clone() for p in trained)])
        assert all(p.grad is None for p in adapted.model.parameters() if not p.requires_grad)
    for plain, shared in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, plain, rtol=1e-4, atol=1e-4)


def test_cached_decoding_and_stepping_see_the_adapter(adapted, prompts):
    generation = generate(
        adapted.model,
        *prompts,
        max_new_tokens=5,
        eos_token_id=0,
        pad_token_id=0,
        vocab_size=adapted.vocab_size,
        generator=torch.Generator().manual_seed(0),
        with_hidden=True,
    )
    tokens = torch.cat([prompts[0], generation.tokens], 1)
    mask = torch.cat([prompts[1], generation.mask], 1)
    width = generation.tokens.shape[1]
    with torch.no_grad():
        log_probs = token_log_probs(adapted.model, tokens, mask, width, adapted.vocab_size)
        full, hidden = response_logits(adapted.model, tokens, mask, width, with_hidden=True)
    torch.testing.assert_close(generation.log_probs, log_probs, rtol=0, atol=1e-4)
    real = generation.mask.unsqueeze(-1)
    torch.testing.assert_close(generation.hidden * real, hidden * real, rtol=0, atol=1e-4)
    stepper = Stepper(adapted.model)
    for step in range(width):
        seen = mask.clone()
        seen[:, prompts[0].shape[1] + step :] = False
        rows = generation.mask[:, step]
        torch.testing.assert_close(stepper.next_logits(tokens, seen)[rows], full[rows, step], rtol=0, atol=1e-4)
    moved(adapted)
    assert not torch.allclose(stepper.next_logits(tokens, seen), full[:, -1], atol=1e-3)  # noticed


def test_dropout_is_off(adapted, batch):
    adapted.model.train()
    assert torch.equal(logits(adapted, batch), logits(adapted, batch))


def test_merged_and_copied_it_computes_the_same_on_weights_of_its_own(adapted, base, batch):
    expected, checksum = logits(adapted, batch), base.checksum()
    merged, other = adapted.merged(), adapted.copy()
    torch.testing.assert_close(logits(merged, batch), expected, rtol=0, atol=1e-4)
    assert not any("lora" in name for name, _ in merged.model.named_parameters())
    assert torch.equal(logits(other, batch), expected)
    assert [p.requires_grad for p in other.model.parameters()] == [p.requires_grad for p in adapted.model.parameters()]
    with torch.no_grad():
        for parameter in (*merged.model.parameters(), *other.model.parameters()):
            parameter.zero_()
    assert torch.equal(logits(adapted, batch), expected)
    assert base.checksum() == checksum


def test_frozen_and_unfrozen_the_adapter_alone_takes_gradients(adapted):
    trained = [name for name, p in adapted.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    adapted.freeze()
    assert not any(p.requires_grad for p in adapted.model.parameters())
    adapted.unfreeze()
    assert [name for name, p in adapted.model.named_parameters() if p.requires_grad] == trained


# On the tiny Llama of ``language_model``, whose folder is the base.


@pytest.fixture
def folder(language_model, tmp_path):
    """The folder of an adapter of rank 2 on the model in ``base``, and what it computes."""
    language_model.save(tmp_path / "base")
    start = LanguageModel.load(tmp_path / "base")
    adapted = moved(AdaptedModel.start(start, LoRA(rank=2)))
    adapted.save(tmp_path / "adapter")
    return tmp_path / "adapter"


def read(folder, **options):
    return AdaptedModel.read(folder, **options)


def test_saved_and_read_it_is_the_same(folder, batch):
    one, other = read(folder), read(folder)
    assert one.checksum() == other.checksum()
    merged = LanguageModel.load(folder)
    torch.testing.assert_close(logits(merged, batch), logits(one, batch), rtol=0, atol=1e-4)
    one.save(folder)
    assert read(folder).checksum() == other.checksum()


def change(folder, file="model.safetensors"):
    """Other weights of the same shapes, as if somebody had copied another model there."""
    tensors = load_file(folder / file)
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, folder / file, metadata={"format": "pt"})
    (folder / FILES).unlink()


def test_a_base_that_changed_is_refused_unless_accepted(folder):
    change(folder.parent / "base")
    with pytest.raises(InputError, match=r'The base model ".*base" changed since the adapter in ".*adapter"'):
        LanguageModel.load(folder)
    with pytest.raises(InputError, match="put that model back"):
        read(folder, base=LanguageModel.load(folder.parent / "base"))
    assert LanguageModel.load(folder, dtype=torch.bfloat16).model.dtype == torch.bfloat16  # cannot be compared
    read(folder, accept_changes=True).save(folder)
    read(folder)


def test_an_adapter_that_does_not_tell_its_base_is_read_as_before(folder):
    change(folder.parent / "base")
    save_file(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.safetensors")
    (folder / FILES).unlink()
    read(folder)


def test_a_changed_adapter_under_an_adapter_is_refused(folder):
    second = folder.parent / "second"
    moved(AdaptedModel.start(LanguageModel.load(folder), LoRA(rank=2))).save(second)
    read(second)
    change(folder, "adapter_model.safetensors")
    with pytest.raises(InputError, match=r'adapter" changed since the adapter in ".*second"'):
        LanguageModel.load(second)


def test_peft_itself_reads_it(folder, language_model, batch):
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(copy.deepcopy(language_model.model), folder).eval()
    expected = logits(read(folder), batch)
    torch.testing.assert_close(response_logits(theirs.base_model.model, *batch, 4), expected, rtol=0, atol=1e-5)


def test_a_base_that_is_there_already_is_shared_and_another_is_not_taken(folder, language_model):
    base = LanguageModel.load(folder.parent / "base")
    pointer = base.model.lm_head.weight.data_ptr()
    assert read(folder, base=base).model.lm_head.weight.data_ptr() == pointer
    assert read(folder, base=language_model).model.lm_head.weight.data_ptr() != pointer
    assert language_model.name != base.name


def test_an_embedded_base_is_found_by_its_name(tmp_path):
    base = LanguageModel.load("embedded")
    moved(AdaptedModel.start(base, LoRA(rank=1, targets="q_proj"))).save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "embedded"
    assert LanguageModel.load(tmp_path).checksum() != base.checksum()


def test_supervised_fine_tuning_trains_the_adapter_alone(language_model):
    checksum = language_model.checksum()
    adapted = AdaptedModel.start(language_model, LoRA(rank=2))
    before = adapted.checksum()
    finetune(adapted, [("my brother", " broke the window")], max_steps=2, batch_size=1)
    assert language_model.checksum() == checksum
    assert adapted.checksum() != before


def test_without_peft_the_extra_is_named(language_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r'pip install "prefgym\[peft\]"'):
        AdaptedModel.start(language_model, LoRA(rank=2))


def configure(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model_name_or_path": "./absent"}, ['base model "./absent"', "no model folder"]),
        ({"base_model_name_or_path": "embedded/strat"}, ['embedded model "strat"', 'Did you mean "start"']),
        ({"base_model_name_or_path": "nobody/nothing"}, ["Hugging Face Hub", "base_model_name_or_path"]),
        ({"base_model_name_or_path": None}, ["names no base model"]),
        ({"peft_type": "IA3"}, ["not plain LoRA", "merge"]),
        ({"bias": "all"}, ["not plain LoRA", '"bias"']),
        ({"lora_bias": True}, ["not plain LoRA", '"lora_bias"']),
        ({"modules_to_save": ["lm_head"]}, ["does not fit", "lm_head.weight"]),
        ({"trainable_token_indices": [1]}, ["does not fit", "trainable_tokens_delta"]),
        ({"layer_replication": [[0, 2]]}, ["not plain LoRA", '"layer_replication"']),
        ({"target_parameters": ["x"]}, ["not plain LoRA", '"target_parameters"']),
        ({"revision": "old"}, ["not plain LoRA", '"revision"']),
        ({"a_setting_of_tomorrow": 1}, ["not plain LoRA", '"a_setting_of_tomorrow"']),
        ({"r": "3"}, ["is damaged", '"r" is a text']),
        ({"r": 0}, ["cannot be loaded"]),
        ({"lora_alpha": float("nan")}, ["is damaged", "lora_alpha"]),
        ({"rank_pattern": [3]}, ["is damaged", "rank_pattern"]),
        ({"init_lora_weights": "pissa"}, ["not plain LoRA"]),
        ({"target_modules": ["nowhere"]}, ["cannot be loaded"]),
        ({"r": 3}, ["cannot be loaded", "size mismatch for"]),
        ({"target_modules": ["q_proj"]}, ["does not fit"]),
    ],
)
def test_unusable_settings_get_one_sentence(folder, changes, words):
    configure(folder, **changes)
    refused(folder, *words)


def test_an_adapter_that_names_itself_is_refused(folder):
    configure(folder, base_model_name_or_path=str(folder))
    refused(folder, "names itself")


def test_unusable_weights_get_one_sentence(folder):
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file(dict(list(tensors.items())[1:]), weights)
    refused(folder, "does not fit", "lora_A")
    weights.write_bytes(b"no tensors")
    refused(folder, "cannot be loaded")
    weights.unlink()
    refused(folder, "adapter_model.safetensors is missing")
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    refused(folder, "only pickle weights", "adapter_model.bin")
    (folder / "adapter_config.json").write_text("[1]")
    (folder / "adapter_model.bin").rename(weights)
    refused(folder, "adapter_config.json", "is damaged: it is a list")


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 9}},
        {"layers_to_transform": [1]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_further_settings_are_loaded_as_peft_loads_them(language_model, options, batch, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    language_model.save(tmp_path / "base")
    base = LanguageModel.load(tmp_path / "base")
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **options)
    config.base_model_name_or_path = str(tmp_path / "base")
    made = get_peft_model(base.copy().model, config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                parameter.add_(0.2 * torch.rand(parameter.shape, generator=generator))
    made.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    made.save_pretrained(tmp_path / "adapter")
    expected = PeftModel.from_pretrained(base.copy().model, tmp_path / "adapter").eval()
    with torch.no_grad():
        wanted = response_logits(expected.base_model.model, *batch, 4)
    for loaded in (LanguageModel.load(tmp_path / "adapter"), AdaptedModel.read(tmp_path / "adapter")):
        torch.testing.assert_close(logits(loaded, batch), wanted, rtol=0, atol=1e-4)


def test_an_adapter_of_nan_is_refused(folder):
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    key = next(iter(tensors))
    save_file({**tensors, key: tensors[key] * float("nan")}, weights)
    refused(folder, "hold NaN", key)


def refused(folder, *words):
    (folder / FILES).unlink(missing_ok=True)  # as the folder of another tool, which has no sums
    with pytest.raises(InputError) as caught:
        LanguageModel.load(folder)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
