"""Agents with one fault each, planted on purpose, and the fault that ``check_agent`` should name."""

import torch

from prefgym.agents import PPO, REINFORCE
from prefgym.agents.base import Advantages
from prefgym.agents.returns import group_mean, returns_to_go
from prefgym.models.distribution import Decoding
from prefgym.models.forward import token_log_probs


class WrongSign(REINFORCE):
    """wrong_sign"""

    def loss(self, minibatch):
        loss, stats = super().loss(minibatch)
        return -loss, stats


class SkipsFirstToken(REINFORCE):
    """first_token"""

    def loss(self, minibatch):
        minibatch.mask = minibatch.mask & (torch.arange(minibatch.mask.shape[1]) > 0)
        return super().loss(minibatch)


class SkipsLastToken(PPO):
    """last_token"""

    def loss(self, minibatch):
        minibatch.mask = torch.nn.functional.pad(minibatch.mask[:, 1:], (0, 1))
        return super().loss(minibatch)


class SkipsEOS(REINFORCE):
    """eos"""

    def loss(self, minibatch):
        response = minibatch.tokens[:, -minibatch.mask.shape[1] :]
        minibatch.mask = minibatch.mask & (response != self.policy.language_model.eos_token_id)
        return super().loss(minibatch)


class LeaksTheSample(REINFORCE):
    """leak"""

    def advantages(self, rollout):
        returns = rollout.returns - group_mean(rollout.returns, rollout.groups)
        return Advantages(returns[:, None].expand_as(rollout.rewards) * rollout.response_mask)


class LeaksTheAction(PPO):
    """leak_next_value"""

    def advantages(self, rollout):
        after = torch.nn.functional.pad(rollout.values[:, 1:], (0, 1))
        after = after * torch.nn.functional.pad(rollout.response_mask[:, 1:], (0, 1))
        to_go = returns_to_go(rollout.rewards, rollout.response_mask)
        return Advantages((to_go - after) * rollout.response_mask, to_go)


class PaysKLTwice(REINFORCE):
    """kl_twice"""

    def advantages(self, rollout):
        rollout.rewards = rollout.rewards - self.env.unwrapped.kl_coef * rollout.kl
        return super().advantages(rollout)


class ForgetsKL(PPO):
    """kl_missing"""

    def advantages(self, rollout):
        rollout.rewards = rollout.rewards + self.env.unwrapped.kl_coef * rollout.kl
        return super().advantages(rollout)


class AddsKL(REINFORCE):
    """kl_sign"""

    def advantages(self, rollout):
        rollout.rewards = rollout.rewards + 2 * self.env.unwrapped.kl_coef * rollout.kl
        return super().advantages(rollout)


class DividesByLength(REINFORCE):
    """length_normalised"""

    def advantages(self, rollout):
        advantages, returns = super().advantages(rollout)
        return Advantages(advantages / rollout.response_mask.sum(1, keepdim=True), returns)


class ShiftsAdvantages(PPO):
    """shifted_back"""

    def advantages(self, rollout):
        advantages, returns = super().advantages(rollout)
        return Advantages(torch.nn.functional.pad(advantages[:, 1:], (0, 1)), returns)


class LearnsThroughAdvantages(REINFORCE):
    """not_detached"""

    def loss(self, minibatch):
        m, kl_coef = minibatch, self.env.unwrapped.kl_coef
        kl = (m.log_probs - m.ref_log_probs) * m.mask
        score = m.advantages + kl_coef * kl.detach().sum(1, keepdim=True)
        advantages = score - kl_coef * kl.sum(1, keepdim=True)
        loss = -(advantages * m.log_probs * m.mask).sum() / m.denominator
        return loss, {}


class TakesReferenceAsOld(PPO):
    """old_log_probs"""

    def loss(self, minibatch):
        minibatch.old_log_probs = minibatch.ref_log_probs
        return super().loss(minibatch)


class TakesOldAtAnotherTemperature(PPO):
    """old_temperature"""

    def loss(self, minibatch):
        m, language_model = minibatch, self.policy.language_model
        with torch.no_grad():
            m.old_log_probs = token_log_probs(
                language_model.model,
                m.tokens,
                m.attention_mask,
                m.mask.shape[1],
                language_model.vocab_size,
                Decoding(temperature=0.7),
            )
        return super().loss(minibatch)


class TakesProbability(REINFORCE):
    """probability"""

    def loss(self, minibatch):
        minibatch.log_probs = minibatch.log_probs.exp()
        return super().loss(minibatch)


class CountsPadding(REINFORCE):
    """padding"""

    def loss(self, minibatch):
        minibatch.denominator = minibatch.num_episodes * self.env.unwrapped.max_new_tokens
        return super().loss(minibatch)


class PaysOwnRewardOnly(REINFORCE):
    """own_reward"""

    def advantages(self, rollout):
        return Advantages(rollout.rewards * rollout.response_mask)


class LosesEarlyScores(REINFORCE):
    """early_score"""

    def advantages(self, rollout):
        lost = rollout.scores * (rollout.response_mask.sum(1) < self.env.unwrapped.max_new_tokens)
        last = rollout.response_mask.sum(1, keepdim=True) - 1
        rollout.rewards = rollout.rewards.scatter_add(1, last, -lost[:, None])
        return super().advantages(rollout)


class TakesK3AsLoss(REINFORCE):
    """kl_forward"""

    def advantages(self, rollout):
        rollout.rewards = rollout.rewards + self.env.unwrapped.kl_coef * rollout.kl
        return super().advantages(rollout)

    def loss(self, minibatch):
        loss, stats = super().loss(minibatch)
        log_ratio = (minibatch.ref_log_probs - minibatch.log_probs) * minibatch.mask
        k3 = (log_ratio.exp() - 1 - log_ratio).sum() / minibatch.denominator
        return loss + self.env.unwrapped.kl_coef * k3, stats


FAULTY = [agent for agent in globals().values() if isinstance(agent, type) and agent.__module__ == __name__]
