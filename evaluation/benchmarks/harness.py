"""Benchmark tasks run by lm-evaluation-harness: our prompts, its evaluation loop, any model it supports.

Source: L. Gao et al., "A framework for few-shot language model evaluation" (EleutherAI, lm-evaluation-harness).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.model import LM
from lm_eval.api.task import Task as LMEvalTask
from lm_eval.config.task import TaskConfig
from lm_eval.evaluator import evaluate
from lm_eval.filters import build_filter_ensemble

from ...data.benchmarks.task import Task
from ...errors import InputError
from .answer_metrics import ANSWER_METRICS
from .flexible import FLEXIBLE, flexible_extract
from .scores import Result


class HarnessTask(LMEvalTask):
    """A task as the harness runs it. A document is an example with its number; each option is a request.

    Args:
        task: the questions and their right answers.
        shots: demonstrations before each question.
        seed: for choosing demonstrations, if they are other questions.
        max_new_tokens: of a written answer.
        render: makes a text of a conversation; None for prompts that are plain text.
    """

    VERSION = 1

    def __init__(
        self,
        task: Task,
        shots: int = 0,
        seed: int = 0,
        max_new_tokens: int = 128,
        render: Callable[[list[dict[str, str]]], str] | None = None,
    ) -> None:
        self.task, self.shots, self.seed, self.render = task, shots, seed, render
        self.chosen = bool(task.examples[0].options)
        self._docs = [{"index": index, **dataclasses.asdict(one)} for index, one in enumerate(task.examples)]
        self.OUTPUT_TYPE = "multiple_choice" if self.chosen else "generate_until"
        self.writing = {"until": list(task.stop), "max_gen_toks": max_new_tokens, "do_sample": False}
        kind: Any = {"output_type": self.OUTPUT_TYPE, "generation_kwargs": None if self.chosen else dict(self.writing)}
        self._config = TaskConfig(task=task.name, num_fewshot=shots, **kind)
        self._filters = [build_filter_ensemble("none", [["take_first", None]])]  # the base class would download

    def has_training_docs(self) -> bool:
        """Demonstrations are in the prompts."""
        return False

    def has_validation_docs(self) -> bool:
        """There are only test questions."""
        return False

    def has_test_docs(self) -> bool:
        """There are test questions."""
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        """The examples, each with its index."""
        return self._docs

    def doc_to_text(self, doc: Mapping[str, Any]) -> str:
        """The whole prompt, demonstrations included."""
        asked = (doc["index"], self.shots, self.seed)
        return self.render(self.task.messages(*asked)) if self.render else self.task.context(*asked)

    def doc_to_target(self, doc: Mapping[str, Any]) -> str:
        """A right answer."""
        return self.task.examples[doc["index"]].best

    def build_all_requests(self, *, limit: int | None = None, **_: Any) -> None:
        """Make the requests, without the harness's own prompts and progress bars."""
        self._instances = [
            instance
            for index, doc in self.doc_iterator(limit=limit)
            for instance in self.construct_requests(
                doc, self.doc_to_text(doc), metadata=(self.task.name, index, 1), task_name=self.task.name
            )
        ]

    def construct_requests(self, doc: dict[str, Any], ctx: str, *, metadata: Any, **_: Any) -> list[Instance]:
        """A request for the likelihood of each option, or one for an answer."""
        if self.chosen:
            lead = "" if self.render else self.task.lead  # an assistant's turn begins with the answer
            arguments: list[tuple[str, Any]] = [(ctx, lead + option) for option in doc["options"]]
            kind: Any = "loglikelihood"
        else:
            arguments, kind = [(ctx, self.writing)], "generate_until"
        return [
            Instance(request_type=kind, doc=doc, arguments=argument, idx=index, metadata=metadata)
            for index, argument in enumerate(arguments)
        ]

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Every metric of one answer."""
        if self.chosen:
            given = ([value for value, _ in results], doc["options"])
            return {metric: choice_score(per_length(metric, *given), doc["worth"]) for metric in self.task.metrics}
        said = self.task.said(results[0])
        return {
            metric: flexible_extract(self.task.name, doc["prompt"], results[0], doc["answers"])
            if metric == FLEXIBLE
            else ANSWER_METRICS[metric](said, doc["answers"])
            for metric in self.task.metrics
        }

    def aggregation(self) -> dict[str, Any]:
        """Every metric is a mean."""
        return dict.fromkeys(self.task.metrics, mean)

    def higher_is_better(self) -> dict[str, bool]:
        """All of them."""
        return dict.fromkeys(self.task.metrics, True)


LENGTHS: Mapping[str, Callable[[str], int]] = {"acc_norm": len, "acc_bytes": lambda text: len(text.encode())}
"""What the log-likelihood of an option's text is divided by, by the name of the metric; nothing for any other."""


def per_length(metric: str, log_probs: Sequence[float], options: Sequence[str]) -> list[float]:
    """The log-likelihoods of the options as a metric compares them, in nats: per character, per byte, or as they are.

    The space before an option has a likelihood and counts as no character, as in lm-evaluation-harness.

    >>> per_length("acc_norm", [-2.0, -6.0], ["é", "four"]), per_length("acc", [-2.0, -6.0], ["é", "four"])
    ([-2.0, -1.5], [-2.0, -6.0])
    >>> per_length("acc_bytes", [-2.0, -6.0], ["é", "four"])
    [-1.0, -1.5]
    """
    length = LENGTHS.get(metric, lambda text: 1)
    return [value / length(option) for value, option in zip(log_probs, options, strict=True)]


def choice_score(log_probs: Sequence[float], worth: Sequence[float]) -> float:
    """The value of the likeliest option; options that tie count with their mean.

    So a model that finds all options equally likely scores like a random guess, whichever comes first.

    >>> choice_score([-1.0, -3.0], [0.0, 1.0]), choice_score([-2.0, -2.0], [0.0, 1.0])
    (0.0, 0.5)

    Raises:
        InputError: a likelihood that is NaN.
    """
    values = np.asarray(log_probs)
    if np.isnan(values).any():
        raise InputError("The model gives likelihoods that are not numbers (NaN); its weights are damaged.")
    return float(np.asarray(worth)[values == values.max()].mean())


def run_tasks(
    model: LM,
    tasks: Sequence[Task],
    *,
    limit: int | None = None,
    shots: int = 0,
    seed: int = 0,
    max_new_tokens: int = 128,
    apply_chat_template: bool = False,
) -> dict[str, Result]:
    """Ask a model all questions.

    Args:
        model: ours (``HarnessModel``), or any other of the harness.
        tasks: of different names.
        limit: questions per task, from its beginning; ``None`` asks all.
        shots: demonstrations before each question, fewer if a task does not have as many.
        seed: for choosing demonstrations.
        max_new_tokens: of a written answer.
        apply_chat_template: ask in conversations that the model's chat template renders, a demonstration in two turns.
    """
    found = {}
    render = model.apply_chat_template if apply_chat_template else None
    for task in tasks:  # one by one: the harness keeps every prompt until it is done
        made: Any = {"tasks": {task.name: HarnessTask(task, shots, seed, max_new_tokens, render)}, "groups": {}}
        told: Any = evaluate(lm=model, task_dict=made, limit=limit, bootstrap_iters=0, log_samples=True)
        found[task.name] = _result(task, told["samples"][task.name], model, shots)
    return found


def _result(task: Task, samples: Sequence[Mapping[str, Any]], model: LM, shots: int) -> Result:
    rows = sorted(samples, key=lambda sample: sample["doc_id"])
    first, *others = task.metrics
    values = {metric: np.array([row[metric] for row in rows], dtype=np.float64) for metric in task.metrics}
    asked = [task.examples[row["doc_id"]] for row in rows]
    return Result(
        values[first],
        np.array([one.chance for one in asked]),
        {metric: values[metric] for metric in others},
        metric=first,
        shots=task.shots_available(shots),
        cut=len(getattr(model, "cut", {}).get(task.name, ())),
        left_out=task.left_out,
        unmeasured=task.unmeasured,
        said=[_said(task, row) for row in rows],
        longest=sum(one.longest for one in asked) / len(asked) if first in LENGTHS else None,
    )


def _said(task: Task, row: Mapping[str, Any]) -> str:
    answers = row["filtered_resps"]
    if not row["doc"]["options"]:
        return task.said(answers[0])
    options = row["doc"]["options"]
    return options[int(np.argmax(per_length(task.metrics[0], [value for value, _ in answers], options)))]


def count_requests(tasks: Sequence[Task], limit: int | None) -> int:
    """How many requests these tasks make."""
    return sum(max(1, len(one.options)) for task in tasks for one in task.examples[:limit])
