"""Agents with an adapter: the base is held once, the two ways to collect agree, a killed run resumes bit by bit."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import PPO, REINFORCE, LMPolicy, collect_rollout
from prefgym.errors import InputError
from prefgym.models.forward import response_logits
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel

SETTINGS: dict[str, Any] = {"episodes_per_iteration": 16, "batch_size": 8, "n_epochs": 2, "learning_rate": 1e-2}


@pytest.fixture
def model_folder(env: gym.Env, tmp_path: Path) -> str:
    """The tiny model of ``Enumerable-v0``, as a folder that an environment loads itself."""
    env.unwrapped.language_model.save(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def make_env(env: gym.Env, model_folder: str) -> Any:
    """``make_env()`` -> an environment whose model and reference are one folder."""
    words = [word for word in env.unwrapped.language_model.tokenizer.get_vocab() if not word.startswith("<")]

    def make() -> gym.Env:
        options = {"max_prompt_tokens": 2, "max_new_tokens": 3, "kl_coef": 0.1, "template": "{prompt}"}
        return gym.make("Summarize-v0", model=model_folder, reward="length", prompts=words, **options)

    return make


def storage(*modules: nn.Module) -> int:
    """Bytes that the modules' weights take together, shared ones once."""
    tensors = chain.from_iterable(module.parameters() for module in modules)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def test_base_weights_are_held_once_and_the_adapter_alone_is_trained(make_env: Any) -> None:
    env = make_env()
    agent = PPO("default", env, lora_rank=2, **SETTINGS)
    core, policy = env.unwrapped, agent.policy
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "value_head" in name for name in trained)
    base = storage(core.language_model.model)
    adapter = sum(p.numel() * p.element_size() for p in trained.values())
    assert storage(core.language_model.model, core.reference.model, policy) == base + adapter
    assert [id(p) for group in agent.optimizer.param_groups for p in group["params"]] == list(map(id, trained.values()))
    before = {name: p.detach().clone() for name, p in trained.items()}
    checksums = core.reference.checksum(), core.language_model.checksum()
    agent.learn(32)
    assert (core.reference.checksum(), core.language_model.checksum()) == checksums
    assert not any(torch.equal(p, before[name]) for name, p in trained.items())
    assert agent.history[-1]["objective/kl"] != 0


def test_before_the_first_update_the_policy_is_the_reference(make_env: Any) -> None:
    env = make_env()
    agent = REINFORCE("default", env, lora_rank=2, episodes_per_iteration=16, samples_per_prompt=4)
    rollout = collect_rollout(agent.env, agent.policy, 4, 4)
    torch.testing.assert_close(rollout.log_probs, rollout.ref_log_probs, rtol=0, atol=1e-5)


def test_stepping_and_the_fast_way_agree(make_env: Any) -> None:
    env = make_env()
    agent = PPO("default", env, lora_rank=2, samples_per_prompt=4, **SETTINGS)
    agent.learn(48)
    fast = collect_rollout(agent.env, agent.policy, 4, 4, torch.Generator().manual_seed(0))
    assert float(fast.kl.abs().max()) > 1e-3  # the policy has moved
    for row in range(len(fast)):
        observation, _ = agent.env.reset(options={"index": fast.prompt_indices[row]})
        length = int(fast.response_mask[row].sum())
        for column in range(length):
            log_prob = agent.policy.log_prob(observation, int(fast.response_tokens[row, column]))
            observation, reward, _, _, info = agent.env.step(int(fast.response_tokens[row, column]))
            assert log_prob == pytest.approx(float(fast.log_probs[row, column]), abs=1e-5)
            assert info["ref_log_prob"] == pytest.approx(float(fast.ref_log_probs[row, column]), abs=1e-5)
            assert reward == pytest.approx(float(fast.rewards[row, column]), abs=1e-5)


def test_the_gradient_is_the_exact_one_of_the_adapter(env: gym.Env) -> None:
    """A summed loss over many episodes points where the exact gradient of the adapter does."""
    world = env.unwrapped
    agent = REINFORCE(
        "default",
        env,
        lora_rank=2,
        loss_reduction="episode_sum",
        episodes_per_iteration=4096,
        samples_per_prompt=1024,
        baseline="leave_one_out",
        max_grad_norm=None,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from the start, where A has no gradient
        for parameter in agent.policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    exact = world.exact_gradient(agent.policy)
    assert all("lora_" in name for name in exact)
    rollout = collect_rollout(agent.env, agent.policy, 4, 1024, torch.Generator().manual_seed(2))
    agent.optimizer.step = lambda *args, **kwargs: None  # type: ignore[method-assign]
    agent.train(rollout)
    estimate = torch.cat([-p.grad.flatten() for p in agent.policy.parameters() if p.requires_grad])
    truth = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert float(torch.cosine_similarity(estimate, truth, dim=0)) > 0.97


def test_recomputed_layers_and_bf16_train_the_adapter_too(make_env: Any) -> None:
    plain, again, half = (
        PPO("default", make_env(), lora_rank=2, samples_per_prompt=4, **SETTINGS, **options).learn(32)
        for options in ({}, {"gradient_checkpointing": True}, {"precision": "bf16"})
    )
    for one, other in zip(plain.policy.parameters(), again.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert half.policy.language_model.checksum() != plain.policy.language_model.checksum()
    assert all(torch.isfinite(parameter).all() for parameter in half.policy.parameters())


def test_a_run_folder_holds_the_adapter_and_merges_to_the_same_logits(make_env: Any, tmp_path: Path) -> None:
    env = make_env()
    agent = PPO("default", env, lora_rank=2, **SETTINGS).learn(32)
    folder = agent.save(tmp_path / "run")
    assert {file.name for file in folder.glob("*.safetensors")} == {
        "adapter_model.safetensors",
        "value_head.safetensors",
    }
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == env.unwrapped.language_model.name
    tokens = torch.randint(1, 4, (3, 5), generator=torch.Generator().manual_seed(0))
    given = (tokens, torch.ones_like(tokens), 3)
    with torch.no_grad():
        expected = response_logits(agent.policy.language_model.model, *given)
        merged = LanguageModel.load(folder)
        torch.testing.assert_close(response_logits(merged.model, *given), expected, rtol=0, atol=1e-4)
        merged.save(tmp_path / "merged")
        again = LanguageModel.load(tmp_path / "merged")
        torch.testing.assert_close(response_logits(again.model, *given), expected, rtol=0, atol=1e-4)
    assert type(again) is type(merged) is LanguageModel
    assert all(parameter.requires_grad for parameter in merged.model.parameters())
    assert PPO("default", env, **SETTINGS).save(folder) == folder  # a full model over an adapter
    assert not (folder / "adapter_config.json").exists()


def test_loaded_again_the_agent_is_the_same_and_shares_its_base(make_env: Any, tmp_path: Path) -> None:
    agent = PPO("default", make_env(), lora_rank=2, **SETTINGS).learn(32)
    agent.save(tmp_path / "run")
    env = make_env()
    loaded = PPO.load(tmp_path / "run", env)
    core = env.unwrapped
    assert isinstance(loaded.policy.language_model, AdaptedModel)
    for one, other in zip(agent.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.requires_grad == other.requires_grad
    trained = sum(p.numel() * p.element_size() for p in loaded.policy.parameters() if p.requires_grad)
    base = storage(core.language_model.model)
    assert storage(core.language_model.model, core.reference.model, loaded.policy) == base + trained


class Killed(Exception):
    """The process died here."""


def test_a_killed_run_resumes_bit_by_bit(make_env: Any, tmp_path: Path) -> None:
    def die(agent: PPO, scalars: dict[str, float]) -> None:
        if agent.iteration == 3:
            raise Killed

    whole = PPO("default", make_env(), seed=5, lora_rank=2, **SETTINGS).learn(64)
    with pytest.raises(Killed):
        PPO("default", make_env(), seed=5, lora_rank=2, **SETTINGS).learn(
            64, output=tmp_path / "run", save_every=2, callback=die
        )
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-000002"
    names = {"adapter_model.safetensors", "value_head.safetensors", "state.safetensors"}
    assert {file.name for file in checkpoint.glob("*.safetensors")} == names
    resumed = PPO.resume(tmp_path / "run", make_env()).learn(64)
    for one, other in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_same_seed_same_adapter(env: gym.Env) -> None:
    def start(seed: int) -> str:
        return PPO("default", env, seed=seed, lora_rank=2).policy.language_model.checksum()

    torch.manual_seed(7)
    first = start(1)
    torch.manual_seed(8)
    assert start(1) == first != start(2)


def test_a_policy_trained_in_place_does_not_move_the_reference(make_env: Any) -> None:
    env = make_env()
    before = env.unwrapped.reference.checksum()
    PPO(LMPolicy(env.unwrapped.language_model), env, **SETTINGS).learn(16)
    assert env.unwrapped.language_model.checksum() != before == env.unwrapped.reference.checksum()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lora_rank": 0}, "lora_rank must be a positive whole number"),
        ({"lora_rank": 2, "lora_alpha": 0.0}, "lora_alpha must be a number above 0"),
        ({"lora_rank": 2, "value_trunk": "separate"}, "does not train a second trunk"),
        ({"lora_rank": 2, "lora_targets": "q_proj,v_prok"}, 'no linear layer "v_prok".*Did you mean "v_proj"'),
    ],
)
def test_bad_options_get_one_sentence(env: gym.Env, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        PPO("default", env, **options)


def test_a_policy_without_adapter_is_refused(env: gym.Env) -> None:
    policy = LMPolicy(env.unwrapped.language_model.copy())
    with pytest.raises(InputError, match="has no adapter"):
        PPO(policy, env, lora_rank=2)


def test_chosen_targets_alone_are_adapted(env: gym.Env) -> None:
    agent = PPO("default", env, lora_rank=2, lora_alpha=3.0, lora_targets="q_proj, v_proj")
    trained = [name for name, p in agent.policy.named_parameters() if p.requires_grad and "lora_" in name]
    assert trained
    assert all("q_proj" in name or "v_proj" in name for name in trained)
    scalings = [module.scaling for module in agent.policy.modules() if hasattr(module, "lora_A")]
    assert scalings
    assert all(scaling == {"default": 1.5} for scaling in scalings)  # alpha / rank
