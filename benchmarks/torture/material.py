"""Inputs of the commands under torture: a random Llama with two narrow layers, a preference model, some data."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.data.world import post
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel

EOS = "<|endoftext|>"


def make_material(folder: Path) -> Path:
    """Write models and data into ``folder``, unless they exist: 400 tokens, width 16."""
    if (folder / "complete").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    posts = [post("train", index) for index in range(50)]
    model = _language_model(_tokenizer([item.text for item in posts]))
    model.save(folder / "model")
    PreferenceModel.from_language_model(model, seed=1).save(folder / "preference")
    pairs = [
        {"instruction": item.text[:80], "input": item.text[:80], "output": item.reference[:60]} for item in posts[:40]
    ]
    comparisons = [
        {"prompt": item.text[:80], "chosen": item.reference[:60], "rejected": posts[index - 1].reference[:60]}
        for index, item in enumerate(posts[:40])
    ]
    prompts = [{"prompt": item.text, "reference": item.reference} for item in posts[:30]]
    two = [{"prompt": row["prompt"], "first": row["chosen"], "second": row["rejected"]} for row in comparisons]
    for name, rows in {"pairs": pairs, "comparisons": comparisons, "prompts": prompts, "two": two}.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for split in ("dev", "test"):
        (folder / "mmlu" / split).mkdir(parents=True, exist_ok=True)
        questions = "\r\n".join(f'"Number {i}, what is it?",1,2,3,4,{"ABCD"[i % 4]}' for i in range(4))
        (folder / "mmlu" / split / f"law_{split}.csv").write_text(questions, encoding="utf-8", newline="")
    (folder / "complete").touch()
    return folder


def train_words(material: Path, episodes: int = 16) -> list[str]:
    """``prefgym train`` with eight episodes an iteration and a checkpoint after each."""
    return [
        "train",
        *("--env.model", str(material / "model"), "--env.reward", str(material / "preference")),
        *("--env.max_prompt_tokens", "40", "--env.max_new_tokens", "6"),
        *("--agent.total_episodes", str(episodes), "--agent.episodes_per_iteration", "8"),
        *("--agent.samples_per_prompt", "2", "--agent.batch_size", "8", "--agent.n_epochs", "1"),
        *("--agent.learning_rate", "0.01", "--agent.save_every", "1", "--evaluation.prompts", "6"),
    ]


def sft_words(material: Path) -> list[str]:
    """``prefgym sft`` on forty pairs."""
    words = ["sft", "--data.pairs", str(material / "pairs.jsonl"), "--model", str(material / "model")]
    return [*words, "--training.epochs", "2", "--training.batch_size", "8"]


def reward_words(material: Path) -> list[str]:
    """``prefgym reward`` on forty comparisons, in two folds."""
    words = ["reward", "--data.comparisons", str(material / "comparisons.jsonl"), "--model", str(material / "model")]
    return [*words, "--folds", "2", "--training.epochs", "1", "--training.batch_size", "8"]


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=EOS)


def _language_model(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")
