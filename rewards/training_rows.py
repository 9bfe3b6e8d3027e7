"""What a preference model was trained on, as hashes: so that a judge that knows the same rows as a reward is found.

A hash is of the prompt as it stands in the data, without a template and whatever its white space, so it is the same for
models of any tokenizer and template. Texts cannot be read back from it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.templates import INSTRUCT, PLAIN, SUMMARIZE, Template
from ..typed_json import read_object

if TYPE_CHECKING:
    from ..data.comparisons import Comparison

ROWS_FILE = "training_rows.json"
_HASH = "blake2b, 8 bytes"


@dataclass(frozen=True)
class TrainingRows:
    """Hashes of everything that a model learned from, or that chose its weights and its scale.

    Attributes:
        prompts: one for each prompt.
        comparisons: one for each pair of responses to a prompt, whoever judged it and however.
        complete: whether there is nothing else; False where a model had been trained before without a record.
    """

    prompts: frozenset[str] = frozenset()
    comparisons: frozenset[str] = frozenset()
    complete: bool = True

    @property
    def known(self) -> bool:
        """Whether anything is on record."""
        return self.complete or bool(self.prompts)

    def __or__(self, other: TrainingRows) -> TrainingRows:
        return TrainingRows(
            self.prompts | other.prompts, self.comparisons | other.comparisons, self.complete and other.complete
        )

    @classmethod
    def of(cls, comparisons: Iterable[Comparison], template: Template = PLAIN) -> TrainingRows:
        """Those of comparisons whose prompts stand in ``template``."""
        prompts, pairs = dict[str, str](), set[str]()
        for item in comparisons:
            asked = prompts.get(item.prompt) or prompts.setdefault(item.prompt, prompt_hash(item.prompt, template))
            pairs.add(_hashed("\0".join([asked, *sorted(map(_normal, (item.chosen, item.rejected)))])))
        return cls(frozenset(prompts.values()), frozenset(pairs))

    @classmethod
    def of_prompts(cls, prompts: Iterable[str], template: Template = PLAIN) -> TrainingRows:
        """Those of prompts that stand in ``template``."""
        return cls(frozenset(prompt_hash(prompt, template) for prompt in dict.fromkeys(prompts)))

    @classmethod
    def read(cls, folder: Path) -> TrainingRows:
        """What a model folder has on record; without a record nothing is known.

        Raises:
            InputError: the file is damaged.
        """
        file = folder / ROWS_FILE
        if not file.is_file():
            return UNKNOWN
        kinds = {"prompts": list[str], "comparisons": list[str], "complete": bool}
        told = read_object(file, kinds, step="restore it, or train the preference model again")
        return cls(frozenset(told["prompts"]), frozenset(told["comparisons"]), told["complete"])

    def write(self, folder: Path) -> None:
        """Write the record into a model folder, if there is anything to tell: 20 bytes a prompt and comparison."""
        if self.known:
            rows = {"prompts": sorted(self.prompts), "comparisons": sorted(self.comparisons)}
            told = {"hash": _HASH, "complete": self.complete, **rows}
            (folder / ROWS_FILE).write_text(json.dumps(told, indent=0) + "\n", encoding="utf-8")


UNKNOWN = TrainingRows(complete=False)
"""Of a model without a record."""


def prompt_hash(prompt: str, template: Template = PLAIN) -> str:
    """The hash of a prompt that stands in ``template``; the ends that corpora bring themselves (TL;DR:) do not count.

    >>> prompt_hash("My cat ran away.") == prompt_hash("My cat  ran away.\\n\\nTL;DR:")
    True
    """
    return _hashed(_normal(SUMMARIZE.body(INSTRUCT.body(template.body(prompt)))))


def _normal(text: str) -> str:
    """A text in composed Unicode characters, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _hashed(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
