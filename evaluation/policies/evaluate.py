"""Compare policies on the same prompts, decoded alike, along with summaries that no policy wrote.

Every rate is a fraction 0-1, KL is in nats, length in tokens without EOS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ...data.prompts import resolve_prompts
from ...envs.prompt_source import Prompt
from ...errors import InputError
from ...models.language_model import LanguageModel
from ...numbers import takes_numbers
from ...rewards.gold import gold
from ...rewards.reward import RewardFunction
from .candidates import JUDGE_SCORE, Candidate, as_scorer
from .decode import Prompts, Scorer, prepare
from .exam import Exam
from .fingerprint import fingerprint
from .independence import functions_of, independence
from .judge import Columns, Judge, ScoreJudge, resolve_judge
from .measures import figures, has_facts
from .parts import Parts
from .responses import DecodeSettings

Encode = Callable[[str], Sequence[int]]
YARDSTICKS = ("start", "references", "oracle", "lead", "random_reference", "start_best_temperature", "start_best_of_4")
"""Names of the yardsticks; no policy may have one of them."""


@dataclass
class Evaluation:
    """The results of ``evaluate_policies``, with the texts they were measured on.

    metrics: the content of ``metrics.json``; see ``figures`` for the figures of one policy.
    prompts: n prompts, as the start policy read them.
    sampled: name -> candidate at the settings' temperature, yardsticks included.
    greedy: name -> candidate decoded greedily: the policies and ``"start"``.
    start: the policy that training started from; its tokenizer reads all tokens.
    settings: how the policies were decoded.
    """

    metrics: dict[str, Any]
    prompts: list[Prompt]
    sampled: dict[str, Candidate]
    greedy: dict[str, Candidate]
    start: LanguageModel
    settings: DecodeSettings


@takes_numbers
def evaluate_policies(
    policies: Mapping[str, LanguageModel],
    start: LanguageModel,
    prompts: Prompts,
    *,
    reference: LanguageModel | None = None,
    preference: RewardFunction | None = None,
    rewards: Mapping[str, RewardFunction] | None = None,
    trained_for: Sequence[RewardFunction] | None = None,
    judge: Any = None,
    validation: Prompts | None = None,
    yardsticks: bool = True,
    settings: DecodeSettings | None = None,
    seed: int = 0,
    episodes: int = 0,
    seconds: float = 0.0,
    progress: bool = False,
    parts: str | Path | None = None,
) -> Evaluation:
    """Decode, score and judge policies on the same prompts.

    At the settings' temperature these are the policies, ``"start"``, ``"start_best_of_4"`` (picked by the preference
    score), ``"start_best_temperature"`` (chosen on ``validation`` by the preference score), ``"references"``,
    ``"random_reference"``, ``"lead"`` and ``"oracle"``; greedily, the policies and ``"start"``. What the data cannot
    provide is left out. Without a preference model, the first of ``rewards`` chooses instead; gold never does.

    Args:
        policies: name -> policy; a training run calls its own ``"trained"``.
        start: the policy that training started from.
        prompts: n prompts; with a column ``facts`` (the embedded world) there are gold figures.
        reference: the model the KL is measured from; by default the start policy.
        preference: the preference model.
        rewards: further scores to report by name, such as the training reward.
        trained_for: the functions that policies were trained for, by default ``preference`` and ``rewards``. A judge's
            training rows are compared with theirs; ``judge_shares`` counts what they have in common.
        judge: ``"gold"``, ``"preference"``, or anything ``resolve_judge`` accepts. By default gold if there are facts,
            else the preference model, else the first reward.
        validation: prompts to choose the temperature on; without them that yardstick is left out.
        yardsticks: whether to write the start policy's best of 4 and at its best temperature, which takes more time
            than all the rest.
        settings: template, budgets, temperature.
        seed: of decoding, of the random references and of the bootstrap.
        episodes: episodes trained on, for the record.
        seconds: training time, for the record.
        progress: show a progress bar.
        parts: folder that keeps finished parts, so that the same call after an interruption continues from there and
            ends the same; the caller removes it. ``None`` keeps nothing.

    Raises:
        InputError: there are no prompts, nothing to judge by, or a policy has the name of a yardstick or a different
            vocabulary from the start policy.
    """
    check_names(policies)
    for policy in policies.values():
        _check_vocabulary(policy, start)
    settings = settings or DecodeSettings()
    data = resolve_prompts(prompts)
    prepared, truncated = prepare(start, data, settings)
    functions = _functions(prepared, preference, rewards or {})
    scorers = {name: as_scorer(name, function, start.encode) for name, function in functions.items()}
    judge_name, judge, asked = _judge(judge, scorers, functions, start.encode)
    if trained_for is None:
        trained_for = [*([] if preference is None else [preference]), *(rewards or {}).values()]
    relation = independence(asked, trained_for, [row["prompt"] for row in data])
    exam = Exam(prepared, start, reference or start, settings, scorers, seed, yardsticks)
    held = None if validation is None else resolve_prompts(validation)
    memo = Parts(parts, "" if parts is None else fingerprint(vars(exam), dict(policies), held, judge))
    if memo.folder is not None and not isinstance(judge, str):
        judge = _RememberedJudge(judge, memo)
    made: dict[tuple[str, str], Candidate] = {}
    with tqdm(exam.plan(policies, held).items(), desc="evaluate", disable=not progress) as bar:
        for (name, kinds), make in bar:
            bar.set_postfix_str(f"{name}, {' and '.join(kinds)}")
            found = memo.remember(f"{' '.join(kinds)} {name}", make)
            made.update({(kind, name): exam.with_prompts(one) for kind, one in zip(kinds, found, strict=True)})
    exam.score(list(made.values()), memo, progress)
    sampled = {name: candidate for (kind, name), candidate in made.items() if kind == "sampled"}
    greedy = {name: candidate for (kind, name), candidate in made.items() if kind == "greedy"}
    best_temperature = sampled.get("start_best_temperature")
    metrics = {
        "seed": seed,
        "episodes": episodes,
        "seconds": seconds,
        "judge": judge_name,
        **relation.told(),
        "prompts": len(prepared),
        "truncated_prompts": truncated,
        "data": {"name": data.name, "synthetic": data.synthetic},
        "model": {"name": start.name, "parameters": start.num_parameters, "vocabulary": start.vocab_size},
        "temperature": settings.temperature,
        "best_temperature": best_temperature and best_temperature.temperature,
        "policies": figures(sampled, sampled.get("references"), prepared, judge, seed),
        "greedy": figures(greedy, sampled.get("references"), prepared, judge, seed),
    }
    return Evaluation(metrics, prepared, sampled, greedy, start, settings)


def check_names(names: Iterable[str]) -> None:
    """Raise :class:`InputError` if a policy has the name of a yardstick."""
    for name in names:
        if name in YARDSTICKS:
            raise InputError(f'A policy cannot be called "{name}", which is the name of a yardstick.')


def _check_vocabulary(policy: LanguageModel, start: LanguageModel) -> None:
    same = policy.tokenizer is start.tokenizer or policy.tokenizer.get_vocab() == start.tokenizer.get_vocab()
    if same and set(policy.eos_token_ids) != set(start.eos_token_ids):
        raise InputError(
            f'The policy "{policy.name}" ends a response at the tokens {list(policy.eos_token_ids)}, "{start.name}", '
            f"the model it is compared with, at {list(start.eos_token_ids)}; give both the same eos_token_id."
        )
    if not same:
        raise InputError(
            f'The policy "{policy.name}" has another vocabulary than "{start.name}", the model it is compared with; '
            "give the one that it was trained from (env.model)."
        )


class _RememberedJudge:
    """A judge that is asked only once about the same texts, even after an interruption."""

    def __init__(self, judge: Judge, memo: Parts) -> None:
        self.name, self._judge, self._memo = judge.name, judge, memo

    def compare(
        self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str], columns: Columns | None = None
    ) -> NDArray[np.float64]:
        ask = partial(self._judge.compare, prompts, a, b, columns)
        return self._memo.remember(f"judged {fingerprint(prompts, a, b)}", ask)


def _functions(
    prompts: Sequence[Prompt], preference: RewardFunction | None, rewards: Mapping[str, RewardFunction]
) -> dict[str, RewardFunction]:
    """Score name -> function, the preference score first; nothing is scored twice under two names."""
    named: dict[str, RewardFunction] = {} if preference is None else {"preference_score": preference}
    last = {"gold_score": gold} if has_facts(prompts) else {}
    taken = [*named.values(), *last.values()]
    named.update({name: function for name, function in rewards.items() if function not in taken})
    return {**named, **last}


def _judge(
    spec: Any, scorers: dict[str, Scorer], functions: Mapping[str, RewardFunction], encode: Encode
) -> tuple[str, Judge | str, list[RewardFunction]]:
    """The judge's name, the judge, and the functions that it asks.

    For a judge that only scores, it is the name of its score, added to ``scorers``.
    """
    if spec is None:
        names = [name for name in ("gold_score", "preference_score", *scorers) if name in scorers]
        if not names:
            raise InputError("There is nothing to judge by; name a judge, a preference model or a reward.")
        return names[0].removesuffix("_score"), names[0], [functions[names[0]]]
    if spec in ("gold", "preference") and f"{spec}_score" in scorers:
        return spec, f"{spec}_score", [functions[f"{spec}_score"]]
    if spec == "gold":
        raise InputError(
            'These prompts have no known facts, so "gold" cannot judge them; name a preference model or a function.'
        )
    judge = resolve_judge(spec)
    if isinstance(judge, ScoreJudge):
        scorers[JUDGE_SCORE] = as_scorer(judge.name, judge.reward, encode)
        return judge.name, JUDGE_SCORE, functions_of(judge)
    return judge.name, judge, functions_of(judge)
