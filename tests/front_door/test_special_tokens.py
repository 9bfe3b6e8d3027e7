"""Models with BOS, two EOS tokens and a chat template through all commands: no token is lost or doubled."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GemmaConfig,
    GemmaForCausalLM,
    GemmaModel,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedTokenizerFast,
)

from prefgym.models import examination
from prefgym.rewards.preference_model import PreferenceModel

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?!{}#'-()\"\n"
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def gemma():
    """Pieces with ``▁`` for a space; the turn ends with another token than a text."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    core = Tokenizer(models.BPE({p: at for at, p in enumerate([*special, "▁", *LETTERS])}, [], unk_token="<unk>"))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Replace("▁", " ")
    return special, core, GEMMA, {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<pad>"}


def llama():
    """Bytes; no token for padding."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({piece: at for at, piece in enumerate([*special, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return special, core, LLAMA, {"eos_token": "<|eot_id|>", "bos_token": "<|begin_of_text|>"}


KINDS = {
    "gemma": (gemma, GemmaForCausalLM, GemmaConfig, GemmaModel, ["<eos>", "<end_of_turn>"]),
    "llama": (llama, LlamaForCausalLM, LlamaConfig, LlamaModel, ["<|eot_id|>", "<|end_of_text|>"]),
}


@pytest.fixture(params=KINDS)
def start(request, tmp_path):
    """A model folder as its makers would have saved it, and the class that reads tokens."""
    make, kind, config, trunk, ends = KINDS[request.param]
    special, core, template, names = make()
    core.add_special_tokens(special)
    bos = names["bos_token"]
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **names)
    tokenizer.chat_template = template
    eos = [core.token_to_id(token) for token in ends]
    torch.manual_seed(0)
    further = {"head_dim": 16, "num_key_value_heads": 1} if kind is GemmaForCausalLM else {}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": eos, "pad_token_id": tokenizer.pad_token_id}
    model = kind(config(**SHAPE, **further, **ids, vocab_size=len(tokenizer), initializer_range=0.3))
    model.generation_config = GenerationConfig(**ids, do_sample=True, temperature=0.6, top_p=0.9)
    model.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    return tmp_path / "start", trunk


def behaviour(folder):
    """What anybody else gets from a folder: how texts and conversations become tokens, and what ends a response."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    talk = [{"role": "user", "content": "Who ran?"}, {"role": "assistant", "content": "The cat."}]
    told = {
        "text": tokenizer("Who ran?")["input_ids"],
        "asked": tokenizer.apply_chat_template(talk[:1], add_generation_prompt=True, return_dict=True)["input_ids"],
        "said": tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"],
    }
    if (folder / "generation_config.json").is_file():
        settings = GenerationConfig.from_pretrained(folder)
        told |= {name: getattr(settings, name) for name in ("eos_token_id", "bos_token_id", "temperature", "top_p")}
        told["eos_token_id"] = set(told["eos_token_id"])
    return told


def test_no_token_is_lost_or_doubled_on_the_way(start, run, write_rows, tmp_path, monkeypatch):
    folder, trunk = start
    expected, bos = behaviour(folder), AutoTokenizer.from_pretrained(folder).bos_token_id
    assert len(expected["eos_token_id"]) == 2
    assert [expected[name].count(bos) for name in ("text", "asked", "said")] == [1, 1, 1]
    reads = watched(monkeypatch, trunk)

    def call(command, *words):
        reads.clear()
        result = run(command, *words)
        assert result.code == 0, result.err
        assert reads
        for tokens, mask in reads:
            rows = [row[kept] for row, kept in zip(tokens, mask, strict=True) if kept.any()]
            assert all(row[0] == bos for row in rows), (tokens, mask)
            assert not any((row[1:] == bos).any() for row in rows)
        return result

    talks = [[{"role": "user", "content": f"Who ran {i}?"}, {"role": "assistant", "content": "It"}] for i in range(6)]
    pairs = write_rows("talks.jsonl", [{"messages": talk} for talk in talks])
    call("sft", "--data.pairs", pairs, "--model", folder, "--output", tmp_path / "sft", "--training.epochs", 1)
    judged = [{"prompt": f"Who ran {i}?", "chosen": f"It {i}", "rejected": "Us"} for i in range(6)]
    comparisons = write_rows("judged.jsonl", judged)
    flags = ("--model", tmp_path / "sft", "--output", tmp_path / "reward", "--folds", 0, "--training.epochs", 1)
    call("reward", "--data.comparisons", comparisons, *flags)
    posts = write_rows("posts.jsonl", [{"prompt": f"Who ran {i}?", "reference": "It"} for i in range(8)])
    flags = ("--env.model", tmp_path / "sft", "--env.reward", tmp_path / "reward", "--data.prompts", posts)
    flags = (*flags, "--data.held_out", 0.5, "--env.max_new_tokens", 8, "--evaluation.prompts", 4)
    sizes = ("--agent.total_episodes", 4, "--agent.episodes_per_iteration", 4, "--agent.samples_per_prompt", 2)
    call("train", *flags, *sizes, "--agent.name", "reinforce", "--output", tmp_path / "run")
    call("evaluate", tmp_path / "run", "--output", tmp_path / "evaluation")
    (tmp_path / "bbh").mkdir()
    examples = [{"input": "Who ran? Options: (A) It (B) Us", "target": "(A)"}] * 3
    (tmp_path / "bbh" / "runs.json").write_text(json.dumps({"examples": examples}))
    call("benchmark", tmp_path / "run", "--bbh", tmp_path / "bbh", "--shots", 0, "--output", tmp_path / "benchmark")

    for made in ("sft", "reward", "run"):
        told = behaviour(tmp_path / made)
        assert told == {name: value for name, value in expected.items() if name in told}
    by_transformers(tmp_path, call)


def watched(monkeypatch, trunk):
    """The tokens and masks that a model reads from the beginning of texts, in order; not the random ones of a check."""
    reads, forward, checking = [], trunk.forward, []

    def unseen(function):
        def called(*arguments):
            checking.append(True)
            found = function(*arguments)
            checking.pop()
            return found

        return called

    def noted(self, input_ids=None, attention_mask=None, past_key_values=None, **rest):
        plain = input_ids is not None and (attention_mask is None or attention_mask.dim() == 2)
        begins = past_key_values is None or past_key_values.get_seq_length() == 0
        if plain and begins and not checking and input_ids.any():  # zeros only probe a model
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            reads.append((input_ids.numpy().copy(), mask[:, : input_ids.shape[1]].numpy().astype(bool)))
        asked = {"input_ids": input_ids, "attention_mask": attention_mask, "past_key_values": past_key_values}
        return forward(self, **asked, **rest)

    monkeypatch.setattr(trunk, "forward", noted)
    for name in ("examine", "find_twin"):
        monkeypatch.setattr(examination, name, unseen(getattr(examination, name)))
    monkeypatch.setattr("prefgym.models.check.confirm", lambda *_: None)
    return reads


def by_transformers(home, call):
    """What the folders say in transformers' hands: greedy texts, and scores."""
    tokenizer = AutoTokenizer.from_pretrained(home / "run")
    policy = AutoModelForCausalLM.from_pretrained(home / "run")
    asked = json.loads((home / "run" / "prompt_template.json").read_text())["instruction"].replace("{prompt}", "Who?")
    talk = [{"role": "user", "content": asked}]
    file = home / "asked.jsonl"
    file.write_text(json.dumps({"prompt": "Who?"}))
    ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    written = policy.generate(**ids, do_sample=False, max_new_tokens=8)[0, ids["input_ids"].shape[1] :]
    text = tokenizer.decode(written, skip_special_tokens=True)
    result = call("sample", home / "run", "--data.prompts", file, "--greedy", "--env.max_new_tokens", 8)
    assert json.loads(result.out)["response"] == text.strip() != ""
    scorer = AutoModelForSequenceClassification.from_pretrained(home / "reward")
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "It"}]
    ids = tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logit = scorer(ids).logits[0, 0].item()
    pm = PreferenceModel.load(home / "reward")
    np.testing.assert_allclose(pm.logits(["Who?"], ["It"]), [logit], atol=1e-5)
