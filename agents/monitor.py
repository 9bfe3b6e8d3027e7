"""Watching a run: a progress bar, TensorBoard events and ``history.jsonl``.

Nothing is created before the first iteration, or the validation before it, is over, so a run that fails immediately
leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..data.plain_text import visible
from ..storage.atomic import replacing
from ..storage.manifest import claim, record
from . import processes
from .rollout import Rollout
from .validated import KL, SCORE, last_validation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from .base import PolicyGradient

TEXTS_EVERY = 5  # iterations between sampled texts and histograms
NUM_TEXTS = 3


class Monitor:
    """Logs the iterations of one ``learn``; of several processes, in the first alone.

    Args:
        agent: whose run it is; its history so far is written first, so a resumed run has one continuous file.
        total_episodes: length of the progress bar.
        output: run folder for ``history.jsonl``, and for ``tensorboard/`` unless the agent names a folder; or None.
        progress_bar: whether to show one.
    """

    def __init__(
        self, agent: PolicyGradient, total_episodes: int, output: str | Path | None, progress_bar: bool
    ) -> None:
        self.agent = agent
        first = processes.is_first()
        self.total_episodes, self.progress_bar = total_episodes, progress_bar and first
        self.history_file = None if output is None else Path(output) / "history.jsonl"
        log = agent.tensorboard_log or (None if output is None else Path(output) / "tensorboard")
        self.tensorboard_folder = None if log is None or not first else Path(log)
        self._begun = False
        self._past = list(agent.history)
        self._writer: SummaryWriter | None = None
        self._bar: tqdm | None = None
        if self.progress_bar:
            start = agent.num_episodes - (agent.num_episodes if agent.learn_start is None else agent.learn_start)
            self._bar = tqdm(total=total_episodes, initial=start, unit="episode", desc=agent.name, dynamic_ncols=True)

    def log(self, rollout: Rollout | None, scalars: Mapping[str, float]) -> None:
        """Show and write one iteration, or a validation before the first one, which has no rollout; and flush it."""
        if not self._begun:
            self._begin()
        if self.history_file is not None:
            with self.history_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(scalars) + "\n")
        if self._writer is not None:
            self._write_events(self._writer, rollout, scalars)
        if self._bar is not None:
            self._bar.set_postfix(shown(scalars, last_validation(self.agent.history)))
            self._bar.update(0 if rollout is None else len(rollout))

    def close(self) -> None:
        """Close the files and the bar."""
        if self._begun and self.history_file is not None:
            record(self.history_file)
        if self._writer is not None:
            self._writer.close()
        if self._bar is not None:
            self._bar.close()

    def _begin(self) -> None:
        self._begun = True
        if self.history_file is not None:
            claim(self.history_file)
            with replacing(self.history_file) as writing:
                writing.write_text("".join(json.dumps(row) + "\n" for row in self._past), encoding="utf-8")
        if self.tensorboard_folder is not None:
            self._writer = self._open_events(self.tensorboard_folder)
            if not self._past:
                self._write_hyperparameters(self._writer)

    def _open_events(self, folder: Path) -> SummaryWriter:
        """The run's events up to where it resumes. A folder that the user named for events may be shared."""
        past = int(self._past[-1]["episodes"]) if self._past else 0
        if self.agent.tensorboard_log is None:
            from ..storage.events import open_events  # late: it takes a second, and library use may not need it

            return open_events(folder, lambda tag, step: bool(self._past) and step <= past and not is_judged(tag))
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=past + 1 if self._past else None)

    def _write_hyperparameters(self, writer: SummaryWriter) -> None:
        """Write them into the run's own event file (``add_hparams`` would start another run)."""
        from torch.utils.tensorboard.summary import hparams

        values: dict[str, Any] = {"agent": self.agent.name, "seed": self.agent.seed}
        values |= dataclasses.asdict(self.agent.hyperparameters)
        shown = {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}
        for summary in hparams(shown, {"objective/scores": 0.0, "objective/kl": 0.0}):
            writer._get_file_writer().add_summary(summary)
        writer.add_text("hyperparameters", "\n".join(f"    {name}: {value}" for name, value in values.items()), 0)

    def _write_events(self, writer: SummaryWriter, rollout: Rollout | None, scalars: Mapping[str, float]) -> None:
        step = int(scalars["episodes"])
        for name, value in scalars.items():
            if "/" in name:
                writer.add_scalar(visible(name), value, step)
        if rollout is not None and (int(scalars["iteration"]) - 1) % TEXTS_EVERY == 0:
            writer.add_histogram("rollout/score", rollout.scores, step)
            writer.add_histogram("rollout/kl", rollout.kl.sum(1), step)
            for place in range(min(NUM_TEXTS, len(rollout))):
                writer.add_text(f"sample/{place}", describe(rollout, place), step)
        writer.flush()


def is_judged(tag: str) -> bool:
    """Whether a point was written by the evaluation after training."""
    return tag.startswith("evaluation/")


def shown(scalars: Mapping[str, float], validated: Mapping[str, float] | None = None) -> dict[str, str]:
    """What the progress bar shows: the score, its parts if there are several, the KL, and the last validation's.

    >>> shown({"objective/scores": 1.5, "objective/kl": 2.0, "objective/score_fit": 1.5, "objective/score_gold": 4.0})
    {'score': '+1.500', 'fit': '+1.500', 'gold': '+4.000', 'kl': '2.00'}
    >>> shown({}, {"validation/score": 1.25, "validation/kl": 3.0})
    {'validation': '+1.250 kl 3.00'}
    """
    own = "objective/score_"
    parts = {key.removeprefix(own): value for key, value in scalars.items() if key.startswith(own)}
    parts.pop("missing_eos_penalty", None)  # the environment's own, not a part of the reward
    told = {}
    if "objective/scores" in scalars:
        scores = {"score": scalars["objective/scores"], **(parts if len(parts) > 1 else {})}
        told = {**{name: f"{value:+.3f}" for name, value in scores.items()}, "kl": f"{scalars['objective/kl']:.2f}"}
    if validated is not None:
        told["validation"] = f"{validated[SCORE]:+.3f} kl {validated[KL]:.2f}"
    return told


def describe(rollout: Rollout, row: int) -> str:
    """One episode as Markdown: prompt, response, reference, score and KL."""
    reference = rollout.references[row]
    numbers = f"score {rollout.scores[row]:+.3f}, KL {rollout.kl[row].sum():.2f}, {rollout.finish_reasons[row]}"
    lines = [
        f"**prompt {rollout.prompt_indices[row]}**",
        _quote(rollout.prompts[row]),
        f"**response** ({numbers})",
        _quote(rollout.responses[row]),
    ]
    if reference is not None:
        lines += ["**reference**", _quote(reference)]
    return "\n\n".join(lines)


def _quote(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
