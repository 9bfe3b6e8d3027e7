"""The texts of preference models without a chat template: prompt and response as one text, or as a text pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..data.progress import progress_bar
from ..data.tokens import BATCH, Tokens
from ..models.text_tokens import TextTokens, shared
from .encoded import Cuts, Encoded


class JoinedTexts:
    """For decoders: prompt and response as one text with BOS, where the tokenizer puts it, and EOS, each once.

    Args:
        tokenizer: has an EOS token.
        max_length: of a text in tokens. If it is longer, the end of the prompt is cut, and the end of the response only
            if the response alone does not fit.
        cuts: counts what is cut.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, cuts: Cuts) -> None:
        self._texts, self._max_length, self._cuts = TextTokens(tokenizer), max_length, cuts
        self._eos = int(tokenizer.eos_token_id)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[Encoded]:
        """The tokens of each text."""
        tokens: Tokens[str] = Tokens(self._texts.plain)
        apart = [self._texts.apart(*pair) for pair in zip(prompts, responses, strict=True)]
        rest = [r if alone else p + r for p, r, alone in zip(prompts, responses, apart, strict=True)]
        tokens.add(chain(prompts, rest), "tokenising texts to score")
        return [self._join(tokens(p), tokens(r), alone) for p, r, alone in zip(prompts, rest, apart, strict=True)]

    def _join(self, prompt: list[int], rest: list[int], apart: bool) -> Encoded:
        """``rest`` are the tokens of the response, or if these are not known to be ``apart``, of both."""
        kept = len(prompt) if apart else shared(prompt, rest)
        prompt, response = prompt[:kept], rest if apart else rest[kept:]
        begun = [*prompt, *response][: len(self._texts.before)] == self._texts.before
        before, response = [] if begun else self._texts.before, self._texts.ended(response)[:-1]
        room = self._max_length - 1 - len(before)
        self._cuts.responses += len(response) > room
        response = response[:room]
        room -= len(response)
        self._cuts.prompts += len(prompt) > room
        head = [*before, *prompt[:room]]
        return Encoded([*head, *response, self._eos], prompt_length=len(head))


class TextPairs:
    """For encoders: the pair (prompt, response) as the tokenizer builds it, with special tokens.

    Args:
        tokenizer: of the encoder.
        max_length: as for ``JoinedTexts``.
        cuts: counts what is cut.
        takes_types: whether the encoder takes token types.
        forced: whether it gets them though its tokenizer gives none: a reloaded one may forget that.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, max_length: int, cuts: Cuts, takes_types: bool, forced: bool
    ) -> None:
        self._tokenizer: Any = tokenizer
        self._max_length, self._cuts = max_length, cuts
        self._with_types = takes_types if forced or not takes_types else None

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[Encoded]:
        """The tokens of each pair; those that are cut alike form one batch."""
        tokens: Tokens[str] = Tokens(TextTokens(self._tokenizer).plain)
        tokens.add(chain(prompts, responses), "tokenising texts to score")
        rows: dict[tuple[str, bool], list[int]] = {}
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            strategy = self._strategy(len(tokens(prompt)), len(tokens(response)))
            rows.setdefault((strategy, bool(response)), []).append(row)
        found: dict[int, Encoded] = {}
        with progress_bar("joining prompts and responses", len(prompts), unit="text") as bar:
            for (strategy, answered), alike in rows.items():
                for start in range(0, len(alike), BATCH):
                    batch = alike[start : start + BATCH]
                    second = [responses[row] for row in batch] if answered else None  # none for empty ones
                    joined = self._joined([prompts[row] for row in batch], second, strategy)
                    found.update(zip(batch, joined, strict=True))
                    bar.update(len(batch))
        return [found[row] for row in range(len(prompts))]

    def _strategy(self, prompt: int, response: int) -> str:
        """How a pair of so many tokens is cut."""
        room = self._max_length - self._tokenizer.num_special_tokens_to_add(pair=True)
        cut_prompt, cut_response = prompt + response > room, response >= room
        self._cuts.prompts += cut_prompt
        self._cuts.responses += cut_response
        return "longest_first" if cut_response else "only_first" if cut_prompt else "do_not_truncate"

    def _joined(self, prompts: list[str], responses: list[str] | None, strategy: str) -> Iterator[Encoded]:
        """Text pairs that are cut in the same way."""
        encoded = self._tokenizer(
            prompts,
            responses,
            truncation=strategy,
            max_length=None if strategy == "do_not_truncate" else self._max_length,
            return_token_type_ids=self._with_types,
            verbose=False,
        )
        types = encoded.get("token_type_ids") or [None] * len(prompts)
        return (Encoded(*row) for row in zip(encoded["input_ids"], types, strict=True))
