"""The embedded world: generated first-person posts with hidden facts, and summaries of known quality.

Openly synthetic. Every post is a pure function of (split, index); nothing is read from or written to disk.
"""

from .comments import comments
from .corruptions import CORRUPTIONS
from .drafts import SPLITS
from .facts import SLOTS, Facts, Value, words
from .lexicon import VALUES
from .mentions import blank_values
from .posts import Post, blank, post
from .summaries import FAULTS, oracle, render
from .text import lead_sentence

__all__ = [
    "CORRUPTIONS",
    "FAULTS",
    "SLOTS",
    "SPLITS",
    "VALUES",
    "Facts",
    "Post",
    "Value",
    "blank",
    "blank_values",
    "comments",
    "lead_sentence",
    "oracle",
    "post",
    "render",
    "words",
]
