"""Models and prompts for timing training steps: random weights of a given shape, responses of known length.

The weights are random, except for the EOS logit: it is set so that a response ends about every ``eos_every`` tokens, or
never. All contestants read the same folders.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GPTNeoXForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

EOS, PAD = "<eos>", "<pad>"


@dataclass(frozen=True)
class Shape:
    """Size of a model: its kind, d, layers, heads, width of the feed-forward part, vocabulary, and heads of keys."""

    kind: str
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    key_heads: int | None = None


SHAPES = {
    "llama-3m": Shape("llama", 256, 4, 4, 512, 2048),
    "neox-160m": Shape("neox", 768, 12, 12, 3072, 50304),
    "smollm2-135m": Shape("llama", 576, 30, 9, 1536, 49152, 3),
    "tiny": Shape("llama", 32, 2, 2, 64, 256),
}


def make_workload(
    folder: Path,
    shape: Shape,
    eos_every: int | None,
    prompt_tokens: int,
    prompts: int = 512,
    context: int = 2048,
    weights: Path | None = None,
) -> None:
    """Write ``model/``, ``reward/`` and ``prompts.jsonl`` under ``folder``, unless they exist.

    With ``weights``, a folder with a model of this shape, the model has these; only its EOS is set as told.
    """
    if (folder / "prompts.jsonl").is_file():
        return
    torch.manual_seed(0)
    disable_progress_bar()
    tokenizer = make_tokenizer(shape.vocab)
    model = language_model(shape, context)
    if weights is not None:
        given = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
        model.load_state_dict(given.state_dict())
    set_eos_rate(model, shape, 0.0 if eos_every is None else 1 / eos_every)
    reward = classifier(model, shape)
    for name, part in (("model", model), ("reward", reward)):
        part.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    draw = random.Random(0)
    rows = [" ".join(f"w{draw.randrange(shape.vocab - 2)}" for _ in range(prompt_tokens)) for _ in range(prompts)]
    text = "".join(json.dumps({"prompt": row}) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(text, encoding="utf-8")


def make_tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    """One token per word: w0, w1, ..."""
    words = {word: i for i, word in enumerate([EOS, PAD, *(f"w{i}" for i in range(vocab - 2))])}
    core = Tokenizer(models.WordLevel(words, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=False)  # joins words by spaces
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=PAD, padding_side="left")


def language_model(shape: Shape, context: int = 2048) -> PreTrainedModel:
    """A causal language model of this shape with random weights."""
    common = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        **({} if shape.key_heads is None else {"num_key_value_heads": shape.key_heads}),
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": context,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    if shape.kind == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**common, tie_word_embeddings=False))
    return LlamaForCausalLM(LlamaConfig(**common, tie_word_embeddings=True))


def classifier(model: PreTrainedModel, shape: Shape) -> PreTrainedModel:
    """A score of texts on a copy of the model's trunk."""
    kind = GPTNeoXForSequenceClassification if shape.kind == "neox" else LlamaForSequenceClassification
    given = {k: v for k, v in model.config.to_dict().items() if k not in ("id2label", "label2id")}
    config = type(model.config).from_dict({**given, "num_labels": 1})
    result = kind(config)
    result.base_model.load_state_dict(model.base_model.state_dict())
    return result


@torch.no_grad()
def set_eos_rate(model: PreTrainedModel, shape: Shape, rate: float) -> None:
    """Give EOS about this probability after every text, by one coordinate of the hidden state that no layer writes to.

    The same everywhere, not on average: otherwise responses end immediately or never, and are long together.
    """
    head = model.get_output_embeddings().weight
    if shape.kind == "neox":
        norm = model.base_model.final_layer_norm
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        head[:, 0] = 0.0
    else:
        head[:, 0] = 0.2  # tied: every token's embedding
        for layer in model.base_model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
    head[0, 1:] = 0.0
    start = float(head[0, 0])
    low, high = start - 100.0, start + 100.0
    tokens = torch.randint(2, shape.vocab, (8, 32), generator=torch.Generator().manual_seed(1))
    for _ in range(50):
        head[0, 0] = (low + high) / 2 if rate > 0 else low
        found = float(model(tokens).logits.softmax(-1)[..., 0].mean())
        low, high = (float(head[0, 0]), high) if found < rate else (low, float(head[0, 0]))
