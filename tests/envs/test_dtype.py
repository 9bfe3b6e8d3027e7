"""What is frozen is stored as ``dtype`` says; what is trained is fp32, and so is what is saved."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import prefgym  # noqa: F401
from prefgym.agents import REINFORCE
from prefgym.agents.hyperparameters import GO_WITH, PRECISIONS
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.placing import DTYPES

SETTINGS = {"episodes_per_iteration": 4, "batch_size": 4, "samples_per_prompt": 2}
SHORT = {"max_prompt_tokens": 64, "max_new_tokens": 4}


def make(dtype, **options):
    return gym.make("Summarize-v0", prompts=["the cat ran", "the dog sat"], dtype=dtype, **SHORT, **options)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_the_reference_and_the_preference_model_are_stored_so_and_the_start_is_not(dtype):
    env = make(dtype).unwrapped
    (pm, _) = env.reward.parts["preference"]
    assert env.dtype == dtype
    assert env.language_model.model.dtype == torch.float32
    assert env.reference.model.dtype == DTYPES[dtype] == next(pm.model.base_model.parameters()).dtype
    assert pm.model.score.weight.dtype == torch.float32
    plain = make("fp32").unwrapped
    scores = [e.reward(["the cat ran"] * 2, [" a cat", " it ran away"])[0] for e in (env, plain)]
    np.testing.assert_allclose(*scores, atol={"fp32": 0, "bf16": 0.5, "fp16": 0.05}[dtype])
    assert not any(p.requires_grad for p in env.reference.model.parameters())


def test_a_reference_named_is_stored_so_and_one_handed_over_is_left_alone():
    assert make("bf16", reference="embedded/pretrained").unwrapped.reference.model.dtype == torch.bfloat16
    own = LanguageModel.load("embedded/pretrained")
    assert make("bf16", reference=own).unwrapped.reference.model.dtype == torch.float32
    assert make("bf16", model=LanguageModel.load("embedded")).unwrapped.reference.model.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", GO_WITH)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_pairs_that_go_together_train_in_fp32_and_the_others_are_one_sentence(make_env, dtype, precision, tmp_path):
    env = make_env(dtype=dtype)
    assert env.reference.model.dtype == DTYPES[dtype]
    if precision not in GO_WITH[dtype]:
        with pytest.raises(InputError, match=r"set precision to fp32, or env\.dtype to fp32 or bf16\.$"):
            REINFORCE("default", env, precision=precision, **SETTINGS)
        return
    agent = REINFORCE("default", env, precision=precision, **SETTINGS)
    agent.learn(4)
    assert agent.policy.language_model.model.dtype == torch.float32
    assert abs(agent.history[0]["objective/kl"]) < (1e-5 if (dtype, precision) == ("fp32", "fp32") else 0.1)
    assert LanguageModel.load(agent.save(tmp_path / "run")).model.dtype == torch.float32


def test_wrong_formats_are_one_sentence():
    with pytest.raises(InputError, match='"float8" is not one of fp32, bf16, fp16'):
        make("float8")
    with pytest.raises(InputError, match=r'The device "auto" cannot be used'):
        make("fp32", device="auto")


def test_formats_go_by_torchs_names_too():
    for given in ("bf16", "bfloat16", torch.bfloat16, "torch.bfloat16"):
        assert make(given).unwrapped.dtype == "bf16"
