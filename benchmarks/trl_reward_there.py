"""The part of ``trl_reward.py`` that runs beside TRL: train, save, and score by the model's own forward pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast
from trl import RewardConfig, RewardTrainer

SHAPES: dict[str, dict[str, int]] = {
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
}
CHAT = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"


def tokenizer(pad: bool) -> Any:
    """Byte-level, EOS ``<|end|>``, with or without a padding token."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["the cat ran away from our house"] * 3, trainer)
    found = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>" if pad else None)
    found.chat_template = CHAT
    return found


def pairs(prompts: list[str], answers: list[str], chat: bool) -> Any:
    """Four comparisons, bare or as conversations."""
    rows = []
    for i, prompt in enumerate(prompts):
        texts = {"chosen": answers[i] or " so it was", "rejected": answers[i - 1] or " no"}
        if chat:
            turns = {side: [{"role": "assistant", "content": text}] for side, text in texts.items()}
            rows.append({"prompt": [{"role": "user", "content": prompt}], **turns})
        else:
            rows.append({"prompt": prompt, **texts})
    return Dataset.from_list(rows)


def run(case: str, prompts: list[str], answers: list[str], folder: Path) -> None:
    """Train one case for a step, save it, and write what it scores."""
    kind, pad, form = case.split("-")
    answers = [text.strip() for text in answers] if form == "chat" else answers
    words = tokenizer(pad == "pad")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=len(words), num_labels=1, bos_token_id=0, eos_token_id=0, initializer_range=0.3, **SHAPES[kind]
    )
    arguments = RewardConfig(
        output_dir=str(folder / "run"),
        max_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    trainer = RewardTrainer(
        model=AutoModelForSequenceClassification.from_config(config),
        args=arguments,
        processing_class=words,
        train_dataset=pairs(prompts, answers, form == "chat"),
    )
    trainer.train()
    trainer.save_model(str(folder / "model"))
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    words = AutoTokenizer.from_pretrained(folder / "model")
    if form == "chat":
        texts = [
            words.apply_chat_template(
                [{"role": "user", "content": p}, {"role": "assistant", "content": a}], tokenize=False
            )
            for p, a in zip(prompts, answers, strict=True)
        ]
    else:
        texts = [p + a + words.eos_token for p, a in zip(prompts, answers, strict=True)]
    batch = words(texts, padding=True, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    told = {"prompts": prompts, "responses": answers, "scores": scores.tolist()}
    (folder / "scores.json").write_text(json.dumps(told))


def main() -> None:
    """Run the cases given as JSON."""
    given = json.loads(sys.argv[1])
    for case in given["cases"]:
        folder = Path(given["folder"]) / case
        folder.mkdir(parents=True)
        run(case, given["prompts"], given["answers"], folder)


if __name__ == "__main__":
    main()
