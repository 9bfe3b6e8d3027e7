"""Tiny seeded models of three architectures, and a tokenizer trained on the spot."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from prefgym.models.language_model import LanguageModel, disable_dropout

VOCAB_ROWS = 48  # embedding rows
COMMON = {"vocab_size": VOCAB_ROWS, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.15}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}


def llama():
    config = LlamaConfig(**COMMON, **SHAPE, intermediate_size=48, num_key_value_heads=2, attention_dropout=0.3)
    return LlamaForCausalLM(config)


def gpt2():
    return GPT2LMHeadModel(GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=64))


def neox():
    config = GPTNeoXConfig(**COMMON, **SHAPE, intermediate_size=48, attention_dropout=0.3, hidden_dropout=0.3)
    return GPTNeoXForCausalLM(config)


def mistral():
    """Sliding windows of 5: the one shape whose attention does not see all earlier tokens."""
    return MistralForCausalLM(
        MistralConfig(**COMMON, **SHAPE, intermediate_size=48, num_key_value_heads=2, sliding_window=5)
    )


ARCHITECTURES = {"llama": llama, "gpt2": gpt2, "neox": neox, "mistral": mistral}


@pytest.fixture
def make_model():
    """``make_model("gpt2")`` -> a seeded model, dropout off, in train mode (the mode must not matter)."""

    def make(kind, seed=0, dropout=False):
        torch.manual_seed(seed)
        model = ARCHITECTURES[kind]()
        if not dropout:
            disable_dropout(model)
        return model.train()

    return make


@pytest.fixture(params=["llama", "gpt2", "neox"])
def model(request, make_model):
    return make_model(request.param)


@pytest.fixture(params=list(ARCHITECTURES))
def any_model(request, make_model):
    return make_model(request.param)


@pytest.fixture
def prompts():
    """Five left-padded prompts of 3 to 7 tokens: (tokens (5, 8), mask (5, 8)); the first column is padding for all."""
    lengths = torch.tensor([7, 3, 5, 6, 4])
    tokens = torch.randint(1, 40, (5, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(8) >= 8 - lengths.unsqueeze(-1)
    return tokens.masked_fill(~mask, 0), mask


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE tokenizer of a few more tokens than bytes, "<|endoftext|>" its EOS, no padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["my brother broke the window of our neighbour"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


@pytest.fixture
def language_model(tokenizer):
    """A tiny Llama with 8 embedding rows more than the tokenizer has tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.15,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")
