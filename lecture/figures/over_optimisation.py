"""``over_optimisation``: optimised far enough, the training score rises while what it stands for falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.templates import SUMMARIZE
from ...evaluation.policies.best_of_n import best_of_n_kl
from ...evaluation.policies.decode import decode, write_samples
from ...evaluation.policies.responses import DecodeSettings
from ...evaluation.reports import canvas
from ...evaluation.reports.formats import number
from ...rewards.ensemble import PreferenceEnsemble
from ..curves import bon_form, expected_best, lost, rl_form, with_fit
from ..figure import Figure, Finding, Numbers
from ..judged import gold_of
from ..proxies import EXACT, proxy
from ..workshop import FAR, Workshop

MEMBERS = 4
BETAS = (0.1, 0.5)
"""Values of β, besides 0, for the weakest proxy."""
LINES = {"kl": "objective/kl", "proxy": "objective/score_score", "gold": "objective/score_gold"}
"""The quantities of a curve, and their keys in an agent's history."""
FITS = 0.95
"""Share of explained variance from which a form counts as fitting."""
SHOWN = 2
"""Posts whose texts are shown."""
COLOURS = ("#b8405e", "#d9772b", "#1f6fb2", "#d9a441", "#7a55a8", "#2f8f5b")


def measure(shop: Workshop) -> Numbers:
    """Gold and proxy over the root of KL: RL with no KL term and best-of-n for every proxy, and RL at some prices."""
    bests = {
        name: [_remember(shop, "bon", name, seed, partial(_best_of, shop, name, seed)) for seed in shop.seeds]
        for name in proxies(shop)
    }
    curves = {
        name: {"rl": _climbs(shop, name, found), "bon": [with_fit(best, bon_form) for best in found]}
        for name, found in bests.items()
    }
    weakest = next(iter(curves))
    ends = {str(beta): _climbs(shop, weakest, bests[weakest], beta) for beta in BETAS}
    held = {beta: [{line: run[line][-1] for line in LINES} for run in runs] for beta, runs in ends.items()}
    way = curves[weakest]["rl"][0]["peak"]["way"]
    texts = _remember(shop, "texts", weakest, 0, partial(_texts, shop, way))
    return {"curves": curves, "held": held, "texts": texts, "ensemble": _against_ensemble(curves)}


def proxies(shop: Workshop) -> dict[str, Callable[[int], Any]]:
    """Name -> a function that makes a seed's proxy: by comparisons (the weakest first), with a smaller trunk, without
    annotator noise, and (last) an ensemble."""
    few, most, smallest = shop.budget.proxies[0], shop.budget.proxies[-1], shop.sizes[0]
    return {
        **{f"{n:,} comparisons": partial(proxy, shop, n) for n in shop.budget.proxies},
        f"{few:,} comparisons, size {smallest}": partial(proxy, shop, few, size=smallest),
        f"{most:,} without noise": partial(proxy, shop, most, by=EXACT),
        f"ensemble of {MEMBERS}, {few:,} each": partial(_ensemble, shop, few),
    }


def _ensemble(shop: Workshop, comparisons: int, seed: int) -> PreferenceEnsemble:
    members = [proxy(shop, comparisons, seed + 100 * member) for member in range(MEMBERS)]
    return PreferenceEnsemble(members, "mean_minus_std")


def _remember(shop: Workshop, what: str, name: str, seed: int, make: Callable[[], Any]) -> Any:
    return shop.remember(f"over_optimisation-{what}-{_slug(name)}-seed{seed}", make)


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace(",", "")


def _far(shop: Workshop, name: str, seed: int, beta: float = 0.0) -> list[dict[str, Any]]:
    """The history of a long training on a proxy; that of the weakest shows texts on the way."""
    price = f"-beta-{beta}" if beta else ""
    _, history = shop.trained(
        f"far-{_slug(name)}{price}",
        shop.largest,
        seed,
        episodes=shop.budget.long_episodes,
        reward=proxies(shop)[name](seed),
        watched=SHOWN if not beta and name == next(iter(proxies(shop))) else 0,
        **{**FAR, "kl_coef": beta},
    )
    return history


def _climbs(shop: Workshop, name: str, bests: list[Numbers], beta: float = 0.0) -> list[Numbers]:
    """The training of every seed; gains are over one sample of the start policy, the best of 1."""
    what = f"beta-{beta}" if beta else "rl"
    runs = [_remember(shop, what, name, seed, partial(_rl, shop, name, seed, beta)) for seed in shop.seeds]
    starts = [{line: best[line][0] for line in ("proxy", "gold")} for best in bests]
    return [with_fit(run, rl_form, start) for run, start in zip(runs, starts, strict=True)]


def _rl(shop: Workshop, name: str, seed: int, beta: float = 0.0) -> Numbers:
    """KL, proxy and gold of every rollout of a training."""
    history = _far(shop, name, seed, beta)
    return {line: [row[key] for row in history] for line, key in LINES.items()}


def _texts(shop: Workshop, way: float) -> list[dict[str, Any]]:
    """What the first seed's policies write for some posts: at the start, nearest the peak of gold, and at the end."""
    name, make = next(iter(proxies(shop).items()))
    seen = [row for row in _far(shop, name, 0) if "texts" in row]
    last = seen[-1]["iteration"]
    near = min(seen, key=lambda row: abs(row["iteration"] - way * last))
    posts = shop.posts()[:SHOWN]
    start = decode(shop.model(shop.largest, "start"), posts).texts
    shown = {
        "start policy": (start, 0.0),
        "near the peak of gold": (near["texts"], near["objective/kl"]),
        "at the end": (seen[-1]["texts"], seen[-1]["objective/kl"]),
    }
    rows = [{"policy": "post", "text": row["prompt"], "post": place} for place, row in enumerate(posts)]
    for policy, (texts, kl) in shown.items():
        scores = make(0)([SUMMARIZE.render(row["prompt"]) for row in posts], texts)
        golds = gold_of(posts, texts)
        for place, (text, score, gold) in enumerate(zip(texts, scores, golds, strict=True)):
            row = {"policy": policy, "text": text.strip(), "post": place}
            rows.append({**row, "kl": kl, "proxy": float(score), "gold": float(gold)})
    return sorted(rows, key=lambda row: row["post"])


def _best_of(shop: Workshop, name: str, seed: int) -> Numbers:
    """Expected proxy and gold of best-of-n under the proxy, for n = 1, 2, 4, ...; from one draw of the most samples."""
    most = shop.budget.best_of
    drawn = shop.remember(f"over_optimisation-samples-seed{seed}", partial(_draw_samples, shop, seed))
    prompts = [prompt for prompt in drawn["prompts"] for _ in range(most)]
    score = np.array(proxies(shop)[name](seed)(prompts, drawn["texts"])).reshape(-1, most)
    gold = np.array(drawn["gold"]).reshape(-1, most)
    sizes = [2**k for k in range(int(math.log2(most)) + 1)]
    return {
        "kl": [best_of_n_kl(n) for n in sizes],
        "proxy": [expected_best(score, score, n) for n in sizes],
        "gold": [expected_best(score, gold, n) for n in sizes],
    }


def _draw_samples(shop: Workshop, seed: int) -> dict[str, list[Any]]:
    """The start policy's samples for a quarter of the posts, those of a post adjacent: the same for every proxy."""
    most, posts = shop.budget.best_of, shop.posts()
    posts = posts[: max(8, len(posts) // 4)]
    written = write_samples(shop.model(shop.largest, "start"), posts, most, DecodeSettings(), seed=seed)
    golds = gold_of([row for row in posts for _ in range(most)], written.texts)
    prompts = [prompt.text for prompt in written.prompts[::most]]
    return {"prompts": prompts, "texts": written.texts, "gold": golds.tolist()}


def _against_ensemble(curves: dict[str, Any]) -> list[dict[str, float]]:
    """Gold lost from its peak by the single model and the ensemble, at the KL that both reached, seed by seed."""
    single, *_, several = curves.values()
    result = []
    for a, b in zip(single["rl"], several["rl"], strict=True):
        reached = min(max(a["kl"]), max(b["kl"]))
        result.append({"kl": reached, "single": lost(a, reached), "ensemble": lost(b, reached)})
    return result


def draw(numbers: Numbers, path: Path) -> None:
    """Gold as lines and proxy as dashes over the root of KL, one per seed; left RL, right best-of-n."""
    seeds = len(next(iter(numbers["curves"].values()))["rl"])
    facts = f"synthetic posts; gain over the start policy; a line for each of {seeds} seeds"
    figure = canvas.figure(11.5, 4.6, "Over-optimisation", facts)
    panels = figure.subplots(1, 2)
    titles = {"rl": "RL without a KL term", "bon": "Best of n"}
    for axis, (way, title) in zip(panels, titles.items(), strict=True):
        for colour, (name, curves) in zip(COLOURS, numbers["curves"].items(), strict=False):
            for place, curve in enumerate(curves[way]):
                d = canvas.root(np.array(curve["kl"]))
                axis.plot(d, curve["gold"], color=colour, linewidth=1.5, label=name if place == 0 else None)
                axis.plot(d, curve["proxy"], color=colour, linewidth=0.9, linestyle="--", alpha=0.6)
        axis.axhline(0, color="#5f6c78", linewidth=0.8)
        canvas.style(axis, f"{title}: gold (lines) and proxy (dashes)", "KL from the start policy, nats", "gain")
    for (beta, ends), shape in zip(numbers["held"].items(), ("D", "s"), strict=True):
        d = canvas.root(np.array([end["kl"] for end in ends]))
        told: dict[str, Any] = {"color": COLOURS[0], "markeredgecolor": "white", "markersize": 9, "zorder": 4}
        panels[0].plot(d, [end["gold"] for end in ends], shape, label=f"the first, at β = {beta}: gold", **told)
    for axis in panels:
        canvas.root_scale(axis)
    canvas.legend(figure, panels[0])
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row per proxy and method, means over seeds, then one per value of β."""
    header = ["proxy", "way", "gold at its peak", "KL there", "gold at the end", "KL at the end", "R² of the form"]
    rows = []
    for name, curves in numbers["curves"].items():
        for way, title in (("rl", "RL"), ("bon", "best of n")):
            peaks = [curve["peak"] for curve in curves[way]]
            columns = (
                [p["gold"] for p in peaks],
                [p["kl"] for p in peaks],
                [p["gold_at_end"] for p in peaks],
                [curve["kl"][-1] for curve in curves[way]],
                [curve["fit"]["r2"] for curve in curves[way]],
            )
            rows.append([name, title, *(number(float(np.mean(column))) for column in columns)])
    weakest = next(iter(numbers["curves"]))
    for beta, ends in numbers["held"].items():
        gold, kl = (number(float(np.mean([end[key] for end in ends]))) for key in ("gold", "kl"))
        rows.append([weakest, f"RL, β = {beta}", "", "", gold, kl, ""])
    return header, rows


def samples(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """What policies wrote for the same posts."""
    scores = ("kl", "proxy", "gold")
    rows = [
        [row["policy"], row["text"], *(number(row[key]) if key in row else "" for key in scores)]
        for row in numbers["texts"]
    ]
    return ["policy", "text", "KL", "proxy", "gold"], rows


def finding(numbers: Numbers) -> Finding:
    """Whether gold turns over in every seed while the proxy rises, for the weakest proxy."""
    weakest = next(iter(numbers["curves"].values()))["rl"]
    turned = sum(curve["peak"]["turned"] and curve["peak"]["proxy_rose"] for curve in weakest)
    r2 = {
        way: [curve["fit"]["r2"] for curves in numbers["curves"].values() for curve in curves[way]]
        for way in ("rl", "bon")
    }
    climbs = [curve for curves in numbers["curves"].values() for curve in curves["rl"]]
    well, well_free = (sum(curve[fit]["r2"] >= FITS for curve in climbs) for fit in ("fit", "fit_free"))
    halved = sum(pair["ensemble"] <= pair["single"] / 2 for pair in numbers["ensemble"])
    held = [number(float(np.mean([end["gold"] for end in ends]))) for ends in numbers["held"].values()]
    values = {
        "turned": str(turned),
        "halved": str(halved),
        "seeds": str(len(weakest)),
        "rl": _span(r2["rl"]),
        "bon": _span(r2["bon"]),
        "runs": str(len(climbs)),
        "well": str(well),
        "well_free": str(well_free),
        "free": number(float(np.mean([curve["peak"]["gold_at_end"] for curve in weakest]))),
        "betas": ", ".join(numbers["held"]),
        "held": ", ".join(held),
    }
    return Finding(turned == len(weakest), values)


def _span(values: list[float]) -> str:
    return f"{number(min(values))}-{number(max(values))}"


FIGURE = Figure("over_optimisation", measure, draw, table, finding, samples)
