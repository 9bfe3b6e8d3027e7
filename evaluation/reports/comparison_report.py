"""The report of several agents side by side: ``report.md`` and ``report.html``, and the tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..policies.comparison import CONTROLLED, RATES, WAYS
from ..policies.evaluate import Evaluation
from .document import Heading, Paragraph, Part, Picture, Table
from .formats import NONE, difference, digits_of, estimate, interval, label, label_figure, number
from .frontier import frontier
from .judge_words import judged_by
from .plots import win_rates
from .run_report import FIGURES_EXPLAINED, every_text, model_size, notice, sample_parts, write_pages
from .tables import align, figure_table

Metrics = Mapping[str, Any]
Cells = tuple[list[str], list[list[str]]]

TITLES = {
    "win_rate_vs_references": "vs references",
    "win_rate_vs_start": "vs start",
    CONTROLLED: "vs start, equal length",
    "kl": "KL",
    "length": "tokens",
}
SPOKEN_PAIRS = 3
"""With more differences than this, they are only in their table."""


def write_comparison(
    folder: str | Path, evaluation: Evaluation, score: str, *, title: str, config: str = "", samples: int = 3
) -> Path:
    """Write the pictures, ``samples.jsonl`` (every text), ``report.md`` and ``report.html`` into ``folder``.

    Args:
        folder: files with those names are replaced, each atomically.
        evaluation: of all runs; its metrics hold the ``agents`` and ``differences`` of ``compare_agents``.
        score: name of the training score.
        title: of the report.
        config: the resolved configuration as text.
        samples: how many posts to show, with the first run of each agent.

    Returns:
        The path of ``report.html``.
    """
    folder, metrics = Path(folder), evaluation.metrics
    first = [agent["runs"][0] for agent in metrics["agents"].values()]
    parts: list[Part] = [
        Paragraph(notice(metrics), "notice"),
        Heading(title, 1),
        Paragraph(headline(metrics), "headline"),
        *_tables(metrics),
        *_pictures(folder, metrics, score),
        *_every_run(metrics),
        *sample_parts(evaluation, samples, [n for n in ("references", "start") if n in evaluation.sampled] + first),
        *_method(evaluation),
    ]
    return write_pages(folder, every_text(evaluation), title, parts, config)


def agent_table(metrics: Metrics, way: str = "sampled") -> Cells:
    """Header and rows: the start policy, then one agent per row, every figure with its interval."""
    agents, start = metrics["agents"], metrics[WAYS[way]]["start"]
    known = {key for agent in agents.values() for key in agent[way]} - {"minus_start", "win_rate_vs_start", CONTROLLED}
    own = {key: start[key] for key in start if key in known}
    told = {label("start"): [NONE, NONE, NONE]} | {
        name: [str(len(agent["runs"])), f"{agent['episodes']:,.0f}", f"{agent['seconds']:.0f} s"]
        for name, agent in agents.items()
    }
    figures = {label("start"): own} | {name: agent[way] for name, agent in agents.items()}
    return _cells(["runs", "episodes", "training"], told, figures, _figure)


def gap_table(metrics: Metrics, way: str = "sampled") -> Cells:
    """Header and rows: paired differences between agents."""
    pairs = {f"{pair['a']} − {pair['b']}": pair for pair in metrics["differences"]}
    told = {name: [_paired(pair)] for name, pair in pairs.items()}
    figures = {name: pair[way] for name, pair in pairs.items()}
    return _cells(["paired"], told, figures, lambda key, v: difference(v, key in RATES, digits_of(key)))


def comparison_summary(metrics: Metrics) -> str:
    """The tables as aligned text."""
    parts = [f"{metrics['prompts']} prompts; [95 % interval]; KL in nats\n{judged_by(metrics)}"]
    for way in WAYS:
        parts += [_way(metrics, way), align(*agent_table(metrics, way))]
    if metrics["differences"]:
        parts += ["differences, sampled", align(*gap_table(metrics))]
    return "\n\n".join(parts)


def headline(metrics: Metrics) -> str:
    """The result in a few sentences."""
    start = metrics["policies"]["start"]
    references = start["win_rate_vs_references"] is not None
    rate = "win_rate_vs_references" if references else "win_rate_vs_start"
    won = [f"{name} {interval(agent['sampled'][rate])}" for name, agent in metrics["agents"].items()]
    if references:
        won.append(f"the start policy {interval(start[rate])}")
    sentences = [f"Wins against the {'references' if references else 'start policy'}, sampled: {', '.join(won)}."]
    key = "gold_score" if start["gold_score"] is not None else _score_names(metrics)[0]
    if len(metrics["differences"]) <= SPOKEN_PAIRS:
        sentences += [
            f"{pair['a']} minus {pair['b']}: {_title(key)} {difference(pair['sampled'][key])}, {_paired(pair)}."
            for pair in metrics["differences"]
        ]
    sentences.append(judged_by(metrics))
    return " ".join(sentences)


def _tables(metrics: Metrics) -> list[Part]:
    parts: list[Part] = [Heading("Agents")]
    for way in WAYS:
        parts += [Heading(_way(metrics, way).capitalize(), 3), Table(*agent_table(metrics, way))]
    parts.append(Paragraph(_intervals(metrics)))
    if len({agent["episodes"] for agent in metrics["agents"].values()}) > 1:
        told = "The agents were not trained for the same number of episodes, so their budgets differ too."
        parts.append(Paragraph(told))
    if metrics["differences"]:
        parts += [Heading("Differences, sampled", 3), Table(*gap_table(metrics))]
        parts.append(Paragraph("A difference whose interval contains 0 may be no difference."))
    return parts


def _intervals(metrics: Metrics) -> str:
    """What the intervals are over."""
    over = {agent["over"] for agent in metrics["agents"].values()}
    told = []
    if "seeds and prompts" in over:
        told.append(
            "An agent with several runs has the mean over its runs; the interval is for other seeds (Student's t, wide "
            "with few seeds) and other prompts."
        )
    if "prompts" in over:
        told.append(
            "An agent with a single run has intervals over prompts, which say nothing about how another seed would do."
        )
    return " ".join(told)


def _pictures(folder: Path, metrics: Metrics, score: str) -> list[Part]:
    data = metrics["data"]
    below = (
        f"{'synthetic data' if data['synthetic'] else 'data'}: {data['name']}, {metrics['prompts']} prompts; "
        f"{model_size(metrics['model'])}; judge: {metrics['judge']}; training seeds {_seeds(metrics)}"
    )
    frontier(metrics, folder / "frontier.png", score, subtitle=below)
    win_rates(metrics, folder / "win_rates.png", subtitle=below)
    explained = (
        "Small marks are runs, large ones agent means. Their bars are 95 % intervals of the gain over the "
        "start policy, which is at KL 0, and of the KL. Of two agents at the same KL, the higher is better; "
        "where the left panel rises and gold does not, only the preference model was pleased."
    )
    return [
        Heading("Pictures"),
        Picture("frontier.png", "Mean score over KL for every run and agent: the score trained on, and gold"),
        Paragraph(explained),
        Picture("win_rates.png", "Win rates of every run with 95 % intervals"),
    ]


def _every_run(metrics: Metrics) -> list[Part]:
    parts: list[Part] = [Heading("Every run")]
    for way, key in WAYS.items():
        parts += [Heading(_way(metrics, way).capitalize(), 3), Table(*figure_table(metrics[key]))]
    return [*parts, Paragraph(FIGURES_EXPLAINED)]


def _method(evaluation: Evaluation) -> list[Part]:
    metrics, settings = evaluation.metrics, evaluation.settings
    told = (
        f"All runs read the same {metrics['prompts']} held-out prompts in the same template, cut to "
        f"{settings.max_prompt_tokens} tokens if longer ({metrics['truncated_prompts']} were), and write "
        f"at most {settings.max_new_tokens} tokens with the same random numbers (seed {metrics['seed']}): once sampled "
        f"from the full distribution, once greedily. Training seeds: {_seeds(metrics)}; runs with the same seed drew "
        "prompts and tokens with the same random numbers."
    )
    return [Heading("How it was measured"), Paragraph(told)]


def _cells(
    head: list[str],
    told: Mapping[str, list[str]],
    figures: Mapping[str, Mapping[str, Any]],
    show: Callable[[str, Any], str],
) -> Cells:
    """A table of figures by name, without those that nobody has."""
    scores = dict.fromkeys(key for row in figures.values() for key in row if key not in (*TITLES, "minus_start"))
    keys = [key for key in (*RATES, CONTROLLED, *scores, "kl", "length") if any(key in row for row in figures.values())]
    rows = [
        [name, *told[name], *(show(key, row[key]) if key in row else NONE for key in keys)]
        for name, row in figures.items()
    ]
    return ["", *head, *map(_title, keys)], rows


def _figure(key: str, values: Mapping[str, float] | float) -> str:
    if isinstance(values, float):
        return number(values, digits_of(key))
    return interval(values) if key in (*RATES, CONTROLLED) else estimate(values, digits_of(key))


def _title(key: str) -> str:
    return TITLES.get(key, label_figure(key.removesuffix("_score")))


def _paired(pair: Mapping[str, Any]) -> str:
    return "over prompts, one run each" if pair["over"] == "prompts" else f"over {len(pair['seeds'])} seeds"


def _way(metrics: Metrics, way: str) -> str:
    return f"sampled at temperature {number(metrics['temperature'], 1)}" if way == "sampled" else "greedy"


def _score_names(metrics: Metrics) -> list[str]:
    agent = next(iter(metrics["agents"].values()))
    return [key for key in agent["sampled"] if key not in (*TITLES, "minus_start")]


def _seeds(metrics: Metrics) -> str:
    seeds = {seed for agent in metrics["agents"].values() for seed in agent["seeds"] if seed is not None}
    return ", ".join(map(str, sorted(seeds))) or "unknown"
