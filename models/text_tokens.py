"""How texts become tokens: the one place for policies, references, preference models and benchmarks.

    prompt       what the tokenizer itself puts before a text (BOS), then the text; a decoder goes on behind it, so
                 nothing comes after it, even where the tokenizer would append EOS
    response     the rest of the tokens of prompt and response as one text, where these begin with the prompt's own;
                 else those of the response in the midst of a text, without the extra piece that a SentencePiece
                 tokenizer puts before every text
    encoder      reads what its tokenizer makes of a whole text: T5's ``</s>`` behind, BART's ``<s> ... </s>`` around
    its decoder  writes what the tokenizer makes of a target, alone

A special token that a text already begins (or ends) with is not put there twice. Text from a chat template brings its
own special tokens (``framed``), so none are added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any

from transformers import PreTrainedTokenizerBase

TEXTS_AT_ONCE = 512
"""Texts per tokenizer call."""

PROBES = ("a", "1", ".")
"""Texts of which a tokenizer knows at least one."""

ANCHORS = ("\n", ".", "a")
"""Texts after which a response is encoded as in the midst of a text; the first that stays a token of its own serves."""

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REGEXES = tuple(_LETTERS + digits + _OTHERS for digits in (r"\p{N}{1,3}", r"\p{N}"))
"""How Llama 3 and Qwen split texts: like GPT-2, always before a single space that follows and precedes no space."""


class TextTokens:
    """The tokens of texts under one tokenizer.

    Args:
        tokenizer: of the model.
        encoder_decoder: whether prompts are read by an encoder, and responses written by a decoder of its own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder_decoder: bool = False) -> None:
        self.tokenizer = tokenizer
        self.encoder_decoder = encoder_decoder

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without adding special ones."""
        return self._encode(texts, target=False)

    def prompts(self, texts: Sequence[str], framed: bool = False) -> list[list[int]]:
        """Return the tokens of prompts, with the special ones around them unless they are ``framed`` already."""
        rows = self.plain(texts)
        return rows if framed else [self._frame(row) for row in rows]

    def prompt(self, text: str, framed: bool = False) -> list[int]:
        """Return the tokens of one prompt."""
        return self.prompts([text], framed)[0]

    def responses(
        self,
        prompts: Sequence[str],
        responses: Sequence[str],
        prompt_ids: Sequence[Sequence[int]] | None = None,
        framed: bool = False,
    ) -> list[list[int]]:
        """Return the tokens of responses, each after its prompt, without an EOS at the end.

        Args:
            prompts: N texts.
            responses: N texts.
            prompt_ids: the prompts' tokens, if they are known.
            framed: whether the prompts bring their own special tokens.
        """
        if self.encoder_decoder:
            before, _ = self._around_target
            return [[*before, *row] for row in self._encode(responses, target=True)]
        apart = [self.apart(*pair) for pair in zip(prompts, responses, strict=True)]
        together = [row for row, alone in enumerate(apart) if not alone]
        wanted = [r if alone else p + r for p, r, alone in zip(prompts, responses, apart, strict=True)]
        found = self.plain(wanted)
        if together:
            given = [prompts[row] for row in together]
            heads = self.prompts(given, framed) if prompt_ids is None else [list(prompt_ids[row]) for row in together]
            for row, head in zip(together, heads, strict=True):
                whole = found[row] if framed else self._frame(found[row])
                follows = whole[: len(head)] == head
                found[row] = whole[len(head) :] if follows else self._in_the_midst(responses[row])
        return found

    def response(self, prompt: str, response: str, framed: bool = False) -> list[int]:
        """Return the tokens of one response."""
        return self.responses([prompt], [response], framed=framed)[0]

    def continuation(self, before: str, text: str) -> list[int]:
        """Return the tokens of a text that goes on where another ends."""
        if self.apart(before, text):
            return self.plain([text])[0]
        head, whole = self.plain([before, before + text])
        return whole[len(head) :] if whole[: len(head)] == head else self._in_the_midst(text)

    def split(self, context: str, text: str) -> tuple[list[int], list[int]]:
        """Return the tokens of both as one text, special ones before it included, split where the context's own end.

        A token that spans both counts to the text.
        """
        given, whole = self.prompts([context, context + text])
        place = max(min(shared(given, whole), len(whole) - 1), len(self.before))
        return whole[:place], whole[place:]

    def apart(self, prompt: str, response: str) -> bool:
        """Whether the tokens of both as one text are known to be the prompt's, then the response's.

        So they are with tokenizers that split texts before a single space, where one begins the response.
        """
        cut = len(response) > 1 and response[0] == " " and not response[1].isspace()
        return cut and prompt[-1:].strip() != "" and self._splits_at_spaces

    def text(self, response: Sequence[int], keep: frozenset[int] = frozenset()) -> str:
        """Return the text of a response's tokens as it stands after a prompt; special tokens but those are left out.

        A SentencePiece tokenizer drops the space before a text that it decodes, but the first word of a response has
        one. What a decoder of its own writes (encoder-decoders) stands alone.
        """
        if self._leads and not self.encoder_decoder:
            for anchor in ANCHORS:
                head = self.plain([anchor])[0]
                start, whole = self._decode(head), self._decode([*head, *response], keep)
                if start and whole.startswith(start):
                    return whole[len(start) :]
        return self._decode(response, keep)

    def _decode(self, tokens: Sequence[int], keep: frozenset[int] = frozenset()) -> str:
        if keep:
            tokens = [token for token in tokens if token in keep or token not in self._special]
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=not keep, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    @property
    def before(self) -> list[int]:
        """The special tokens before a prompt."""
        return self._around[0]

    @property
    def after(self) -> list[int]:
        """The special tokens after a prompt: none for a decoder."""
        return self._around[1] if self.encoder_decoder else []

    def ended(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens with the tokenizer's EOS at the end, once."""
        eos = [int(self.tokenizer.eos_token_id)]
        return list(tokens) if list(tokens[-1:]) == eos else [*tokens, *eos]

    def _frame(self, tokens: list[int]) -> list[int]:
        before, after = self.before, self.after
        front = [] if tokens[: len(before)] == before else before
        back = [] if tokens[len(tokens) - len(after) :] == after else after
        return [*front, *tokens, *back] if front or back else tokens

    def _encode(self, texts: Sequence[str], target: bool) -> list[list[int]]:
        rows: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            given: Any = {"text_target" if target else "text": list(texts[start : start + TEXTS_AT_ONCE])}
            rows += self.tokenizer(**given, add_special_tokens=False, return_attention_mask=False, verbose=False)[
                "input_ids"
            ]
        return rows

    def _in_the_midst(self, text: str) -> list[int]:
        """The tokens of a text without the piece that the tokenizer puts before every text, if it does."""
        if not self._leads:
            return self.plain([text])[0]
        for anchor in ANCHORS:
            head, whole = self.plain([anchor, anchor + text])
            if whole[: len(head)] == head:
                return whole[len(head) :]
        return self.plain([text])[0]

    @cached_property
    def _special(self) -> frozenset[int]:
        """The tokens that a text leaves out."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset([*self.tokenizer.all_special_ids, *(token for token, told in added if told.special)])

    @cached_property
    def _leads(self) -> bool:
        """Whether a text has other tokens at the beginning than in the midst of another."""
        for anchor in ANCHORS:
            alone, head, whole = self.plain(["a", anchor, f"{anchor}a"])
            if whole[: len(head)] == head:
                return whole[len(head) :] != alone
        return False

    @cached_property
    def _around(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a text."""
        return self._find_around(target=False)

    @cached_property
    def _around_target(self) -> tuple[list[int], list[int]]:
        """The same of a text that an encoder-decoder is to write."""
        return self._find_around(target=True)

    def _find_around(self, target: bool) -> tuple[list[int], list[int]]:
        name: Any = "text_target" if target else "text"
        for text in PROBES:
            plain, whole = self._encode([text], target)[0], self.tokenizer(**{name: text}, verbose=False)["input_ids"]
            places = [i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain]
            if plain and places:
                return whole[: places[0]], whole[places[0] + len(plain) :]
        whole = self.tokenizer(**{name: ""}, verbose=False)["input_ids"]
        kept = list(takewhile(lambda token: token != self.tokenizer.eos_token_id, whole))
        return kept, whole[len(kept) :]

    @cached_property
    def _splits_at_spaces(self) -> bool:
        """Whether the tokenizer always splits a text before a space between two characters that are none.

        Only what is known to do so counts; any other tokenizer is asked about the whole text.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None or backend.pre_tokenizer is None:
            return False
        if backend.normalizer is not None and _state(backend.normalizer)["type"] != "NFC":
            return False
        if getattr(backend.model, "dropout", None):
            return False
        if any(one.rstrip or re.search(r"\S\s", one.content) for one in self.tokenizer.added_tokens_decoder.values()):
            return False  # it would take the space
        given = _state(backend.pre_tokenizer)
        kinds = [_kind(one) for one in (given["pretokenizers"] if given["type"] == "Sequence" else [given])]
        return "splits" in kinds and "unknown" not in kinds


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common from the beginning."""
    return len(list(takewhile(lambda both: both[0] == both[1], zip(first, second, strict=False))))


def _state(part: Any) -> dict[str, Any]:
    return json.loads(part.__getstate__())


def _kind(pre_tokenizer: dict[str, Any]) -> str:
    """Whether a pre-tokenizer splits before a lone space, at places of its own that do not matter, or unknown ones."""
    kind = pre_tokenizer["type"]
    if kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        return "splits"
    if kind == "ByteLevel":
        return "splits" if pre_tokenizer.get("use_regex", True) else "harmless"
    if kind == "Split":
        known = pre_tokenizer["pattern"].get("Regex") in _REGEXES and not pre_tokenizer["invert"]
        return "splits" if known and pre_tokenizer["behavior"] == "Isolated" else "unknown"
    return "harmless" if kind in ("Digits", "Punctuation") else "unknown"
