"""The policy: one distribution whichever way it is asked, values from the same trunk."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from prefgym.agents import LMPolicy
from prefgym.agents.policy import entropy


def everything(env: gym.Env) -> tuple[torch.Tensor, torch.Tensor]:
    """All responses to all prompts: tokens and mask (B, L)."""
    return env.unwrapped._batch


def observations(env: gym.Env, tokens: list[int]) -> list[dict[str, np.ndarray]]:
    """Observations along a response to the second prompt, one before each token."""
    observation, _ = env.reset(options={"index": 1})
    seen = [observation]
    for token in tokens[:-1]:
        seen.append(env.step(token)[0])
    return seen


def test_probabilities_of_all_responses_sum_to_one(env: gym.Env, policy: LMPolicy) -> None:
    with torch.no_grad():
        total = env.unwrapped.log_probs(policy).exp().sum(-1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_act_generate_and_evaluate_actions_agree(env: gym.Env, policy: LMPolicy) -> None:
    batch = env.unwrapped.encode_prompts([0, 1])
    generation, values = policy.generate(batch.tokens, batch.mask, 3, 8, torch.Generator().manual_seed(0))
    rows = batch.repeat(8)
    tokens, mask = torch.cat([rows.tokens, generation.tokens], 1), torch.cat([rows.mask, generation.mask], 1)
    with torch.no_grad():
        evaluation = policy.evaluate_actions(tokens, mask, generation.tokens.shape[1])
    real = generation.mask
    assert torch.allclose(evaluation.log_probs[real], generation.log_probs[real], atol=1e-5)
    assert values is not None
    assert evaluation.values is not None
    assert torch.allclose(evaluation.values[real], values[real], atol=1e-5)
    assert values[real].std() > 0.01

    row = next(row for row in range(8, 16) if real[row].sum() >= 2)
    response = generation.tokens[row][real[row]].tolist()
    for column, observation in enumerate(observations(env, response)):
        _, value, _ = policy.act(observation)
        assert policy.log_prob(observation, response[column]) == pytest.approx(
            generation.log_probs[row, column].item(), abs=1e-5
        )
        assert value is not None
        assert value.item() == pytest.approx(values[row, column].item(), abs=1e-5)


def test_entropy_is_that_of_the_next_token_distribution(env: gym.Env, policy: LMPolicy) -> None:
    tokens, mask = everything(env)
    with torch.no_grad():
        evaluation = policy.evaluate_actions(tokens, mask, 3)
    assert evaluation.entropy is not None
    row = len(tokens) - 1  # a full response to the second prompt
    observation = observations(env, tokens[row, -3:].tolist())[2]
    log_dist = policy.log_probs(observation)
    assert np.exp(log_dist).sum() == pytest.approx(1, abs=1e-5)
    assert evaluation.entropy[row, 2].item() == pytest.approx(-(np.exp(log_dist) * log_dist).sum(), abs=1e-5)
    with torch.no_grad():
        assert policy.evaluate_actions(tokens, mask, 3, with_entropy=False).entropy is None


def test_entropy_of_impossible_tokens_is_zero_with_a_finite_gradient() -> None:
    logits = torch.tensor([0.0, 0.0, -torch.inf], requires_grad=True)
    value = entropy(torch.log_softmax(logits, -1))
    assert value.item() == pytest.approx(np.log(2))
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_predict_takes_the_likeliest_token_in_the_shape_of_the_observation(env: gym.Env, policy: LMPolicy) -> None:
    observation, _ = env.reset(options={"index": 0})
    action, state = policy.predict(observation)
    assert state is None
    assert env.action_space.contains(action)
    assert action == policy.log_probs(observation).argmax()
    batch = {name: np.stack([value, value]) for name, value in observation.items()}
    assert policy.predict(batch)[0].tolist() == [action, action]
    assert policy.log_prob(batch, np.array([0, 1])).shape == (2,)
    drawn = {int(policy.predict(observation, deterministic=False)[0]) for _ in range(40)}
    assert len(drawn) > 1


def test_a_new_value_head_says_zero_and_its_gradient_reaches_the_trunk(env: gym.Env) -> None:
    policy = LMPolicy(env.unwrapped.language_model.copy())
    tokens, mask = everything(env)
    values = policy.evaluate_actions(tokens, mask, 3).values
    assert values is not None
    assert values.abs().max() == 0
    assert policy.value_head is not None
    torch.nn.init.ones_(policy.value_head.linear.weight)
    values = policy.evaluate_actions(tokens, mask, 3).values
    assert values is not None
    values.square().sum().backward()
    trunk = policy.language_model.model.get_input_embeddings().weight
    assert trunk.grad is not None
    assert trunk.grad.abs().sum() > 0


def test_steps_of_fixed_shape_generate_the_same(env: gym.Env, policy: LMPolicy) -> None:
    batch = env.unwrapped.encode_prompts([0, 1])
    given = (batch.tokens, batch.mask, 3, 8)
    growing, _ = policy.generate(*given, torch.Generator().manual_seed(0))
    policy.cuda_graphs = True
    fixed, _ = policy.generate(*given, torch.Generator().manual_seed(0))
    assert torch.equal(growing.tokens, fixed.tokens)


def test_a_policy_that_is_asked_to_act_keeps_no_graph_and_recomputes_nothing(env: gym.Env, policy: LMPolicy) -> None:
    observation, _ = env.reset(options={"index": 0})
    log_dist, values = policy.next_distribution(observation)
    assert values is not None
    assert not log_dist.requires_grad
    assert not values.requires_grad
    assert (policy.precision, policy.gradient_checkpointing, policy.cuda_graphs) == ("fp32", False, False)
