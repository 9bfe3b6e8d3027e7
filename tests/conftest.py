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
