"""The models that the figures share, made on first use, and what was measured on them.

Everything is in one folder, and nothing that exists is made again. Every model is named by its size; the largest of a
full lecture is the shipped one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..data.prompts import PromptSet, embedded_prompts
from ..files import write_json
from ..models.language_model import LanguageModel
from ..rewards.preference_model import PreferenceModel
from ..typed_json import read_value
from .budget import Budget

_ALL: dict[str, Any] = {"episodes_per_iteration": 64, "samples_per_prompt": 8, "lr_schedule": "linear"}
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "reinforce": {**_ALL, "batch_size": 32, "learning_rate": 3e-4, "baseline": "leave_one_out"},
    "expert_iteration": {**_ALL, "batch_size": 4, "learning_rate": 3e-4},
}
"""Hyperparameters by the agent's short name. The first is RLHF here: compared at equal episodes, it is among the agents
that reach the highest reward."""
FAR: Mapping[str, Any] = {"kl_coef": 0.0, "samples_per_prompt": 4, "learning_rate": 4e-4, "lr_schedule": "constant"}
"""Changes for a training that is meant to go too far."""

WATCH_EVERY = 4
"""Iterations between two samples of what a policy writes."""


class Workshop:
    """The tools that figures measure with.

    Args:
        folder: of the lecture; models and measurements are kept under it.
        budget: how much is measured.
        seeds: number of seeds for everything random, counted from 0.
        progress: show progress bars.
        suites: paths of the user's own benchmark files, by name in ``data.benchmarks.READERS``.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        seeds: int,
        progress: bool = False,
        suites: Mapping[str, str | None] | None = None,
    ) -> None:
        self.folder, self.budget, self.seeds, self.progress = folder, budget, range(seeds), progress
        self.suites = {name: source for name, source in (suites or {}).items() if source}

    @property
    def sizes(self) -> list[str]:
        """Names of the sizes, the smallest first."""
        return list(self.budget.sizes)

    @property
    def largest(self) -> str:
        """Name of the largest size."""
        return self.sizes[-1]

    def posts(self, split: str = "test") -> PromptSet:
        """Held-out posts, the same for every policy."""
        return embedded_prompts(split, self.budget.posts)

    def model(self, size: str, stage: str) -> LanguageModel:
        """The ``"pretrained"`` model or the fine-tuned ``"start"`` of a size."""
        return LanguageModel.load(self.path(size, stage))

    def preference(self) -> PreferenceModel:
        """The largest size's preference model, which policies of every size are trained against."""
        return PreferenceModel.load(self.path(self.largest, "preference"))

    def path(self, size: str, stage: str) -> str | Path:
        """The name or path that loads a size's ``"pretrained"``, ``"start"`` or ``"preference"`` model."""
        shape = self.budget.sizes[size]
        if shape is None:
            return f"embedded/{stage}"
        from ..assets.build import Build

        folder = self.folder / "models" / size
        Build(folder, shape, progress=self.progress).run(stage)
        return folder / stage

    def trained(self, name: str, size: str, seed: int, **changes: Any) -> tuple[LanguageModel, list[dict[str, Any]]]:
        """The policy that an agent trains from a size's start policy, and its history.

        Args:
            name: of the run; another recipe needs another name.
            size: whose start policy.
            seed: of the training.
            **changes: ``kl_coef``, ``episodes``, ``reward``, ``agent`` (of ``RECIPES``), ``watched``, hyperparameters.
        """
        run = self.folder / "runs" / f"{name}-{size}-seed{seed}"
        history = run / "lecture.json"
        if not history.is_file():
            write_json(history, self._train(run, size, seed, **changes))
        rows = read_value(history, list[dict[str, object]], step=f"remove {run} to train it again")
        return LanguageModel.load(run), rows

    def far(self, seed: int) -> tuple[LanguageModel, list[dict[str, Any]]]:
        """The largest size trained long and without a KL term: what the preference model alone leads to."""
        return self.trained("far", self.largest, seed, episodes=self.budget.long_episodes, **FAR)

    def _train(
        self,
        run: Path,
        size: str,
        seed: int,
        *,
        kl_coef: float = 0.1,
        episodes: int | None = None,
        reward: Any = None,
        agent: str = "reinforce",
        watched: int = 0,
        **hyperparameters: Any,
    ) -> list[dict[str, Any]]:
        """Train with the demo's settings and save the run; gold is logged next to the score but never paid.

        If posts are ``watched``, the history also has what the policy writes, every few iterations, for the first
        held-out ones.
        """
        import gymnasium as gym

        from ..agents import AGENTS

        paid = self.preference() if reward is None else reward
        env = gym.make(
            "Summarize-v0",
            model=self.path(size, "start"),
            reward={"score": {"function": paid, "weight": 1.0}, "gold": {"function": "gold", "weight": 0.0}},
            prompts=embedded_prompts("train"),
            kl_coef=kl_coef,
        )
        learner = AGENTS[agent]("default", env, seed=seed, **{**RECIPES[agent], **hyperparameters})
        watch = _Watch(self.posts()[:watched])
        learner.learn(episodes or self.budget.episodes, progress_bar=self.progress, callback=watch)
        learner.save(run)
        return [{**row, **watch.seen.get(row["iteration"], {})} for row in learner.history]

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """The result of ``make`` on first use of this key, as JSON."""
        path = self.folder / "measured" / f"{key}.json"
        if not path.is_file():
            write_json(path, make())
        return read_value(path, object, step="remove it to measure it again")


class _Watch:
    """Records what a policy in training writes for some posts: ``seen``, iteration -> ``texts``."""

    def __init__(self, posts: PromptSet) -> None:
        self.posts = posts
        self.seen: dict[float, dict[str, list[str]]] = {}

    def __call__(self, agent: Any, scalars: Mapping[str, float]) -> None:
        from ..evaluation.policies.decode import decode

        if len(self.posts) and agent.iteration % WATCH_EVERY == 0:
            self.seen[agent.iteration] = {"texts": decode(agent.policy.language_model, self.posts).texts}
