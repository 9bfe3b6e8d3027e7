"""DPO and expert iteration, which learn without a policy gradient: known optima, and what they keep."""

import math
from typing import Any

import gymnasium as gym
import pytest
import torch

from prefgym.agents import DPO, ExpertIteration, LMPolicy, collect_rollout
from prefgym.agents.expert_iteration import best_rows
from prefgym.agents.losses import dpo_loss
from prefgym.agents.minibatch import minibatches
from prefgym.errors import InputError
from prefgym.evaluation.checking.check_agent import make_world


def test_dpo_loss_by_hand() -> None:
    """Margins 0 and ln 3, so σ is a half and three quarters; the second pair is half preferred either way."""
    loss = dpo_loss(torch.tensor([0.0, math.log(3)]), torch.tensor([1.0, 0.5]))
    assert float(loss) == pytest.approx((math.log(2) - 0.5 * math.log(0.75) - 0.5 * math.log(0.25)) / 2)


def test_the_optimum_of_the_expected_dpo_loss_is_the_optimal_policy(env: gym.Env) -> None:
    """A free table of log-probs, fitted to all pairs of responses, ends at π* ∝ π_ref exp(score / β)."""
    lab = env.unwrapped
    scores, reference = lab.scores()[0], lab.reference_log_probs()[0]
    first, second = torch.triu_indices(len(scores), len(scores), 1)
    preferred = torch.sigmoid(scores[first] - scores[second])
    table = reference.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([table], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        implicit = lab.kl_coef * (torch.log_softmax(table, 0) - reference)
        loss = dpo_loss(implicit[first] - implicit[second], preferred)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert torch.allclose(table.detach().softmax(0), lab.optimal_policy()[0], atol=1e-3)


def write_optimum(agent: DPO, lab: Any) -> None:
    """Give the agent's table the logits of π*: of each next token, what all responses that go on with it have."""
    model, every = agent.policy.language_model.model, lab.responses()
    masses = torch.zeros(model.table.weight.shape, dtype=torch.float64)
    for prompt, row in zip(lab.mdp.source.batch(range(len(lab.prompts))).prompts, lab.optimal_policy(), strict=True):
        for tokens, real, mass in zip(every.tokens, every.mask, row, strict=True):
            text = [*prompt.ids, *tokens[real].tolist()]
            for place in range(len(prompt.ids), len(text)):
                before = torch.tensor([text[:place]])
                masses[model.transitions(before, torch.ones_like(before))[0, -1], text[place]] += mass
    with torch.no_grad():
        model.table.weight.copy_(torch.where(masses > 0, masses.log().float(), model.table.weight))


def test_at_the_optimum_no_pair_of_responses_moves_dpo() -> None:
    """There β log(π / π_ref) differs between responses as their scores do: the loss of each pair is at its least."""
    lab = make_world(0.5)
    agent = DPO("default", lab, samples_per_prompt=4, batch_size=None, loss_reduction="episode_sum")
    norms = []
    for _ in range(2):
        rollout = collect_rollout(agent.env, agent.policy, 8, 4, torch.Generator().manual_seed(0))
        ((piece,),) = minibatches(rollout, *agent.advantages(rollout), None, 1, agent.rng)
        agent.gradient([piece])
        norms.append(max(float(p.grad.abs().max()) for p in agent.policy.parameters() if p.grad is not None))
        write_optimum(agent, lab)
    assert lab.kl_to_optimum(agent.policy) == pytest.approx(0, abs=1e-5)
    assert norms[0] > 1e-3
    assert norms[1] < 1e-6


@pytest.mark.parametrize(("agent", "options"), [(DPO, {"samples_per_prompt": 8, "batch_size": 64})])
def test_dpo_learns_the_optimum(agent: Any, options: dict[str, Any]) -> None:
    env = gym.make("Enumerable-v0", kl_coef=0.5)
    lab = env.unwrapped
    learner = agent("default", env, seed=0, learning_rate=1e-2, episodes_per_iteration=128, **options)
    before = lab.kl_to_optimum(learner.policy)
    learner.learn(128 * 30)
    assert float(lab.objective(learner.policy).detach()) > 0.97 * lab.optimal_objective()
    assert lab.kl_to_optimum(learner.policy) < 0.05 * before


def test_hard_labels_and_accuracy_by_hand(env: gym.Env, policy: LMPolicy) -> None:
    agent = DPO(policy, env, labels="hard", samples_per_prompt=4)
    rollout = collect_rollout(agent.env, policy, 2, 4, torch.Generator().manual_seed(0))
    ((piece,),) = minibatches(rollout, *agent.advantages(rollout), None, 1, agent.rng)
    piece.evaluate(policy, False, "token_mean")
    loss, stats = agent.loss(piece)
    ratio = (piece.log_probs - piece.ref_log_probs).masked_fill(~piece.mask, 0).sum(1).tolist()
    scores, prompts = piece.advantages[:, 0].tolist(), piece.prompt_of.tolist()
    losses, right = [], []
    for i in range(8):
        for j in range(i + 1, 8):
            if prompts[i] == prompts[j]:
                margin = 0.1 * (ratio[i] - ratio[j])
                won = 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
                losses.append(won * math.log1p(math.exp(-margin)) + (1 - won) * math.log1p(math.exp(margin)))
                right.append((margin > 0) == (scores[i] > scores[j]))
    assert len(losses) == 12
    assert float(loss.detach()) == pytest.approx(sum(losses) / 12, rel=1e-4)
    assert float(stats["preference_accuracy"]) == pytest.approx(sum(right) / 12)


def test_expert_iteration_learns_from_the_best_of_each_prompt_alone(env: gym.Env, policy: LMPolicy) -> None:
    agent = ExpertIteration(policy, env, samples_per_prompt=4, episodes_per_iteration=16)
    rollout = collect_rollout(agent.env, policy, 4, 4, torch.Generator().manual_seed(0))
    kept = rollout.select(best_rows(rollout.returns, rollout.groups))
    assert len(kept) == 4
    for group in range(4):
        own = rollout.returns[rollout.groups == group]
        assert kept.returns[group] == own.max()
    seen: list[torch.Tensor] = []
    original = agent.advantages
    agent.advantages = lambda rollout: (seen.append(rollout.returns), original(rollout))[1]  # type: ignore[method-assign]
    agent.train(rollout)
    assert torch.equal(seen[0], kept.returns)


def test_expert_iteration_raises_the_score(env: gym.Env) -> None:
    agent = ExpertIteration("default", env, learning_rate=1e-2, episodes_per_iteration=128, batch_size=32)
    agent.learn(128 * 15)
    scores = [row["objective/scores"] for row in agent.history]
    assert scores[-1] > scores[0] + 0.5


def test_select_keeps_rows_in_order(env: gym.Env, policy: LMPolicy) -> None:
    rollout = collect_rollout(env, policy, 2, 2, torch.Generator().manual_seed(0))
    two = rollout.select(torch.tensor([3, 0]))
    assert two.responses == [rollout.responses[3], rollout.responses[0]]
    assert torch.equal(two.response_tokens[1], rollout.response_tokens[0])
    assert {name: part.tolist() for name, part in two.score_parts.items()} == {
        name: part[[3, 0]].tolist() for name, part in rollout.score_parts.items()
    }


@pytest.mark.parametrize(
    ("agent", "options", "message"),
    [
        (DPO, {"samples_per_prompt": 1}, "set samples_per_prompt to 2 or more"),
        (DPO, {"samples_per_prompt": 4, "batch_size": 6}, "multiple of samples_per_prompt"),
        (DPO, {"gradient_accumulation": 2}, "gradient_accumulation 1"),
        (DPO, {"labels": "soft-ish"}, 'Did you mean "soft"'),
        (ExpertIteration, {"samples_per_prompt": 1}, "set samples_per_prompt to 2 or more"),
    ],
)
def test_bad_options(agent: Any, options: dict[str, Any], message: str, env: gym.Env) -> None:
    with pytest.raises(InputError, match=message):
        agent("default", env, **options)


def test_dpo_needs_a_beta() -> None:
    with pytest.raises(InputError, match="DPO needs a kl_coef above 0"):
        DPO("default", gym.make("Enumerable-v0", kl_coef=0.0))
