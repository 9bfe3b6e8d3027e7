"""Model folders with wrong values: one sentence that names the folder, whatever the libraries make of them."""

import errno
import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from prefgym.errors import InputError
from prefgym.models.folder import loading, locate
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_folder import read_facts
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.storage.manifest import FILES


@pytest.fixture
def folder(language_model, tmp_path):
    language_model.save(tmp_path / "model")
    return tmp_path / "model"


def refused(folder, *words):
    (folder / FILES).unlink(missing_ok=True)  # as the folder of another tool, which has no sums
    began = time.perf_counter()
    with pytest.raises(InputError) as caught:
        LanguageModel.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    for word in words:
        assert word in message
    assert time.perf_counter() - began < 60  # what hangs or fills the memory takes hours


def change(folder, file, **values):
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **values}))


CONFIG = [
    *({"hidden_size": value} for value in ("abc", -1, 0, 10**12)),
    *({"num_attention_heads": value} for value in (0, 7)),
    *({"num_hidden_layers": value} for value in (10**9, -1, 0, 10**400)),
    *(
        {"architectures": 3},
        {"vocab_size": 10**12},
        {"model_type": "nothing_known"},
        {"rope_scaling": {"rope_type": "x"}},
    ),
    *({"sliding_window": "x"}, {"num_labels": 10**12}, {"rms_norm_eps": float("nan")}, {"quantization_config": 3}),
]
NO_SETTINGS = [
    *(("config.json", content) for content in ("[]", "", "null", "[" * 100_000, "\0")),
    *(("tokenizer.json", content) for content in ("[]", '{"a":' * 100_000)),
    *(("tokenizer_config.json", content) for content in ("[]", "[" * 100_000)),
]


@pytest.mark.parametrize("values", CONFIG, ids=str)
def test_a_wrong_value_of_the_configuration(folder, values):
    change(folder, "config.json", **values)
    refused(folder)


@pytest.mark.parametrize(("file", "content"), NO_SETTINGS, ids=lambda text: text[:12])
def test_a_file_that_holds_no_settings(folder, file, content):
    (folder / file).write_text(content)
    refused(folder)


@pytest.mark.parametrize("values", [{"eos_token": 3}, {"added_tokens_decoder": 3}], ids=str)
def test_a_wrong_value_of_the_tokenizer(folder, values):
    change(folder, "tokenizer_config.json", **values)
    refused(folder)


@pytest.mark.parametrize("keep", [7, -1])
def test_weights_that_are_cut(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(folder)


def test_weights_with_a_huge_header(folder):
    file = folder / "model.safetensors"
    file.write_bytes((2**60).to_bytes(8, "little") + file.read_bytes()[8:])
    refused(folder)


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "hold NaN in"), (float("-inf"), "hold infinite values in")])
def test_weights_that_are_no_numbers_are_named(folder, value, said):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    key = next(key for key in sorted(tensors) if "layers.1" in key)
    tensors[key].view(-1)[-1] = value
    save_file(tensors, file, metadata={"format": "pt"})
    refused(folder, said, key)


@pytest.fixture(scope="module")
def preference_model():
    return PreferenceModel.load("embedded")


FACTS = {"shift": 0.5, "temperature": 2.0, "max_length": None, "facts": {}}


@pytest.mark.parametrize(
    "values",
    [
        *({"temperature": value} for value in (0, -1, float("nan"), float("inf"), "1", None, True, [1], 10**400)),
        *({"shift": value} for value in (float("nan"), "x", None, False, {})),
        *({"max_length": value} for value in ("5", 1.5, True, 2, -1, 10**9, 10**30)),
        *({"facts": value} for value in ([], "x", 3)),
    ],
    ids=str,
)
def test_a_wrong_fact_of_a_preference_model(preference_model, values, tmp_path):
    file = tmp_path / "preference.json"
    file.write_text(json.dumps({**FACTS, **values}))
    with pytest.raises(InputError) as caught:
        PreferenceModel(preference_model.model, preference_model.tokenizer, name=str(file), **read_facts(file))
    assert str(file) in str(caught.value)


class PanicException(BaseException):
    """As tokenizers written in Rust raise it."""


@pytest.mark.parametrize(
    "error", [AssertionError(), ZeroDivisionError("x"), RecursionError(), KeyError("a"), PanicException()]
)
def test_whatever_a_library_raises_is_a_sentence(error):
    with pytest.raises(InputError, match=rf"The thing cannot be loaded: {type(error).__name__}"), loading("The thing"):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), PermissionError(errno.EACCES, "x"), MemoryError(), SystemExit()]
)
def test_what_the_machine_refuses_passes(error):
    with pytest.raises(type(error)), loading("The thing"):
        raise error


@pytest.mark.parametrize("name", ["~nouser/x", "a\0b", "x" * 300, "./" + "x" * 300, "a/b/c"])
def test_a_name_that_no_folder_can_have(name):
    with pytest.raises(InputError):
        locate(name)


def test_a_sound_folder_loads(folder, language_model):
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(LanguageModel.load(folder).model(ids).logits, language_model.model(ids).logits)
