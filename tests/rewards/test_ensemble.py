"""An ensemble of preference models: the three rules by hand, and how a user names one."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.ensemble import COMBINATIONS, PreferenceEnsemble
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.reward import resolve_reward

PROMPTS, RESPONSES = ["the cat", "the dog ran", "sad"], ["sat on", "", "ran"]


@pytest.fixture(scope="module")
def members():
    """Three random models, each with a shift and a temperature of its own."""
    words = ["<eos>", "the", "cat", "dog", "sat", "ran", "on", "sad"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<eos>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = LlamaConfig(vocab_size=8, max_position_embeddings=16, initializer_range=0.3, **size)
    torch.manual_seed(0)
    lm = LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")
    made = [PreferenceModel.from_language_model(lm, seed=seed) for seed in range(3)]
    for number, member in enumerate(made):
        member.shift, member.temperature = 0.5 * number, 1.0 + number
    return made


@pytest.fixture(scope="module")
def folders(members, tmp_path_factory):
    home = tmp_path_factory.mktemp("members")
    for number, member in enumerate(members):
        member.save(home / str(number))
    return [str(home / str(number)) for number in range(3)]


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("mean", [3.0, 0.0]), ("worst", [1.0, -2.0]), ("mean_minus_std", [3.0 - np.sqrt(8 / 3), -np.sqrt(8 / 3)])],
)
def test_rules_by_hand(combine, expected):
    # each row has deviations -2, 0, 2 from its mean: variance (4 + 0 + 4) / 3
    scores = np.array([[1.0, 2.0], [3.0, 0.0], [5.0, -2.0]])  # three members, two responses
    np.testing.assert_allclose(COMBINATIONS[combine](scores), expected)


@pytest.mark.parametrize("combine", list(COMBINATIONS))
def test_members_are_combined_on_their_shifted_and_calibrated_scale(members, combine):
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        own = [(m.logits([prompt], [response])[0] - m.shift) / m.temperature for m in members]
        middle = sum(own) / 3
        deviation = (sum((score - middle) ** 2 for score in own) / 3) ** 0.5
        expected.append({"mean": middle, "worst": min(own), "mean_minus_std": middle - deviation}[combine])
    np.testing.assert_allclose(PreferenceEnsemble(members, combine)(PROMPTS, RESPONSES), expected, atol=1e-5)


def test_every_way_to_name_one_gives_the_same_reward(members, folders):
    expected = PreferenceEnsemble(members, "worst").score(PROMPTS, RESPONSES)
    spec = {"models": folders, "combine": "worst"}
    rewards = {
        "ensemble": resolve_reward(spec),
        "judges": resolve_reward({"judges": {**spec, "models": members}}),
        "half": resolve_reward({"half": {"function": spec, "weight": 0.5}}),
    }
    for name, weight in {"ensemble": 1.0, "judges": 1.0, "half": 0.5}.items():
        total, parts = rewards[name](PROMPTS, RESPONSES)
        np.testing.assert_allclose(parts[name], expected, atol=1e-6)
        np.testing.assert_allclose(total, weight * expected, atol=1e-6)
    assert list(resolve_reward(["length", spec]).parts) == ["length", "ensemble"]


def test_a_config_file_and_the_command_line_name_one(folders, tmp_path):
    from prefgym.config import parse_flags, read_yaml, resolve
    from prefgym.options import ENV_OPTIONS

    spec = {"models": folders, "combine": "worst"}
    flags = parse_flags(["--env.reward", json.dumps(spec)], ENV_OPTIONS)
    file = tmp_path / "run.yaml"
    resolve(ENV_OPTIONS, [("flags", flags)]).save(file)
    reward = resolve_reward(read_yaml(file, ENV_OPTIONS)["env.reward"])
    (ensemble, _) = reward.parts["ensemble"]
    assert isinstance(ensemble, PreferenceEnsemble)
    assert (ensemble.combine, len(ensemble.models)) == ("worst", 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"combine": "wurst"}, 'mean, worst, mean_minus_std, not by "wurst". Did you mean "worst"'),
        ({"combine": ["worst"]}, "combines by mean"),
        ({"models": ["a"]}, "two or more preference models, not \\['a'\\]"),
        ({"models": "a", "combine": "mean"}, "two or more preference models, not 'a'"),
        ({"combines": "worst"}, 'no key "combines". Did you mean "combine"'),
        ({"models": ["./absent", "./missing"]}, "no model folder"),
        ({"models": [None, 3]}, "not None"),
    ],
)
def test_bad_input_gets_one_sentence(folders, change, sentence):
    with pytest.raises(InputError, match=sentence):
        resolve_reward({"models": folders, **change})
