"""The world of ``Enumerable-v0``: a few words, a tiny model that writes them, and a table of scores."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..errors import InputError, nearest
from ..models.language_model import LanguageModel
from ..models.tabular import TabularLM
from ..numbers import is_whole, takes_numbers

MAX_RESPONSES = 200_000
PADDED_ROWS = 3  # of the embedding, beyond the vocabulary
MODELS = ("llama", "tabular")
EOS = "<eos>"


class TableReward:
    """A reward that looks the response up in a table; it has the signature of every Python reward.

    Args:
        table: (X, N) scores, N in the order of ``list_responses``.
        words: the vocabulary without EOS.
        budget: R.
    """

    __name__ = "score_table"

    def __init__(self, table: NDArray[np.float64], words: Sequence[str], budget: int) -> None:
        self.table = table
        every = list_responses(len(words), budget)
        self._column = {" ".join(words[i] for i in some if i < len(words)): n for n, some in enumerate(every)}

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], *, table_row: Sequence[int], **columns: Any
    ) -> list[float]:
        """Look up each completion in its prompt's row."""
        return [float(self.table[row, self._column[text]]) for row, text in zip(table_row, completions, strict=True)]


def list_responses(num_tokens: int, budget: int) -> list[tuple[int, ...]]:
    """Every response as token ids, EOS being id ``num_tokens``: those that EOS ends, by length, then the full ones.

    >>> list_responses(1, 2)
    [(1,), (0, 1), (0, 0)]
    """
    words = range(num_tokens)
    ended = [(*some, num_tokens) for length in range(budget) for some in itertools.product(words, repeat=length)]
    return ended + list(itertools.product(words, repeat=budget))


def tiny_language_model(num_tokens: int, context: int, seed: int = 0) -> LanguageModel:
    """A random two-layer Llama over ``num_tokens`` words and EOS, in fp32; its embedding has three rows more than that.

    EOS is the last token and also the padding, so code that recognises padding by its id fails here.
    """
    config = LlamaConfig(
        vocab_size=num_tokens + 1 + PADDED_ROWS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,  # far from uniform, so that a wrong token's log-probability shows
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=num_tokens,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return LanguageModel(model, _tokenizer(num_tokens), "tiny Llama")


def tabular_language_model(
    num_tokens: int, budget: int, prompts: Sequence[Sequence[int]], seed: int = 0
) -> LanguageModel:
    """A random table of logits N(0, 1) with a row for every state of the world, so every policy can be represented.

    Args:
        num_tokens: words of the vocabulary; EOS is extra.
        budget: R.
        prompts: the prompts' tokens.
        seed: of the table.
    """
    words = range(num_tokens)
    # the responses of R - 1 words: their prefixes are the states in which a token is chosen
    texts = ((*prompt, *rest) for prompt in prompts for rest in itertools.product(words, repeat=budget - 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TabularLM.of(texts, num_tokens + 1 + PADDED_ROWS)
    return LanguageModel(model, _tokenizer(num_tokens), "table")


def _tokenizer(num_tokens: int) -> PreTrainedTokenizerFast:
    vocabulary = {word: token for token, word in enumerate([*word_names(num_tokens), EOS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=EOS))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS)


def word_names(num_tokens: int) -> list[str]:
    """The words of the vocabulary: a, b, c, ... or, where letters do not suffice, w0, w1, ..."""
    return [chr(ord("a") + i) if num_tokens <= 26 else f"w{i}" for i in range(num_tokens)]


@takes_numbers
def enumerable_options(
    num_tokens: int = 3,
    max_new_tokens: int = 3,
    num_prompts: int = 2,
    score_table: ArrayLike | None = None,
    seed: int = 0,
    model: str | LanguageModel = "llama",
    **options: Any,
) -> dict[str, Any]:
    """The arguments of ``TokenMDP`` that make it enumerable.

    Args:
        num_tokens: words of the vocabulary; EOS is extra.
        max_new_tokens: budget R. There are N = Σ_{t < R} num_tokens^t + num_tokens^R responses.
        num_prompts: X prompts, of 1, 2, 3, ... tokens, so that padding is exercised.
        score_table: (X, N) scores in the order of ``list_responses``; None = drawn from N(0, 1).
        seed: of the reference's weights and of the scores.
        model: ``"llama"``, a tiny random language model; ``"tabular"``, a random table with a row for every state; or
            a model over the same words. The reference is a frozen copy of it.
        **options: further arguments of ``TokenMDP``, which take precedence.

    Raises:
        InputError: a size below 1, too many responses to list, or a table of another shape.
    """
    for name, value in {"num_tokens": num_tokens, "max_new_tokens": max_new_tokens, "num_prompts": num_prompts}.items():
        if not is_whole(value) or value < 1:
            raise InputError(f"{name} must be an integer of at least 1, not {value!r}.")
    count = sum(num_tokens**length for length in range(max_new_tokens + 1))
    if count * num_prompts > MAX_RESPONSES:
        raise InputError(
            f"{num_tokens} tokens, {max_new_tokens} steps and {num_prompts} prompts make {count * num_prompts} "
            f"responses, more than {MAX_RESPONSES} to list; lower one of them."
        )
    table = np.random.default_rng(seed).standard_normal((num_prompts, count)) if score_table is None else score_table
    table = np.asarray(table, dtype=np.float64)
    if table.shape != (num_prompts, count):
        raise InputError(f"score_table has shape {table.shape}, not {(num_prompts, count)}, prompts by responses.")
    prompts = [[(row + place) % num_tokens for place in range(row + 1)] for row in range(num_prompts)]
    longest = options.get("max_prompt_tokens", num_prompts)
    words = word_names(num_tokens)
    if model == "llama":
        model = tiny_language_model(num_tokens, longest + max_new_tokens, seed)
    elif model == "tabular":
        model = tabular_language_model(num_tokens, max_new_tokens, prompts, seed)
    elif not isinstance(model, LanguageModel):
        raise InputError(
            f"model must be {' or '.join(MODELS)} or a LanguageModel, not {model!r}.{nearest(str(model), MODELS)}"
        )
    if model.eos_token_ids != (model.eos_token_id,):
        raise InputError(
            f"{model.name} ends a response at the tokens {list(model.eos_token_ids)}, but they are listed as ended "
            f"by {model.eos_token_id} alone; set eos_token_id in its configuration."
        )
    if options.get("stop_strings"):
        raise InputError("Responses of this environment are listed as ended by EOS or length; leave out stop_strings.")
    return {
        "model": model,
        "reward": TableReward(table, words, max_new_tokens),
        "prompts": [
            {"prompt": " ".join(words[token] for token in tokens), "table_row": row}
            for row, tokens in enumerate(prompts)
        ],
        "template": "{prompt}",
        "kl_coef": 0.5,
        "max_prompt_tokens": longest,
        "max_new_tokens": max_new_tokens,
        "missing_eos_penalty": 0.0,
        **options,
    }
