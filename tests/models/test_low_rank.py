"""Supervised training of adapters: changes of low rank, merged, resumable, and nothing else is touched."""

import copy

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from prefgym.data.comparisons import Comparison
from prefgym.errors import InputError
from prefgym.models import finetune as module
from prefgym.models.finetune import LanguageModelTrainer, finetune
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import LoRA
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.training import train_preference_model

pytest.importorskip("peft")
PAIRS = [("a b", " c d"), ("b a", " d d"), ("c", " a b c"), ("d d", " b")]


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}


@pytest.fixture
def lm(tokenizer):
    def make(kind="llama"):
        torch.manual_seed(0)
        names = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.15}
        if kind == "gpt2":
            return LanguageModel(GPT2LMHeadModel(GPT2Config(**names, n_embd=32, n_layer=2, n_head=4)), tokenizer)
        return LanguageModel(LlamaForCausalLM(LlamaConfig(**names, **SHAPE, intermediate_size=48)), tokenizer)

    return make


def rank(change):
    return int(torch.linalg.matrix_rank(change.double(), atol=1e-6))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_sft_changes_linear_layers_by_the_rank_and_nothing_else(lm, kind):
    model = lm(kind)
    names = [name for name, _ in model.model.named_modules()]
    before = copy.deepcopy(model.model.state_dict())
    facts = finetune(model, PAIRS, max_steps=12, learning_rate=1e-2, lora_rank=2)
    assert facts["history"][0]["loss"] > facts["train_loss"]
    assert [name for name, _ in model.model.named_modules()] == names
    assert all(parameter.requires_grad for parameter in model.model.parameters())
    after = model.model.state_dict()
    changed = {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}
    assert len(changed) >= 8
    assert {rank(change) for change in changed.values()} == {2}
    assert not any("emb" in name or "norm" in name or "head" in name or "wte" in name for name in changed)


def test_targets_and_scale(lm):
    model = lm()
    before = copy.deepcopy(model.model.state_dict())
    finetune(model, PAIRS, max_steps=2, lora_rank=1, lora_targets="q_proj")
    after = model.model.state_dict()
    assert all(("q_proj" in name) != torch.equal(after[name], before[name]) for name in before)
    with pytest.raises(InputError, match=r'no linear layer "q_prj".*Did you mean "q_proj"'):
        finetune(lm(), PAIRS, max_steps=1, lora_rank=1, lora_targets="q_prj")
    for wrong in ({"lora_rank": 0}, {"lora_rank": 1, "lora_alpha": 0}, {"lora_rank": 1, "lora_layers": 0}):
        with pytest.raises(InputError, match="lora_"):
            finetune(lm(), PAIRS, max_steps=1, **wrong)


def test_only_the_last_layers_are_adapted_and_those_before_keep_nothing_for_a_backward_pass(lm):
    model = lm()
    before = copy.deepcopy(model.model.state_dict())
    recorded = set()
    for number, layer in enumerate(model.model.model.layers):
        layer.register_forward_hook(lambda _layer, _given, out, n=number: recorded.add((n, out.requires_grad)))
    finetune(model, PAIRS, max_steps=1, lora_rank=1, lora_layers=1, lora_targets="q_proj,down_proj", learning_rate=1e-2)
    assert (1, True) in recorded
    assert (0, True) not in recorded
    finetune(model, PAIRS, max_steps=2, lora_rank=1, lora_layers=1, learning_rate=1e-2)
    after = model.model.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert len(changed) == 7
    assert all("layers.1." in name for name in changed)
    with pytest.raises(InputError, match="has 2 layers, so lora_layers cannot be 3"):
        finetune(lm(), PAIRS, max_steps=1, lora_rank=1, lora_layers=3)


def test_an_encoder_and_a_decoder_have_last_layers_each():
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(vocab_size=8, **shape))
    adapted = LoRA(1, layers=1).target_modules(model, "t5")
    assert {".".join(name.split(".")[:3]) for name in adapted} == {"encoder.block.2", "decoder.block.1"}
    assert LoRA(1, targets="wo", layers=1).target_modules(model, "t5") == [
        "encoder.block.2.layer.1.DenseReluDense.wo",
        "decoder.block.1.layer.2.DenseReluDense.wo",
    ]


def test_a_preference_model_gets_a_whole_new_head_and_a_trunk_of_low_rank(lm):
    pm = PreferenceModel.from_language_model(lm())
    before = copy.deepcopy(pm.model.state_dict())
    comparisons = [Comparison(f"a {word}", " a b", " d") for word in "abcd"]
    facts = train_preference_model(pm, comparisons, max_steps=20, learning_rate=1e-2, lora_rank=1)
    assert facts["train_loss"] < 0.4
    after = pm.model.state_dict()
    changed = {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}
    assert "score.weight" in changed
    assert {rank(change) for change in changed.values()} == {1}
    assert not any("norm" in name or "embed" in name for name in changed)
    assert type(pm.model.score) is torch.nn.Linear


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(lm, tmp_path, monkeypatch):
    options = {"max_steps": 8, "lora_rank": 2, "learning_rate": 1e-2, "batch_size": 2, "eval_pairs": PAIRS[:1]}
    whole = lm()
    finetune(whole, PAIRS, **options)
    stopped, kept = lm(), {"save_every": 2, "output_dir": tmp_path}
    before = copy.deepcopy(stopped.model.state_dict())

    class Stopping(LanguageModelTrainer):
        def compute_loss(self, *args, **rest):
            if self.state.global_step == 5:
                raise KeyboardInterrupt
            return super().compute_loss(*args, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "LanguageModelTrainer", Stopping)
        with pytest.raises(KeyboardInterrupt):
            finetune(stopped, PAIRS, **options, **kept)
    assert type(stopped.model) is LlamaForCausalLM
    assert all(torch.equal(tensor, before[name]) for name, tensor in stopped.model.state_dict().items())
    resumed = lm()
    finetune(resumed, PAIRS, **options, **kept, resume=True)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    with pytest.raises(InputError, match="the options of training changed"):
        finetune(lm(), PAIRS, **{**options, "lora_alpha": 1.0}, **kept, resume=True)
    saved = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    assert saved < 2 * sum(tensor.numel() * 4 for tensor in before.values())  # the frozen weights are not in them
