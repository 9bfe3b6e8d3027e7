"""Any of a model's EOS tokens ends a response, and a saved model keeps them with its generation settings."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from prefgym.models.distribution import Decoding
from prefgym.models.generation import generate, is_one_of
from prefgym.models.language_model import LanguageModel

EOS, TURN, OTHER = 0, 3, 5


def with_settings(language_model, config_eos=None, **settings):
    """The tiny model with these generation settings."""
    model = language_model.model
    model.config.eos_token_id = config_eos
    model.generation_config = GenerationConfig(**settings)
    return LanguageModel(model, language_model.tokenizer, "chat")


@pytest.mark.parametrize(
    ("given", "config", "expected"),
    [
        (None, None, (EOS,)),
        (TURN, EOS, (EOS, TURN)),
        ([TURN, EOS], None, (EOS, TURN)),
        ([EOS, TURN], [OTHER, TURN], (EOS, TURN, OTHER)),
        ([10_000, -1, TURN], 10_001, (EOS, TURN)),
    ],
)
def test_the_tokenizers_eos_comes_first_then_what_settings_and_configuration_name(
    language_model, given, config, expected
):
    assert with_settings(language_model, config, eos_token_id=given).eos_token_ids == expected


def test_each_of_several_tokens_ends_a_response(language_model):
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(6, 200, (64, 4), generator=generator)
    options = {"max_new_tokens": 24, "pad_token_id": EOS, "vocab_size": 40}
    written = generate(
        language_model.model,
        prompts,
        torch.ones_like(prompts),
        eos_token_id=(TURN, OTHER),
        decoding=Decoding(temperature=2.0),
        generator=generator,
        **options,
    )
    last = {row[real][-1].item() for row, real in zip(written.tokens, written.mask, strict=True)}
    assert {TURN, OTHER} < last
    for row, real in zip(written.tokens, written.mask, strict=True):
        ends = is_one_of(row[real], (TURN, OTHER))
        assert not ends[:-1].any()
        assert ends[-1] or real.sum() == 24


SAMPLED = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20}


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        (SAMPLED, SAMPLED),
        ({"temperature": 0.6, "min_p": 0.1}, {"temperature": 0.6, "min_p": 0.1}),  # greedy, as transformers reads it
        ({"do_sample": False, "temperature": 0.6}, {"do_sample": False}),
        ({"max_new_tokens": 77, "repetition_penalty": 1.3, "num_beams": 4}, {"max_new_tokens": 77}),
        ({"pad_token_id": 7, "bos_token_id": 9}, {"pad_token_id": 7, "bos_token_id": 9}),
        ({}, {}),
    ],
)
def test_a_saved_model_keeps_its_generation_settings_and_decodes_greedily_as_here(
    language_model, tmp_path, given, saved
):
    chat = with_settings(language_model, eos_token_id=[TURN, EOS], **given)
    chat.save(tmp_path)
    told = json.loads((tmp_path / "generation_config.json").read_text())
    told.pop("transformers_version")
    assert told == {"pad_token_id": EOS, **saved, "eos_token_id": [EOS, TURN]}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path / "again")  # transformers accepts what was saved
    assert LanguageModel.load(tmp_path).eos_token_ids == (EOS, TURN)
    ids = torch.tensor([language_model.encode("my brother broke")])
    theirs = loaded.generate(ids, do_sample=False, max_new_tokens=8)[0, ids.shape[1] :].tolist()
    ours = generate(
        chat.model,
        ids,
        torch.ones_like(ids),
        max_new_tokens=8,
        eos_token_id=chat.eos_token_ids,
        pad_token_id=chat.pad_token_id,
        vocab_size=len(language_model.tokenizer) + 8,
        decoding=Decoding(greedy=True),
    )
    assert theirs == ours.tokens[0].tolist()


def test_one_eos_is_saved_as_a_number(language_model, tmp_path):
    language_model.save(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == EOS
