"""How the embedded tokenizer and models are made, described and checked."""

from .build import METRICS, MODELS, STAGES, Build, finetune_start

__all__ = ["METRICS", "MODELS", "STAGES", "Build", "finetune_start"]
