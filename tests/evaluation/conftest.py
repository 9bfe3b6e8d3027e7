"""A tiny seeded model with a tokenizer of its own, a policy that differs from it, and prompts."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.models.language_model import LanguageModel

TEXTS = ["My dog ate my shoe and I am sad. Should I buy a new one?", "My boss lost my lamp. It was old.", "TL;DR:"]
PROMPTS = [
    {"prompt": "My dog ate my shoe. It was new and I am sad.", "reference": "Dog ate my shoe."},
    {"prompt": "My boss lost my lamp.", "reference": "Boss lost the lamp, and I am sad."},
    {"prompt": "I am sad. Should I buy a new lamp?", "reference": "Should I buy a lamp?"},
    {"prompt": "It was old. My dog was sad, my boss was sad, and I was new.", "reference": "All were sad."},
    {"prompt": "Should I?", "reference": "Should I buy one?"},
]


@pytest.fixture
def prompts() -> list[dict[str, str]]:
    return [dict(row) for row in PROMPTS]


@pytest.fixture(scope="session")
def start() -> LanguageModel:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=512,
        initializer_range=0.15,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")


@pytest.fixture(scope="session")
def trained(start: LanguageModel) -> LanguageModel:
    """The start policy, moved by seeded noise."""
    lm = start.copy()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return lm


@pytest.fixture
def settings() -> DecodeSettings:
    return DecodeSettings(max_prompt_tokens=64, max_new_tokens=12, batch_size=3)


@pytest.fixture(scope="session")
def count_words():
    return words_of


def words_of(prompts, completions, **columns):
    """A reward of plain Python: the number of words."""
    return [float(len(completion.split())) for completion in completions]


@pytest.fixture(scope="session")
def evaluation(start, trained):
    """A small evaluation of the user's own prompts, judged by a reward of plain Python."""
    settings = DecodeSettings(max_prompt_tokens=64, max_new_tokens=12, batch_size=3)
    return evaluate_policies(
        {"trained": trained}, start, PROMPTS, rewards={"words_of": words_of}, validation=PROMPTS[:2], settings=settings
    )
