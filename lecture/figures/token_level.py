"""``token_level``: the supervised loss weighs every token equally, and cannot tell a wrong fact from a synonym."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from ...data.templates import SUMMARIZE
from ...data.world import Post, oracle, post
from ...data.world.corruptions import one_wrong_fact, reworded
from ...data.world.drafts import stable_hash
from ...data.world.summaries import complete
from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval
from ...evaluation.win_rate import win_rate
from ...models.language_model import LanguageModel
from ...rewards.gold import gold_score
from ..figure import Figure, Finding, Numbers
from ..workshop import Workshop

TRIES = 16
"""Wordings of each post's summary, with and without a wrong fact, to search for pairs."""
NEAR = 0.02
"""Relative difference in loss up to which two texts count as equal."""

SIDES = ("harmless", "wrong", "before harmless", "before wrong")
"""The two texts of a pair, and what each was before its one phrase was changed."""


def measure(shop: Workshop) -> Numbers:
    """Pairs of summaries with the same loss, one of which has a wrong fact: what prefers the right one."""
    return shop.remember("token_level", lambda: _measure(shop))


def _measure(shop: Workshop) -> Numbers:
    lm, pm = shop.model(shop.largest, "start"), shop.preference()
    pairs: list[dict[str, Any]] = []
    tried = 0
    while len(pairs) < shop.budget.pairs and tried < 20 * shop.budget.pairs:
        pair = _pair(lm, post("test", tried))
        tried += 1
        pairs += [pair] if pair is not None else []
    prompts = [pair["prompt"] for pair in pairs]
    scores = {side: pm.score(prompts, [pair[side] for pair in pairs]) for side in SIDES}
    prefers = {
        "supervised loss": win_rate(
            [-pair["loss_harmless"] for pair in pairs], [-pair["loss_wrong"] for pair in pairs], tie_tolerance=0.0
        ),
        "preference model": win_rate(scores["harmless"], scores["wrong"]),
        "gold": win_rate([pair["gold_harmless"] for pair in pairs], [pair["gold_wrong"] for pair in pairs]),
    }
    minds = {
        "the wrong fact": win_rate(scores["before wrong"], scores["wrong"]),
        "the synonym": win_rate(scores["before harmless"], scores["harmless"]),
    }
    return {"posts": tried, "pairs": len(pairs), "prefers": prefers, "minds": minds, "examples": pairs[:3]}


def _pair(lm: LanguageModel, item: Post) -> dict[str, Any] | None:
    """The two texts nearest in loss, one right but reworded, one with a wrong fact; None if none are near enough."""
    rng = random.Random(stable_hash("token-level", item.index))
    plain = list(dict.fromkeys([oracle(item), *(complete(item.draft, rng.random) for _ in range(TRIES))]))
    wrong = {one_wrong_fact(item, text, rng): text for text in plain}
    right = {reworded(item, text, rng): text for text in plain for _ in range(2)}
    prompt = SUMMARIZE.render(item.text)
    texts = [*right, *wrong]
    losses = loss_of(lm, prompt, [SUMMARIZE.render_response(text) for text in texts])
    a, b = losses[: len(right), None], losses[None, len(right) :]
    gap = np.abs(a - b) / np.minimum(a, b)
    i, j = np.unravel_index(gap.argmin(), gap.shape)
    if gap[i, j] > NEAR:
        return None
    harmless, bad = texts[i], texts[len(right) + j]
    facts = item.facts.as_dict()
    golds = [gold_score(facts, item.distractors, text).total for text in (harmless, bad)]
    told = dict(zip(SIDES, (harmless, bad, right[harmless], wrong[bad]), strict=True))
    return {
        "prompt": prompt,
        **{side: SUMMARIZE.render_response(text) for side, text in told.items()},
        "loss_harmless": float(losses[i]),
        "loss_wrong": float(losses[len(right) + j]),
        "gold_harmless": golds[0],
        "gold_wrong": golds[1],
    }


def loss_of(lm: LanguageModel, prompt: str, texts: list[str]) -> np.ndarray:
    """Nats of each text after the prompt, including EOS: the loss that supervised fine-tuning minimises; (n,)."""
    import torch

    from ...models.distribution import Decoding
    from ...models.forward import token_log_probs

    head = lm.encode_prompt(prompt)
    rows = [lm.encode_response(prompt, text) for text in texts]
    width = max(map(len, rows))
    tokens = torch.tensor([head + row + [lm.pad_token_id] * (width - len(row)) for row in rows])
    real = torch.tensor([[True] * (len(head) + len(row)) + [False] * (width - len(row)) for row in rows])
    with torch.no_grad():
        log_probs = token_log_probs(lm.model, tokens, real, width, lm.vocab_size, Decoding())
    return -torch.where(real[:, -width:], log_probs.double(), 0.0).sum(1).numpy()


def draw(numbers: Numbers, path: Path) -> None:
    """Bars of how often each prefers the harmless text."""
    figure = canvas.figure(6.0, 3.2, "Equal loss, unequal worth", f"{numbers['pairs']} pairs of synthetic summaries")
    axis = figure.subplots()
    for place, (name, rate) in enumerate(numbers["prefers"].items()):
        error = [[100 * (rate["mean"] - rate["low"])], [100 * (rate["high"] - rate["mean"])]]
        axis.barh(place, 100 * rate["mean"], xerr=error, color="#1f6fb2", capsize=3, label=name)
    axis.set_yticks(range(len(numbers["prefers"])), list(numbers["prefers"]))
    axis.axvline(50, color="#5f6c78", linestyle="--", linewidth=1)
    axis.set_xlim(0, 100)
    canvas.style(axis, "Prefers the text without the wrong fact", "% of pairs", "")
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row per judge, and what the preference model minds when one phrase of a text is changed."""
    rows = [[f"{name}: prefers the harmless text", interval(rate)] for name, rate in numbers["prefers"].items()]
    rows += [[f"preference model: minds {what} in the same text", interval(r)] for what, r in numbers["minds"].items()]
    return ["judge", "share of pairs"], rows


def finding(numbers: Numbers) -> Finding:
    """Whether the loss is at chance and the preference model and gold are at 75 % or more."""
    loss, learned, gold = (numbers["prefers"][name] for name in ("supervised loss", "preference model", "gold"))
    holds = loss["low"] <= 0.5 <= loss["high"] and min(learned["mean"], gold["mean"]) >= 0.75
    fact, synonym = (numbers["minds"][what] for what in ("the wrong fact", "the synonym"))
    rates = {"loss": loss, "learned": learned, "gold": gold, "fact": fact, "synonym": synonym}
    return Finding(holds, {**{name: interval(rate) for name, rate in rates.items()}, "pairs": str(numbers["pairs"])})


FIGURE = Figure("token_level", measure, draw, table, finding)
