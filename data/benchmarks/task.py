"""A benchmark task: questions with their right answers, and how a prompt is put together from them.

Texts are used exactly as in the files, as white space can be the question (ASCII art); only MMLU's are stripped.

A task whose options are listed in its text has a second form, ``cloze``: the options are not listed, and the likelihood
of each option's text is compared instead of its letter's. Small models are above a guess there long before they know
what a letter stands for. Source: Y. Gu et al., "OLMES: A Standard for Language Model Evaluations" (2024,
arXiv:2406.08446), which calls the two the multiple-choice formulation (MCF) and the cloze formulation (CF).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

CLOZE = " (cloze)"
"""Stands behind the suite in the name of a task in its cloze form: ``"mmlu (cloze)/astronomy"``."""

CLOZE_METRICS = ("acc_norm", "acc", "acc_bytes")
"""lm-evaluation-harness's names: the option with the largest log-likelihood per character, as a whole, per byte.

OLMES compares MMLU's options per character, so that is the score.
"""


@dataclass(frozen=True)
class Example:
    """One question.

    Attributes:
        prompt: what the model reads.
        options: what it chooses from; empty where it writes an answer.
        worth: the credit for each option, 0-1; several may be right.
        answers: the right texts where it writes one; any of them counts.
    """

    prompt: str
    options: tuple[str, ...] = ()
    worth: tuple[float, ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """The score of a random guess: the mean over the options, and 0 where an answer is written.

        >>> Example("Is it?", ("yes", "no", "perhaps"), (1.0, 0.0, 0.5)).chance
        0.5
        """
        return sum(self.worth) / len(self.worth) if self.worth else 0.0

    @property
    def longest(self) -> float:
        """The score of always choosing the option with the most characters; several that tie count with their mean.

        >>> Example("Is it?", ("yes", "no", "perhaps"), (1.0, 0.0, 0.5)).longest
        0.5
        """
        most = max(map(len, self.options))
        found = [worth for option, worth in zip(self.options, self.worth, strict=True) if len(option) == most]
        return sum(found) / len(found)

    @property
    def best(self) -> str:
        """A right answer, for a demonstration: the first of the best options, or the first answer."""
        return self.options[self.worth.index(max(self.worth))] if self.options else self.answers[0]


@dataclass(frozen=True)
class Task:
    """A task of a suite.

    Attributes:
        name: suite and task, ``"mmlu/astronomy"``.
        metrics: what is measured; the first is the score.
        examples: the questions.
        prefix: text before everything.
        lead: text between a prompt and its answer.
        separator: text after a demonstration.
        demonstrations: solved questions to show; ``None`` shows other questions of the same task.
        stop: a written answer ends before the first of these; none of them may occur in a right answer.
        output_regex: what to take from a written answer: the first match, or its first group; ``None`` takes all.
        left_out: examples of the file that the score does not apply to.
        unmeasured: metrics of the file that are not measured.
        cloze: the same questions without their options listed, where there are any.
    """

    name: str
    metrics: tuple[str, ...]
    examples: tuple[Example, ...] = field(repr=False)
    prefix: str = ""
    lead: str = ""
    separator: str = "\n\n"
    demonstrations: tuple[Example, ...] | None = field(default=None, repr=False)
    stop: tuple[str, ...] = ()
    output_regex: str | None = None
    left_out: int = 0
    unmeasured: tuple[str, ...] = ()
    cloze: Task | None = field(default=None, repr=False)

    def in_cloze_form(self, examples: Sequence[Example], **changes: Any) -> Task:
        """This task with ``cloze``: these questions, whose options are chosen by the likelihood of their text.

        Args:
            examples: the questions without their options listed.
            changes: other fields in which that form differs.
        """
        suite, _, rest = self.name.partition("/")
        form = replace(self, name=f"{suite}{CLOZE}/{rest}", metrics=CLOZE_METRICS, examples=tuple(examples), **changes)
        return replace(self, cloze=form)

    @property
    def suite(self) -> str:
        """The suite it belongs to."""
        return self.name.partition("/")[0]

    def context(self, index: int, shots: int = 0, seed: int = 0) -> str:
        """What the model reads before it answers question ``index``.

        Args:
            index: of the example.
            shots: demonstrations to show, fewer if there are not enough.
            seed: for choosing among the other questions. One with the same text is never shown: files repeat questions,
                also with other right answers.
        """
        shown = (one.prompt + self.lead + one.best + self.separator for one in self._shown(index, shots, seed))
        return self.prefix + "".join(shown) + self.examples[index].prompt

    def messages(self, index: int, shots: int = 0, seed: int = 0) -> list[dict[str, str]]:
        """The same as a conversation: ``prefix`` is the system message, a demonstration is two turns."""
        said = [("system", self.prefix)] if self.prefix else []
        for one in self._shown(index, shots, seed):
            said += [("user", one.prompt), ("assistant", one.best)]
        said.append(("user", self.examples[index].prompt))
        return [{"role": role, "content": content} for role, content in said]

    def _shown(self, index: int, shots: int, seed: int) -> Sequence[Example]:
        if shots == 0:
            return ()
        if self.demonstrations is not None:
            return self.demonstrations[:shots]
        others = [one for one in self.examples if one.prompt != self.examples[index].prompt]
        return random.Random(f"{seed} {self.name} {index}").sample(others, min(shots, len(others)))

    def shots_available(self, shots: int) -> int:
        """How many of the requested demonstrations can be shown with every question."""
        if self.demonstrations is not None:
            return min(shots, len(self.demonstrations))
        alike = Counter(one.prompt for one in self.examples)
        return min(shots, len(self.examples) - max(alike.values()))

    def said(self, text: str) -> str:
        """The answer in a model's output, without white space around it."""
        for mark in self.stop:
            text = text.partition(mark)[0]
        if self.output_regex is not None:
            match = re.search(self.output_regex, text)
            text = (match[1] if match.re.groups else match[0]) or "" if match else ""
        return text.strip()


@dataclass(frozen=True)
class Suite:
    """The tasks in a folder of benchmark files.

    Attributes:
        tasks: those that can be scored.
        unscored: the others, with the reason.
    """

    tasks: tuple[Task, ...]
    unscored: Mapping[str, str] = field(default_factory=dict)


class UnscorableError(Exception):
    """A valid task that nothing here can score; the message is the reason."""


def stops_for(examples: Sequence[Example], marks: Sequence[str]) -> tuple[str, ...]:
    """The marks that end an answer: those that occur in no right answer."""
    return tuple(mark for mark in marks if not any(mark in answer for one in examples for answer in one.answers))
