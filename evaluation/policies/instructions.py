"""How well a model follows the embedded instructions: by what it writes, and by which option it finds likeliest.

The latter does not depend on form, so that learning to answer briefly and to stop does not count as understanding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.prompts import PromptSet, instruction_prompts
from ...data.templates import INSTRUCT
from ...models.distribution import Decoding
from ...models.finetune import Collator
from ...models.forward import token_log_probs
from ...models.language_model import LanguageModel
from ...rewards.functions import exact_match, rouge_l
from .decode import READ_AT_ONCE, decode, prepare
from .responses import DecodeSettings

SETTINGS = DecodeSettings(template=INSTRUCT, max_prompt_tokens=224)


@dataclass(frozen=True)
class Following:
    """Results on n instructions of one family.

    exact: (n,) 1 where the greedy answer is an accepted one, else 0.
    rouge_l: (n,) overlap of the greedy answer with the best accepted one.
    chosen: (n,) 1 where the right option is the likeliest, else 0; ``None`` if the family has no options.
    chance: average score of guessing among the options, a fraction; ``None`` likewise.
    """

    exact: NDArray[np.float64]
    rouge_l: NDArray[np.float64]
    chosen: NDArray[np.float64] | None
    chance: float | None


def follow(
    lm: LanguageModel, families: Sequence[str], split: str = "test", count: int = 100, start: int = 0
) -> dict[str, Following]:
    """Ask a model ``count`` instructions of each family, about the same posts.

    Args:
        lm: the model.
        families: names of ``data.world.instructions.FAMILIES``.
        split: of the posts.
        count: how many posts.
        start: how many posts of the split to skip first.

    Raises:
        InputError: an unknown family or split, or a count below 1.
    """
    return {family: _follow(lm, instruction_prompts(split, count, start, families=[family])) for family in families}


def _follow(lm: LanguageModel, rows: PromptSet) -> Following:
    texts = decode(lm, rows, SETTINGS, Decoding(greedy=True)).texts
    accepted = {name: [row[name] for row in rows] for name in ("reference", "references")}
    exact, overlap = (np.asarray(measure([], texts, **accepted)) for measure in (exact_match, rouge_l))
    options = [row["options"] for row in rows]
    if not all(options):
        return Following(exact, overlap, None, None)
    chosen = likeliest(lm, rows, options)
    right = [names[choice] == row["reference"] for names, choice, row in zip(options, chosen, rows, strict=True)]
    chance = float(np.mean([1 / len(names) for names in options]))
    return Following(exact, overlap, np.asarray(right, dtype=np.float64), chance)


@torch.no_grad()
def likeliest(lm: LanguageModel, rows: PromptSet, options: Sequence[Sequence[str]]) -> list[int]:
    """Which option in each row has the largest log-probability after the prompt, not counting EOS.

    Args:
        lm: the model.
        rows: n prompts, read with ``SETTINGS``.
        options: n lists of texts.
    """
    prompts, _ = prepare(lm, rows, SETTINGS)
    examples = [
        {"prompt": prompt.ids, "response": lm.texts.response(prompt.text, f" {option}"), "group": row}
        for row, (prompt, names) in enumerate(zip(prompts, options, strict=True))
        for option in names
    ]
    scores = [score for batch in _batches(examples) for score in _log_probs(lm, batch)]
    chosen, first = [], 0
    for names in options:
        chosen.append(int(np.argmax(scores[first : first + len(names)])))
        first += len(names)
    return chosen


def _batches(examples: Sequence[dict[str, object]]) -> Iterator[Sequence[dict[str, object]]]:
    for start in range(0, len(examples), READ_AT_ONCE):
        yield examples[start : start + READ_AT_ONCE]


def _log_probs(lm: LanguageModel, examples: Sequence[dict[str, object]]) -> list[float]:
    """The log-probability of each example's response."""
    batch = Collator(lm.pad_token_id)(examples)
    tokens, mask, prompt_of = (batch[name].to(lm.device) for name in ("input_ids", "attention_mask", "prompt_of"))
    read = token_log_probs(lm.model, tokens, mask, batch["num_response"], lm.vocab_size, prompt_of=prompt_of)
    return read.sum(dim=1).tolist()
