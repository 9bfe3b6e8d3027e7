"""MaskablePPO of sb3-contrib: the reference's top-k and top-p restrict rollout, reward and update alike."""

import sys

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import prefgym.agents.sb3 as adapter
from prefgym.agents.sb3 import make_vec_env

contrib = pytest.importorskip("sb3_contrib", reason="the extra sb3-contrib is not installed")


class Watch(BaseCallback):
    """Keeps masks, actions and infos of every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def _on_step(self):
        names = ("action_masks", "actions", "log_probs", "infos")
        self.steps.append([self.locals[name] for name in names])
        return True


def model_and_env(num_envs=6, **options):
    env = make_vec_env("Enumerable-v0", num_envs, kl_coef=0.1, mask_top_k=2)
    options = {"n_steps": 8, "batch_size": 16, "gamma": 1.0, "seed": 0, **options}
    return contrib.MaskablePPO(adapter.MaskableLMActorCriticPolicy, env, **options), env


@pytest.mark.parametrize("episodes", [True, False], ids=["episodes", "shuffled"])
def test_masks_hold_in_rollout_reward_and_update(episodes):
    buffer_class = adapter.MaskableEpisodeRolloutBuffer if episodes else None
    model, _ = model_and_env(learning_rate=0.0, rollout_buffer_class=buffer_class)
    watch = Watch()
    model.learn(48, callback=watch)
    for masks, actions, log_probs, infos in watch.steps:
        assert (masks.sum(1) == 2).all()
        assert masks[np.arange(6), actions].all()
        found = [info["log_prob"] for info in infos]
        np.testing.assert_allclose(found, log_probs, atol=1e-6, err_msg="the reward is of another distribution")
    ended = [info for *_, infos in watch.steps for info in infos if "score" in info]
    assert all(info["kl"] > 1e-3 for info in ended), "the whole reference has more mass than the two tokens"
    for info in ended:
        assert info["episode"]["r"] == pytest.approx(info["score"] - 0.1 * info["kl"], abs=1e-5)
    seen = 0
    with torch.no_grad():
        for batch in model.rollout_buffer.get(16):
            actions = batch.actions.long().flatten()
            _, log_probs, entropies = model.policy.evaluate_actions(batch.observations, actions, batch.action_masks)
            torch.testing.assert_close(log_probs, batch.old_log_prob, atol=1e-5, rtol=0)
            other = torch.log(-torch.expm1(log_probs))  # of two tokens, the one that was not taken
            by_hand = -(log_probs.exp() * log_probs + other.exp() * other)
            torch.testing.assert_close(entropies, by_hand, atol=1e-4, rtol=0)
            seen += len(actions)
    assert seen == 48


def test_it_learns_and_predicts_within_the_masks():
    model, env = model_and_env(
        32, learning_rate=1e-2, batch_size=128, rollout_buffer_class=adapter.MaskableEpisodeRolloutBuffer
    )
    model.learn(32 * 8)
    before = np.mean([episode["r"] for episode in model.ep_info_buffer])
    model.learn(32 * 8 * 3, reset_num_timesteps=False)
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > before + 0.3
    obs = env.reset()
    only = np.zeros((32, 4), dtype=bool)
    only[:, 1] = True
    assert (model.predict(obs, action_masks=only)[0] == 1).all()


def test_save_and_load(tmp_path):
    model, env = model_and_env()
    model.learn(48)
    model.save(tmp_path / "agent")
    loaded = contrib.MaskablePPO.load(tmp_path / "agent", env)
    for name, parameter in model.policy.named_parameters():
        torch.testing.assert_close(loaded.policy.state_dict()[name], parameter.detach())
    loaded.learn(48)


def test_without_sb3_contrib_a_sentence_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sb3_contrib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "prefgym.agents.sb3.maskable", raising=False)
    monkeypatch.delattr(adapter, "maskable", raising=False)
    with pytest.raises(ImportError, match=r'needs sb3-contrib: pip install "prefgym\[sb3-contrib\]"'):
        adapter.MaskableLMActorCriticPolicy  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        adapter.nothing  # noqa: B018
