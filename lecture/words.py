"""The words of the lecture, one YAML file per language, with the same keys."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = {"en": "words_en.yaml", "ko": "words_ko.yaml"}

Words = dict[str, dict[str, str]]
"""Figure, or ``"page"``, -> key -> text."""


def read_words(language: str) -> Words:
    """The words in one of ``LANGUAGES``."""
    text = files(__package__).joinpath(LANGUAGES[language]).read_text(encoding="utf-8")
    words: Any = yaml.safe_load(text)
    return dict(words)
