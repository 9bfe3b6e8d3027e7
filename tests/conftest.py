"""Fixtures every room shares. No test may reach the network."""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PREFGYM_STATE"] = tempfile.mkdtemp(prefix="prefgym-state-")  # what tests write is not on record

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _no_disk() -> Iterator[None]:
    """Nobody waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda channel: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_garbage() -> None:
    """transformers' Trainer collects garbage at every start, which takes long with all that tests import."""
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real files; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("PREFGYM_REAL_DATA", ROOT / ".." / "shared" / "real")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PREFGYM_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def word_piece_encoder():
    """``word_piece_encoder(texts, folder)`` writes a tiny BERT with a WordPiece tokenizer trained on the texts."""
    return _word_piece_encoder


def _word_piece_encoder(texts, folder):
    """A tiny BERT with a WordPiece tokenizer of its own, saved as users have it: a folder without a preference head."""
    # imported here: HF_HUB_OFFLINE must be set first
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    pieces.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = BertTokenizer(vocab=pieces.get_vocab())
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CHAT_TEMPLATES = {
    "plain": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "bos": "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}",
    "strict": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<turn>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}",
}
"""Like those of Qwen, Llama 3 and Gemma."""


@pytest.fixture(scope="session")
def chat_tokenizer():
    """``chat_tokenizer("bos")`` -> a byte-level tokenizer with that chat template, which puts BOS before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    def make(kind):
        special = ["<|end|>", "<s>", "<pad>", "<|im_end|>", "<|im_start|>", "<turn>"]
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        core = Tokenizer(models.BPE({token: at for at, token in enumerate([*special, *letters])}, []))
        core.add_special_tokens(special)
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        tokens = {"eos_token": "<|im_end|>", "bos_token": "<s>", "pad_token": "<pad>"}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **tokens)
        tokenizer.chat_template = CHAT_TEMPLATES.get(kind)
        return tokenizer

    return make


@pytest.fixture(scope="session")
def chat_model(chat_tokenizer):
    """``chat_model("bos")`` -> a tiny Llama with that chat template, and two tokens that end a response."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from prefgym.models.language_model import LanguageModel

    def make(kind):
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = LlamaConfig(**shape, vocab_size=262, max_position_embeddings=320, eos_token_id=[3, 0], bos_token_id=1)
        return LanguageModel(LlamaForCausalLM(config), chat_tokenizer(kind), f"chat {kind}")

    return make


@pytest.fixture
def benchmarks(monkeypatch):
    """Lets a test import what stands in the folder of benchmarks."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
