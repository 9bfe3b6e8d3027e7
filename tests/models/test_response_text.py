"""From tokens to text: stop strings that span tokens, what stands behind them, and special tokens that stay."""

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.response_text import ResponseText


@pytest.fixture(scope="module")
def model(tokenizer):
    """The tiny tokenizer with a pair of tags of its own; no weights are needed."""
    import copy

    from transformers import LlamaConfig, LlamaForCausalLM

    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<turn>"]})
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = LlamaConfig(**shape, vocab_size=len(own), max_position_embeddings=64, eos_token_id=0)
    return LanguageModel(LlamaForCausalLM(config), own, "tiny")


def tokens_of(model, text):
    return model.tokenizer.encode(text, add_special_tokens=False)


EOS = "<|endoftext|>"


@pytest.mark.parametrize(
    ("written", "stops", "text", "reason"),
    [
        (" my brother", None, " my brother", "length"),
        (f" my brother{EOS}", None, " my brother", "eos"),
        (" my brother broke", [" bro"], " my", "stop"),  # " brother" is one token: "ther" overshoots
        (" my brother", ["y b"], " m", "stop"),  # spans two tokens
        (" my brother", ["x", "brother", "my"], " ", "stop"),  # the first in the text, not in the list
        (f" my brother{EOS}", ["zebra"], " my brother", "eos"),
        (f" my brother{EOS}", ["bro"], " my ", "eos"),
        (" my<turn> brother", ["<turn>"], " my", "stop"),  # special tokens are seen, too
        (" my<turn> brother", ["<turn>\n"], " my brother", "length"),
        (" naïve", ["ï"], " na", "stop"),  # a character of two tokens
    ],
)
def test_a_text_ends_before_the_first_stop_string(model, written, stops, text, reason):
    read = ResponseText(model, stops).read
    assert read(tokens_of(model, written)) == (text, reason)
    assert read([]) == ("", "length")


def test_a_response_stops_at_the_token_that_completes_the_string(model):
    reader = ResponseText(model, ["er b"])
    ids = tokens_of(model, " my brother broke")
    stopped = [bool(reader.stopped(torch.tensor([ids[:count]]))) for count in range(1, len(ids) + 1)]
    first = stopped.index(True)
    assert "er b" in model.decode(ids[: first + 1])
    assert "er b" not in model.decode(ids[:first])
    assert all(stopped[first:])


def test_chosen_special_tokens_stay_in_a_text(model):
    ids = tokens_of(model, f"<think> my</think><turn> brother{EOS}")
    assert ResponseText(model)(ids) == " my brother"
    assert ResponseText(model, keep_special_tokens=["<think>", "</think>"])(ids) == "<think> my</think> brother"
    assert ResponseText(model, keep_special_tokens=[EOS])(ids) == f" my brother{EOS}"
    both = ResponseText(model, ["</think>"], ["<think>"])
    assert both.read(ids[:-1]) == ("<think> my", "stop")
    assert ResponseText(model, keep_special_tokens=["my"])(tokens_of(model, "my")) == "my"


@pytest.mark.parametrize("name", ["stop_strings", "keep_special_tokens"])
@pytest.mark.parametrize("given", [[], [""], ["a", ""], "a", [1], {"a": 1}])
def test_what_is_no_list_of_texts_is_refused(model, name, given):
    with pytest.raises(InputError, match=rf"^{name} is .*give a list of texts that are not empty") as error:
        ResponseText(model, **{name: given})
    assert str(error.value).count(". ") == 0


def test_an_unknown_token_is_refused_with_the_nearest_name(model):
    with pytest.raises(InputError, match=r'"<thnk>", which is no token of "tiny". Did you mean "<think>"\?'):
        ResponseText(model, keep_special_tokens=["<thnk>"])
