"""A whole PPO update: however it is computed, the gradient is that of reading every episode by itself in fp32."""

from typing import Any

import gymnasium as gym
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from prefgym.agents import PPO, collect_rollout
from prefgym.agents.minibatch import minibatches
from prefgym.agents.rollout import Rollout
from prefgym.models import forward
from prefgym.models.language_model import LanguageModel

WORDS = [f"w{i}" for i in range(39)]
PROMPTS = [" ".join(WORDS[:length]) for length in (3, 9, 5, 14)]
COMMON: dict[str, Any] = {"vocab_size": 40, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.15}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}


def build(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    if kind == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**COMMON, **SHAPE, intermediate_size=48))
    return LlamaForCausalLM(LlamaConfig(**COMMON, **SHAPE, intermediate_size=48, num_key_value_heads=2))


@pytest.fixture(params=["llama", "gpt2", "neox"])
def env(request: pytest.FixtureRequest) -> gym.Env:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<eos>", *WORDS])}, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    return gym.make(
        "Summarize-v0",
        model=LanguageModel(build(request.param), tokenizer, request.param),
        prompts=PROMPTS,
        template="{prompt}",
        reward=lambda prompts, completions, **columns: [float(len(text)) for text in completions],
        max_prompt_tokens=16,
        max_new_tokens=14,
    )


def agent_and_rollout(env: gym.Env, **options: Any) -> tuple[PPO, Rollout]:
    agent = PPO(
        "default",
        env,
        episodes_per_iteration=12,
        samples_per_prompt=3,
        batch_size=12,
        vf_coef=0.5,
        ent_coef=0.1,
        **options,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from the start, where ratios are 1 and values 0
        for parameter in agent.policy.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    rollout = collect_rollout(agent.env, agent.policy, 4, 3, torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return agent, rollout


def gradient(agent: PPO, rollout: Rollout, pieces: int = 1) -> torch.Tensor:
    (whole,) = minibatches(rollout, *agent.advantages(rollout), None, pieces, agent.rng)
    agent.gradient(whole)
    return torch.cat([p.grad.flatten() for p in agent.policy.parameters() if p.grad is not None])


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("value_trunk", ["shared", "separate"])
def test_sharing_prompts_and_recomputing_layers_change_no_gradient(
    env: gym.Env, value_trunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, rollout = agent_and_rollout(env, value_trunk=value_trunk)
    lengths = rollout.prompt_mask.sum(1) + rollout.response_mask.sum(1)
    assert lengths.unique().numel() > 4
    shared, in_pieces = gradient(agent, rollout), gradient(agent, rollout, pieces=3)
    agent.policy.gradient_checkpointing = True
    recomputed = gradient(agent, rollout)
    agent.policy.gradient_checkpointing = False
    monkeypatch.setattr(forward, "shares_prompts", lambda model, columns: False)
    plain = gradient(agent, rollout)
    assert plain.norm() > 0.01
    for found in (shared, in_pieces, recomputed):
        assert relative_error(found, plain) < 1e-5


def test_a_separate_trunk_leaves_the_policy_to_the_policys_loss(env: gym.Env) -> None:
    agent, rollout = agent_and_rollout(env, value_trunk="separate")
    assert agent.policy.value_head is None
    assert agent.policy.value_model is not None
    values = agent.policy.value_model.state_dict()
    assert all(weight.data_ptr() != values[name].data_ptr() for name, weight in agent.policy.model.state_dict().items())
    gradients = {}
    for coefficient in (0.5, 5.0):
        object.__setattr__(agent.hyperparameters, "vf_coef", coefficient)
        gradient(agent, rollout)
        gradients[coefficient] = [
            torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None])
            for part in (agent.policy.model, agent.policy.value_model)
        ]
    assert torch.equal(gradients[0.5][0], gradients[5.0][0])
    torch.testing.assert_close(10 * gradients[0.5][1], gradients[5.0][1], rtol=1e-5, atol=1e-5)


def test_a_separate_trunk_is_read_alike_by_rollout_steps_and_update(env: gym.Env) -> None:
    agent, _ = agent_and_rollout(env, value_trunk="separate")
    fresh = collect_rollout(agent.env, agent.policy, 4, 3, torch.Generator().manual_seed(3))
    tokens = torch.cat([fresh.prompt_tokens, fresh.response_tokens], 1)
    mask = torch.cat([fresh.prompt_mask, fresh.response_mask], 1)
    with torch.no_grad():
        evaluation = agent.policy.evaluate_actions(tokens, mask, fresh.response_mask.shape[1])
    real = fresh.response_mask
    assert fresh.values is not None
    assert evaluation.values is not None
    assert fresh.values[real].std() > 0.01
    torch.testing.assert_close(evaluation.values[real], fresh.values[real], atol=1e-5, rtol=1e-5)
    observation, _ = agent.env.reset(options={"index": fresh.prompt_indices[0]})
    for column in range(int(real[0].sum())):
        value = agent.policy.act(observation)[1]
        assert value is not None
        assert value.item() == pytest.approx(fresh.values[0, column].item(), abs=1e-5)
        observation = agent.env.step(int(fresh.response_tokens[0, column]))[0]


def test_a_separate_trunk_is_saved_loaded_and_resumed(env: gym.Env, tmp_path: Any) -> None:
    agent, _ = agent_and_rollout(env, value_trunk="separate")
    agent.learn(12, output=tmp_path / "run", save_every=1)
    resumed = PPO.resume(tmp_path / "run", env)
    assert (tmp_path / "run/checkpoints/iteration-000001/value_model.safetensors").is_file()
    expected = agent.policy.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.policy.state_dict().items())
    assert len(resumed.optimizer.state) == len(agent.optimizer.state) > 20


def test_bf16_keeps_fp32_weights_and_log_probs_near_those_of_fp32(env: gym.Env) -> None:
    agent, rollout = agent_and_rollout(env)
    exact = gradient(agent, rollout)
    agent.policy.precision = "bf16"
    rounded = gradient(agent, rollout)
    assert {p.dtype for p in agent.policy.parameters()} == {torch.float32}
    assert rounded.dtype == torch.float32
    assert 1e-6 < relative_error(rounded, exact) < 0.1
    again = collect_rollout(agent.env, agent.policy, 4, 3, torch.Generator().manual_seed(3))
    assert again.log_probs.dtype == again.ref_log_probs.dtype == torch.float32
    tokens = torch.cat([again.prompt_tokens, again.response_tokens], 1)
    mask = torch.cat([again.prompt_mask, again.response_mask], 1)
    with torch.no_grad():
        seen = agent.policy.evaluate_actions(tokens, mask, again.response_mask.shape[1]).log_probs
    real = again.response_mask
    ratio = (seen - again.log_probs)[real].exp()
    assert (ratio - 1).abs().mean() < 0.05


def test_what_cannot_share_says_so(env: gym.Env) -> None:
    model = env.unwrapped.language_model.copy()
    for module in model.model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    with pytest.warns(UserWarning, match="reads a prompt again for each of its samples"):
        PPO(model, env, samples_per_prompt=2)
