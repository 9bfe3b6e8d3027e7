"""How each candidate of an evaluation is made, and all are scored: policies, and yardsticks beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from ...envs.prompt_source import Prompt
from ...models.distribution import Decoding
from ...models.language_model import LanguageModel
from . import yardsticks
from .best_of_n import best_of_n_kl
from .candidates import JUDGE_SCORE, Candidate, score_together
from .decode import Prompts, Scorer, best_of_n, choose_temperature, decode, decode_both
from .parts import Parts
from .responses import DecodeSettings, Responses

BEST_OF = 4
SAMPLED = ("sampled",)
PROMPTS_SCORED = 64
"""Prompts whose texts are scored in one call."""


@dataclass
class Exam:
    """What all candidates share, and how each is made."""

    prompts: list[Prompt]
    start: LanguageModel
    reference: LanguageModel
    settings: DecodeSettings
    scorers: dict[str, Scorer]
    seed: int
    yardsticks: bool = True

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The prompts' rows."""
        return [prompt.row for prompt in self.prompts]

    def plan(
        self, policies: Mapping[str, LanguageModel], validation: Prompts | None
    ) -> dict[tuple[str, tuple[str, ...]], Callable[[], list[Candidate]]]:
        """Name, and sampled or greedy or both -> how to make these candidates, in the order of the report."""
        plan: dict[tuple[str, tuple[str, ...]], Callable[[], list[Candidate]]] = {}
        for name, lm in {"start": self.start, **policies}.items():
            plan[name, ("sampled", "greedy")] = partial(self.write, lm)
        if self.selector is not None:
            plan["start_best_of_4", SAMPLED] = self.best_of
            if validation is not None:
                plan["start_best_temperature", SAMPLED] = partial(self.at_best_temperature, validation)
        references = [row.get("reference") or "" for row in self.rows]
        if any(references):
            plan["references", SAMPLED] = partial(self.quote, references)
        if all(references) and len(references) > 1:
            plan["random_reference", SAMPLED] = partial(self.quote, yardsticks.random_references(references, self.seed))
        plan["lead", SAMPLED] = partial(self.quote, [yardsticks.lead_sentence(row["prompt"]) for row in self.rows])
        oracle = yardsticks.oracle_summaries(self.rows)
        if oracle is not None:
            plan["oracle", SAMPLED] = partial(self.quote, oracle)
        return plan

    @property
    def selector(self) -> Scorer | None:
        """The score that chooses among the start policy's samples: never gold, nor a judge used only here."""
        if not self.yardsticks:
            return None
        choices = [name for name in self.scorers if name not in ("gold_score", JUDGE_SCORE)]
        return self.scorers[choices[0]] if choices else None

    def write(self, lm: LanguageModel) -> list[Candidate]:
        """A policy, sampled and greedy."""
        both = decode_both(lm, self.rows, self.settings, seed=self.seed, reference=self.reference)
        return [self._written(responses) for responses in both]

    def best_of(self) -> list[Candidate]:
        """The start policy's best of several samples."""
        assert self.selector is not None
        responses = best_of_n(self.start, self.rows, self.selector, BEST_OF, self.settings, seed=self.seed)
        return [self._candidate(responses.texts, responses.lengths, responses, best_of_n_kl(BEST_OF))]

    def at_best_temperature(self, validation: Prompts) -> list[Candidate]:
        """The start policy at the temperature that is best on other prompts."""
        assert self.selector is not None
        best, _ = choose_temperature(self.start, validation, self.selector, self.settings, seed=self.seed + 1)
        decoding = Decoding(temperature=best)
        responses = decode(self.start, self.rows, self.settings, decoding, seed=self.seed, reference=self.reference)
        return [replace(self._written(responses), temperature=best)]

    def quote(self, texts: list[str]) -> list[Candidate]:
        """A candidate of given texts, rendered as a policy would have written them."""
        rendered = [self.settings.template.render_response(text) if text.strip() else "" for text in texts]
        tokens = self.start.texts.responses(
            [prompt.text for prompt in self.prompts], rendered, framed=self.settings.template.framed
        )
        return [self._candidate(rendered, np.array([len(row) for row in tokens]))]

    def score(self, candidates: list[Candidate], memo: Parts, progress: bool) -> None:
        """Give all candidates their scores, those of the same few prompts together."""
        chunks = [
            range(len(self.prompts))[start : start + PROMPTS_SCORED]
            for start in range(0, len(self.prompts), PROMPTS_SCORED)
        ]
        with tqdm(total=len(self.scorers) * len(chunks), desc="score", disable=not progress) as bar:
            for name, score in self.scorers.items():
                bar.set_postfix_str(name)
                found = []
                for rows in chunks:
                    make = partial(score_together, score, self.prompts, candidates, rows)
                    found.append(memo.remember(f"{name} of prompts {rows.start} to {rows.stop}", make))
                    bar.update()
                for candidate, own in zip(candidates, np.concatenate(found, 1), strict=True):
                    candidate.scores[name] = own

    def with_prompts(self, candidate: Candidate) -> Candidate:
        """The candidate with the prompts common to all, which a stored part does not contain."""
        if candidate.responses is None or candidate.responses.prompts:
            return candidate
        return replace(candidate, responses=replace(candidate.responses, prompts=self.prompts))

    def _written(self, responses: Responses) -> Candidate:
        return self._candidate(responses.texts, responses.lengths, responses, responses.kl)

    def _candidate(
        self, texts: list[str], lengths: Any, responses: Responses | None = None, kl: Any = None
    ) -> Candidate:
        present = np.array([responses is not None or bool(text) for text in texts])
        return Candidate(texts, lengths, present, responses, kl)
