"""Saving over an earlier save: what libraries then read is the later one alone, and a failed one changes nothing."""

import copy
import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel, LoRA

TURNS = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
MANY = {"default": TURNS, "tool_use": TURNS + "{{ tools }}", "rag": TURNS + "{{ documents }}"}


def with_template(language_model, template):
    tokenizer = copy.deepcopy(language_model.tokenizer)
    tokenizer.chat_template = template
    return LanguageModel(language_model.model, tokenizer, "tiny")


def template_of(folder):
    return AutoTokenizer.from_pretrained(folder).chat_template


@pytest.mark.parametrize("template", [MANY, TURNS, {"default": TURNS, "rag": TURNS}, None], ids=["3", "1", "2", "0"])
@pytest.mark.parametrize("earlier", [MANY, TURNS, None], ids=["after 3", "after 1", "after 0"])
def test_the_templates_are_those_of_the_later_save(language_model, tmp_path, earlier, template):
    with_template(language_model, earlier).save(tmp_path)
    assert template_of(tmp_path) == earlier
    for _ in range(2):
        with_template(language_model, template).save(tmp_path)
        assert template_of(tmp_path) == template
        assert LanguageModel.load(tmp_path).tokenizer.chat_template == template


def test_templates_that_somebody_else_put_there_stay_and_are_named(language_model, tmp_path):
    language_model.save(tmp_path)
    before = LanguageModel.load(tmp_path).checksum()
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "mine.jinja").write_text(TURNS)
    with pytest.raises(InputError, match=r"mine\.jinja already exists and prefgym did not write it"):
        language_model.save(tmp_path)
    assert (tmp_path / "additional_chat_templates" / "mine.jinja").exists()
    assert LanguageModel.load(tmp_path).checksum() == before


def test_a_plain_model_and_an_adapter_replace_each_other(language_model, tmp_path):
    language_model.save(tmp_path / "base")
    adapted = AdaptedModel.start(LanguageModel.load(tmp_path / "base"), LoRA(rank=2))
    for lm, kind in (
        (language_model, "config.json"),
        (adapted, "adapter_config.json"),
        (language_model, "config.json"),
    ):
        lm.save(tmp_path / "run")
        kinds = [name for name in ("config.json", "adapter_config.json") if (tmp_path / "run" / name).exists()]
        assert kinds == [kind]
        LanguageModel.load(tmp_path / "run")


@pytest.mark.parametrize("failing", range(4))
def test_where_writing_fails_nothing_was_removed(language_model, tmp_path, monkeypatch, failing):
    language_model.save(tmp_path / "base")
    adapted = AdaptedModel.start(LanguageModel.load(tmp_path / "base"), LoRA(rank=2))
    with_template(language_model, MANY).save(tmp_path / "run")
    before = {path for path in (tmp_path / "run").rglob("*") if path.is_file()}
    calls, replace = [], os.replace

    def full(source, target):
        calls.append(target)
        if len(calls) > failing and Path(target).parent == tmp_path / "run":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        adapted.save(tmp_path / "run")
    assert before <= {path for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_model_in_shards_is_not_hidden_by_the_weights_of_an_earlier_save(language_model, tmp_path, monkeypatch):
    language_model.save(tmp_path)
    with_other = language_model.copy()
    for parameter in with_other.model.parameters():
        parameter.data.add_(0.5)
    save = with_other.model.save_pretrained
    monkeypatch.setattr(with_other.model, "save_pretrained", lambda folder: save(folder, max_shard_size="20KB"))
    with_other.save(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    assert LanguageModel.load(tmp_path).checksum() == with_other.checksum()
