"""``intent``: a language model completes text; it does not do what the user meant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from ...data.prompts import instruction_prompts
from ...data.world import post
from ...data.world.instructions import UNSEEN, task
from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval, percent
from ...models.language_model import LanguageModel
from ...rewards.functions import answer_words, exact_match
from ..figure import Figure, Finding, Numbers
from ..instructed import ASKED_FROM, instructed, share
from ..preferred import aligned
from ..workshop import Workshop

FAMILIES = ("where", "gap_thing", "choose_thing", "who", "when", "topic", "sentiment", "count")
"""Families asked: their answers come from a closed set; the first three are held out of training."""
ANSWERS_FROM = 3000
"""Training posts whose accepted answers make up the closed set."""
MODELS = {"pretrained": "pretrained", "tuned": "instruction-tuned", "aligned": "RLHF"}
MEASURES = {"attempts": ("attempts the task", "#d9a441"), "right": ("is right", "#2f8f5b")}
SHOWN = 80
"""Characters of a reply in the table."""

Known = Mapping[str, frozenset[tuple[str, ...]]]


@cache
def known_answers(posts: int = ANSWERS_FROM) -> Known:
    """Family -> every answer that it accepts for any of that many training posts, as ``answer_words``."""
    made = [post("train", index) for index in range(posts)]
    return {
        family: frozenset(answer_words(answer) for item in made for answer in task(item, family).answers)
        for family in FAMILIES
    }


def measure(shop: Workshop) -> Numbers:
    """Greedy replies of the three models to the same instructions: which attempt the task, and which are right."""
    runs = {model: [_replies(shop, model, seed) for seed in shop.seeds] for model in MODELS}
    alike = {
        model: {
            measure: share([np.mean([run["families"][f][measure] for f in FAMILIES], axis=0) for run in of_seed])
            for measure in MEASURES
        }
        for model, of_seed in runs.items()
    }
    return {
        "size": shop.largest,
        "pairs": shop.budget.examples[-1],
        "posts": shop.budget.asked,
        "models": alike,
        "families": {family: _family(family, runs) for family in FAMILIES},
        "preference_models": [
            shop.remember(f"intent-preference-seed{seed}", partial(_preference, shop, seed)) for seed in shop.seeds
        ],
    }


def _family(family: str, runs: Mapping[str, Any]) -> Numbers:
    """Shares of one family by model, and one prompt with the three replies."""
    shares = {
        model: {measure: share([run["families"][family][measure] for run in of_seed]) for measure in MEASURES}
        for model, of_seed in runs.items()
    }
    examples = {model: of_seed[0]["families"][family]["example"] for model, of_seed in runs.items()}
    first = examples["pretrained"]
    return {
        "unseen": family in UNSEEN,
        "shares": shares,
        "example": {**first, "reply": {model: example["reply"] for model, example in examples.items()}},
    }


def _replies(shop: Workshop, model: str, seed: int) -> Numbers:
    name = "pretrained" if model == "pretrained" else f"{model}-seed{seed}"
    found: Numbers = shop.remember(f"intent-{name}", partial(_ask, shop, model, seed))
    return found


def _preference(shop: Workshop, seed: int) -> Numbers:
    """The accuracy of the preference model used for the RLHF model."""
    facts: Numbers = aligned(shop, seed)[1]["preference_model"]
    return facts


def _ask(shop: Workshop, model: str, seed: int) -> Numbers:
    lm, known = _load(shop, model, seed), known_answers()
    return {"families": {family: _ask_family(shop, lm, family, known) for family in FAMILIES}}


def _load(shop: Workshop, model: str, seed: int) -> LanguageModel:
    if model == "aligned":
        return aligned(shop, seed)[0]
    return instructed(shop, shop.largest, shop.budget.examples[-1] if model == "tuned" else 0, seed)


def _ask_family(shop: Workshop, lm: LanguageModel, family: str, known: Known) -> Numbers:
    """0 or 1 for every post, and the first prompt with its reply."""
    from ...evaluation.policies.decode import decode
    from ...evaluation.policies.instructions import SETTINGS
    from ...models.distribution import Decoding

    rows = instruction_prompts("test", shop.budget.asked, ASKED_FROM, [family])
    replies = decode(lm, rows, SETTINGS, Decoding(greedy=True)).texts
    accepted = {name: [row[name] for row in rows] for name in ("reference", "references")}
    item = post("test", rows[0]["post_index"])
    return {
        "attempts": attempts(replies, known[family]),
        "right": exact_match([], replies, **accepted),
        "example": {
            "instruction": task(item, family).instruction,
            "prompt": rows[0]["prompt"],
            "answer": rows[0]["reference"],
            "reply": replies[0],
        },
    }


def attempts(replies: list[str], known: frozenset[tuple[str, ...]]) -> list[float]:
    """1 where a reply is nothing but an answer that the family has for some post; else 0."""
    return [float(answer_words(reply) in known) for reply in replies]


def draw(numbers: Numbers, path: Path) -> None:
    """For each model the share of replies that attempt the task, and that are right."""
    facts = f"{numbers['size']} parameters; {len(FAMILIES)} kinds of tasks, {numbers['posts']} synthetic posts each"
    figure = canvas.figure(6.4, 3.8, "Completing text, or doing what was asked", f"{facts}; 95 % intervals")
    axis = figure.subplots()
    places, width = np.arange(len(MODELS)), 0.36
    for side, (measure, (told, colour)) in enumerate(MEASURES.items()):
        rows = [numbers["models"][model][measure] for model in MODELS]
        low, mean, high = (100 * np.array([row[bound] for row in rows]) for bound in ("low", "mean", "high"))
        x = places + (side - 0.5) * width
        axis.bar(x, mean, width, yerr=[mean - low, high - mean], color=colour, capsize=3, label=told)
    axis.set_xticks(places, list(MODELS.values()))
    axis.set_ylim(0, 100)
    canvas.style(axis, "The reply ...", "", "% of replies")
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """The shares of every model over all families, then of each family, with one instruction and its replies."""
    rows = [
        ["all", name, *(interval(numbers["models"][model][measure]) for measure in MEASURES), ""]
        for model, name in MODELS.items()
    ]
    for found in numbers["families"].values():
        label = f"{found['example']['instruction']}{' (unseen)' if found['unseen'] else ''}"
        for model, name in MODELS.items():
            shares = (percent(found["shares"][model][measure]["mean"]) for measure in MEASURES)
            rows.append([label, name, *shares, shorten(found["example"]["reply"][model], SHOWN, placeholder=" ...")])
    return ["asked", "model", *(told for told, _ in MEASURES.values()), "text"], rows


def finding(numbers: Numbers) -> Finding:
    """Whether the pretrained model attempts the task less often than the two others, intervals apart."""
    models = numbers["models"]
    before, *after = (models[model]["attempts"] for model in MODELS)
    agrees: bool | None = None
    if all(found["low"] > before["high"] for found in after):
        agrees = True
    elif any(found["high"] < before["low"] for found in after):
        agrees = False
    accuracies = [facts["accuracy"]["mean"] for facts in numbers["preference_models"]]
    said = {f"{model}_{measure}": interval(models[model][measure]) for model in MODELS for measure in MEASURES}
    return Finding(agrees, {**said, "accuracy": percent(float(np.mean(accuracies)))})


FIGURE = Figure("intent", measure, draw, table, finding)
