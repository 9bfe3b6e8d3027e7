"""The size of the embedded models and of their training data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Shape of the models and amounts of data; posts of different stages never overlap with those of RL."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 480
    vocab_size: int = 2048
    context: int = 512
    batch_size: int = 16
    bf16: bool = True
    tokenizer_posts: int = 20_000
    pretrain_posts: int = 40_000
    finetune_posts: int = 120_000
    references: int = 4  # of each of those posts
    finetune_batch: int = 64  # summaries; those of a post share it
    comparison_posts: int = 20_000
    lesson_posts: int = 20_000
    preference_batch: int = 160  # comparisons; those of a post, 20 at most, share its texts
    preference_epochs: float = 2.0
    held_out: int = 500


FULL = Size()

QUICK = Size(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    bf16=False,
    tokenizer_posts=500,
    pretrain_posts=400,
    finetune_posts=200,
    references=2,
    finetune_batch=16,
    comparison_posts=60,
    lesson_posts=60,
    held_out=20,
)
