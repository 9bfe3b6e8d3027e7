"""One run of the gauntlet: train one contestant with one seed, or choose its learning rate, and judge its texts.

All start from the embedded policy, see the same number of episodes in the layout of ``configs/tldr-ppo.yaml`` (eight
samples per prompt, two steps per 64 episodes) and are judged by the same function.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed
from transformers.utils.logging import disable_progress_bar

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import AGENTS, BASELINES, LMPolicy, collect_rollout
from prefgym.agents.hyperparameters import make_hyperparameters
from prefgym.agents.sb3 import EpisodeRolloutBuffer, LMActorCriticPolicy, make_vec_env
from prefgym.data.prompts import embedded_prompts
from prefgym.evaluation.policies.best_of_n import best_of_n_kl
from prefgym.evaluation.policies.candidates import as_scorer
from prefgym.evaluation.policies.decode import best_of_n, decode
from prefgym.evaluation.policies.responses import DecodeSettings, Responses
from prefgym.evaluation.win_rate import outcomes
from prefgym.rewards.gold import gold

disable_progress_bar()
torch.set_num_threads(1)  # several runs in parallel

ENV, KL_COEF = "Summarize-v0", 0.1
TOKENS = 26
"""Approximate tokens per response: 24 with EOS for the start policy, 29 trained. stable-baselines3 counts tokens."""
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"reinforce {baseline}": ("reinforce", {"baseline": baseline}) for baseline in BASELINES},
    "ppo": ("ppo", {"n_epochs": 2, "clip_range_vf": None}),
    "a2c": ("a2c", {}),
    "expert iteration": ("expert_iteration", {}),
    "dpo": ("dpo", {}),
}
"""Contestant -> agent, and its settings besides the common ones."""
STOCK = {"sb3 ppo": "ppo", "sb3 a2c": "a2c"}
"""stable-baselines3's agents, with the hyperparameters of our contestant of that name."""
BEST_OF = {f"best of {n}": n for n in (4, 16)}
CONTESTANTS = (*LEARNERS, *STOCK, *BEST_OF)


@dataclass(frozen=True)
class Budget:
    """A contestant's budget, and what it is judged on.

    Attributes:
        episodes: per run.
        tuning_episodes: per run that tries a learning rate.
        rates: the learning rates to try.
        posts: held-out posts to judge a run on.
        tuning_posts: validation posts to choose a learning rate on.
        rollout: episodes per iteration.
        step: episodes per optimiser step.
        samples: responses to each prompt.
    """

    episodes: int = 1536
    tuning_episodes: int = 512
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    posts: int = 500
    tuning_posts: int = 200
    rollout: int = 64
    step: int = 32
    samples: int = 8

    def settings(self, name: str, rate: float) -> dict[str, Any]:
        """The hyperparameters of a learner. A2C takes one step per rollout; expert iteration counts what it keeps.

        With them all take one step per ``step`` episodes, and PPO a second epoch.
        """
        agent, own = LEARNERS[name]
        return {
            "learning_rate": rate,
            "lr_schedule": "linear",
            "episodes_per_iteration": self.step if agent == "a2c" else self.rollout,
            "samples_per_prompt": self.samples,
            "batch_size": self.step // self.samples if agent == "expert_iteration" else self.step,
            "vf_coef": 0.02,
            **own,
        }


def tune(name: str, seed: int, budget: Budget) -> dict[str, Any]:
    """Try every learning rate; the best is that with the highest proxy reward minus KL. Gold is not used."""
    tried = []
    for rate in budget.rates:
        row: dict[str, Any] = {"learning_rate": rate}
        try:
            policy, row["episodes"], row["seconds"] = train(name, seed, rate, budget, budget.tuning_episodes)
            row |= validate(policy, seed, budget.tuning_posts)
        except FloatingPointError as error:  # diverged
            row["error"] = str(error)
        tried.append(row)
    finished = [row for row in tried if "error" not in row]
    if not finished:
        raise FloatingPointError(f"{name} diverged with every learning rate: {tried[0]['error']}")
    best = max(finished, key=lambda row: row["objective/rlhf_reward"])
    return {"contestant": name, "seed": seed, "learning_rate": best["learning_rate"], "tried": tried}


def validate(policy: LMPolicy, seed: int, posts: int) -> dict[str, float]:
    """What training can see of a policy on validation posts: score, KL and the reward made of them."""
    env = gym.make(ENV, kl_coef=KL_COEF, prompts=embedded_prompts("validation", posts))
    generator = torch.Generator().manual_seed(seed)
    scalars = collect_rollout(env, policy, posts, 1, generator, prompt_indices=range(posts)).scalars()
    if not np.isfinite(scalars["objective/rlhf_reward"]):
        raise FloatingPointError(f"The reward minus KL is {scalars['objective/rlhf_reward']}; training diverged.")
    return {key: scalars[key] for key in ("objective/rlhf_reward", "objective/scores", "objective/kl")}


def run(name: str, seed: int, rate: float | None, budget: Budget) -> dict[str, Any]:
    """Train a contestant, if it trains, and judge it post by post.

    Args:
        name: of ``CONTESTANTS``, or ``"start"`` for the common start policy.
        seed: of training and of the texts to judge.
        rate: learning rate; None for contestants that do not train.
        budget: see ``Budget``.
    """
    env = gym.make(ENV, kl_coef=KL_COEF)
    start, episodes, seconds = env.unwrapped.language_model, 0, 0.0
    posts, settings = embedded_prompts("test", budget.posts), DecodeSettings()
    preference = as_scorer("preference_score", env.unwrapped.reward)
    kl: NDArray[np.float64] | None
    if name in BEST_OF:
        n = BEST_OF[name]
        responses = best_of_n(start, posts, preference, n, settings, seed=seed)
        kl = np.full(len(posts), best_of_n_kl(n))
    else:
        policy = start
        if name != "start":
            assert rate is not None
            trained, episodes, seconds = train(name, seed, rate, budget, budget.episodes)
            policy = trained.language_model
        responses = decode(policy, posts, settings, seed=seed, reference=start)
        kl = responses.kl
    assert kl is not None
    return {
        "contestant": name,
        "seed": seed,
        "learning_rate": rate,
        "episodes": episodes,
        "seconds": seconds,
        "posts": {
            "preference_score": _plain(preference(responses.prompts, responses.texts)),
            "kl": _plain(kl),
            **judge(responses, settings),
        },
    }


def judge(responses: Responses, settings: DecodeSettings) -> dict[str, list[float]]:
    """Gold score, outcome against the reference, and tokens, for each post."""
    score, prompts = as_scorer("gold_score", gold), responses.prompts
    references = [settings.template.render_response(prompt.row["reference"]) for prompt in prompts]
    scores = score(prompts, responses.texts)
    return {
        "gold_score": _plain(scores),
        "win_rate_vs_references": _plain(outcomes(scores, score(prompts, references))),
        "length": _plain(responses.lengths),
    }


def train(name: str, seed: int, rate: float, budget: Budget, episodes: int) -> tuple[LMPolicy, int, float]:
    """Train a contestant from the start policy; gives the result, the episodes it saw, and the seconds it took."""
    if name in STOCK:
        return _train_stock(STOCK[name], seed, rate, budget, episodes)
    agent_class, _ = LEARNERS[name]
    env = gym.make(ENV, kl_coef=KL_COEF)
    agent = AGENTS[agent_class]("default", env, seed=seed, **budget.settings(name, rate))
    began = time.perf_counter()
    agent.learn(episodes)
    return agent.policy, agent.num_episodes, time.perf_counter() - began


def _train_stock(name: str, seed: int, rate: float, budget: Budget, episodes: int) -> tuple[LMPolicy, int, float]:
    """stable-baselines3's agent with our hyperparameters.

    As many rows as samples per prompt, all with one seed: each answers the same prompts in order. Differences: the last
    episode of each row is cut where the rollout ends, and PPO whitens in each minibatch.
    """
    h: Any = make_hyperparameters(AGENTS[name].hyperparameter_type, budget.settings(name, rate))
    set_random_seed(seed)
    env = make_vec_env(ENV, budget.samples, kl_coef=KL_COEF)
    env.unwrapped.env.reset(seed=[seed] * budget.samples)
    count = EpisodeCount(episodes, h.episodes_per_iteration)
    own: dict[str, Any] = {"use_rms_prop": False}  # Adam, as ours
    if name == "ppo":
        own = {"batch_size": h.batch_size * TOKENS, "n_epochs": h.n_epochs}
        own |= {"clip_range": h.clip_range, "clip_range_vf": h.clip_range_vf}
    model = getattr(stable_baselines3, name.upper())(
        LMActorCriticPolicy,
        env,
        learning_rate=lambda _: rate * count.left,
        n_steps=h.episodes_per_iteration * TOKENS // budget.samples,
        gamma=h.gamma,
        gae_lambda=h.gae_lambda,
        normalize_advantage=h.normalize_advantage,
        ent_coef=h.ent_coef,
        vf_coef=h.vf_coef,
        max_grad_norm=h.max_grad_norm,
        rollout_buffer_class=EpisodeRolloutBuffer,
        device="cpu",
        **own,
    )
    began = time.perf_counter()
    model.learn(10**9, callback=count)
    return model.policy.lm, count.trained, time.perf_counter() - began


class EpisodeCount(BaseCallback):
    """Ends training after the update on the rollout whose last episode is nearest to the total.

    Attributes:
        trained: episodes that ended in rollouts which are complete.
        left: remaining share of the total, by which our agents multiply the learning rate.
    """

    def __init__(self, total: int, rollout: int) -> None:
        super().__init__()
        self.total, self.rollout = total, rollout
        self.seen = self.trained = 0

    @property
    def left(self) -> float:
        """As described above."""
        return max(0.0, 1 - self.trained / self.total)

    def _on_rollout_start(self) -> None:
        self.trained = self.seen

    def _on_step(self) -> bool:
        self.seen += sum("episode" in info for info in self.locals["infos"])
        return self.trained < self.total - self.rollout / 2


def _plain(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
