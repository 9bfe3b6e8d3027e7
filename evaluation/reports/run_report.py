"""A run's report, the first thing to look at: ``report.md``, and ``report.html``, which needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...agents.validated import since_best, validations
from ...files import write_text
from ..policies.evaluate import Evaluation
from . import token_colours
from .document import Code, Heading, Paragraph, Part, Picture, Quote, Raw, Table, to_html, to_markdown
from .formats import difference, interval, label, label_one, number
from .judge_words import judged_by
from .plots import History, learning_curves, score_against_kl, validation_curves, win_rates
from .tables import difference_table, figure_table, shown, training_table, validation_table

Metrics = Mapping[str, Any]

SMALL = 100_000_000
"""Number of parameters below which a model has no world knowledge to speak of."""

FIGURES_EXPLAINED = (
    "Win rates are asked in both orders, count a tie as half, and have 95 % intervals (Wilson, over "
    'prompts). "Equal length" is the same win rate as a logistic regression predicts it for two texts of the same '
    "number of tokens, with a bootstrap interval. KL is in nats per response, of the policy as sampled, relative to "
    "the reference policy; for greedy responses it is their log-ratio. "
    '"Tokens" excludes EOS, "EOS" is the share of responses that ended within '
    'the budget, "repeated" the share of word triples that occurred earlier in the same text, "invented" the number '
    'of stated facts that are not in the post. "Names" and "numbers" are those per text that its whole prompt does not '
    "have: capitalised words where no sentence begins, and numbers in digits; both are lower bounds, and references "
    "invent too. ROUGE (F) is of stemmed words, against the best of a prompt's references; the references' own is that "
    "of the first against the others, where there are several."
)
"""Explains the columns of a table of figures."""

PARTS_EXPLAINED = (
    "Means over training samples up to that episode, each part before its weight. A part of weight 0 is "
    "only watched, not paid: where a paid part rises and a watched one falls, the policy has learned "
    "to please the one at the expense of the other."
)


def write_report(
    folder: str | Path,
    evaluation: Evaluation,
    history: History = (),
    *,
    title: str = "Report",
    weights: Mapping[str, float] | None = None,
    kl_coef: float | None = None,
    missing_eos_penalty: float = 1.0,
    config: str = "",
    samples: int = 6,
    kept: int | None = None,
) -> Path:
    """Write the pictures, ``samples.jsonl`` (every text), ``report.md`` and ``report.html`` into ``folder``.

    Args:
        folder: the run folder; files with those names are replaced, each atomically.
        evaluation: as ``evaluate_policies`` returns it.
        history: training scalars by iteration; without it there are no learning curves.
        title: of the report.
        weights: the training reward, as score name -> weight; by default the preference score, or the first score.
        kl_coef: β of training; without it the report colours no tokens.
        missing_eos_penalty: of training.
        config: the resolved configuration as text.
        samples: how many posts to show; always the first ones, never selected.
        kept: the iteration whose weights are judged, if the best validation chose them; else they are the last.

    Returns:
        The path of ``report.html``.
    """
    folder, metrics = Path(folder), evaluation.metrics
    scores = evaluation.sampled["start"].scores
    weights = weights or dict.fromkeys([*(n for n in scores if n == "preference_score"), *scores][:1], 1.0)
    parts: list[Part] = [
        Paragraph(notice(metrics), "notice"),
        Heading(title, 1),
        Paragraph(headline(metrics), "headline"),
        *_figures(metrics),
        *_draw(folder, metrics, history, max(weights, key=lambda name: abs(weights[name]))),
        *_validation(folder, metrics, history, kept),
        *sample_parts(evaluation, samples),
        *([] if kl_coef is None else _tokens(evaluation, weights, kl_coef, missing_eos_penalty)),
        *_method(evaluation),
    ]
    return write_pages(folder, every_text(evaluation), title, parts, config)


def write_pages(
    folder: Path, texts: Sequence[Mapping[str, Any]], title: str, parts: list[Part], config: str | None
) -> Path:
    """Write a report as Markdown and HTML, with every judged text beside it; gives the path of ``report.html``."""
    if config:
        parts = [*parts, Heading("Configuration"), Code(config)]
    write_text(folder / "samples.jsonl", "".join(f"{json.dumps(row)}\n" for row in texts))
    write_text(folder / "report.md", to_markdown(parts))
    return write_text(folder / "report.html", to_html(title, parts, folder))


def notice(metrics: Metrics) -> str:
    """The report's first line: data, model, vocabulary, seed, and what a model of that size cannot do."""
    data, model = metrics["data"], metrics["model"]
    kind = "Synthetic data" if data["synthetic"] else "Data given by the user"
    told = (
        f"{kind}: {data['name']}, {metrics['prompts']} prompts. Model: {model['name']}, {model_size(model)}, "
        f"seed {metrics['seed']}."
    )
    if model["parameters"] >= SMALL:
        return f"{told} Even a fluent model states things that its post does not say: read the samples too."
    limits = (
        "A model this small cannot do what language models are known for: it knows nothing beyond the text it was "
        "trained on, cannot answer questions, follow instructions or reason, and drops or invents facts as soon as a "
        "post is unlike that text."
    )
    if not data["synthetic"] and "embedded" in model["name"]:
        limits += " It has only read synthetic posts, so it writes no usable summaries of real ones."
    return f"{told} {limits} The figures show how an algorithm optimises a preference, not what an assistant can do."


def headline(metrics: Metrics) -> str:
    """The result in a few sentences."""
    policies, sentences = metrics["policies"], []
    start = policies["start"]
    for name, row in policies.items():
        if name == "start" or name not in metrics["greedy"]:
            continue
        against = row["win_rate_vs_references"]
        if against is not None:
            gain = difference(row["minus_start"]["win_rate_vs_references"], share=True)
            sentences.append(
                f"The {label(name)} wins against the references on {interval(against)} of the prompts, the start "
                f"policy on {interval(start['win_rate_vs_references'])}: {gain}."
            )
        sentences.append(
            f"Head to head with the start policy, the {label(name)} wins {interval(row['win_rate_vs_start'])}, "
            f"{interval(row['win_rate_vs_start_length_controlled'])} at equal length, at a mean KL of "
            f"{number(row['kl'], 1)} nats."
        )
        if row["rougeL"] is not None:
            gain = difference(row["minus_start"]["rougeL"], digits=3)
            sentences.append(f"ROUGE-L: {number(row['rougeL']['mean'], 3)}, {gain} beside the start policy.")
    sentences.append(judged_by(metrics))
    if metrics["episodes"]:
        sentences.append(f"Training: {metrics['episodes']:,} episodes in {metrics['seconds'] / 60:.1f} minutes.")
    return " ".join(sentences)


def _figures(metrics: Metrics) -> list[Part]:
    parts: list[Part] = [
        Heading("Figures"),
        Heading(f"Sampled at temperature {number(metrics['temperature'], 1)}", 3),
        Table(*figure_table(metrics["policies"])),
    ]
    if metrics["greedy"]:
        parts += [Heading("Decoded greedily", 3), Table(*figure_table(metrics["greedy"]))]
    header, rows = difference_table(metrics["policies"])
    if rows:
        parts += [Heading("Paired by prompt, sampled", 3), Table(header, rows)]
    return [*parts, Paragraph(FIGURES_EXPLAINED)]


def _draw(folder: Path, metrics: Metrics, history: History, score: str) -> list[Part]:
    """Draw the pictures into the folder; the parts that show them."""
    data = metrics["data"]
    kind = "synthetic data" if data["synthetic"] else "data"
    below = (
        f"{kind}: {data['name']}, {metrics['prompts']} prompts; {model_size(metrics['model'])}; "
        f"judge: {metrics['judge']}; seed {metrics['seed']}"
    )
    win_rates(metrics, folder / "win_rates.png", subtitle=below)
    score_against_kl(metrics, history, folder / "score_against_kl.png", score, subtitle=below)
    explained = (
        "Bars at the points are 95 % intervals of the paired difference to the start policy. The KL of best-of-4 is "
        "known without sampling: log 4 - 3/4 = 0.64 nats."
    )
    if metrics["policies"]["start"]["gold_score"] is not None:
        explained += (
            " Where the score on the left rises and gold does not, the policy only learned to please the preference "
            "model."
        )
    parts: list[Part] = [
        Heading("Pictures"),
        Picture("win_rates.png", "Win rates of every candidate with 95 % intervals"),
        Picture("score_against_kl.png", "Mean score over KL: start, trained, best of 4, and the path of training"),
        Paragraph(explained),
    ]
    if history:
        learning_curves(history, folder / "learning_curves.png", subtitle=below)
        parts.append(Picture("learning_curves.png", "Score, KL, reward, length and value loss over training episodes"))
    header, rows = training_table(history)
    if rows:
        parts += [Heading("Parts of the reward over training", 3), Table(header, rows), Paragraph(PARTS_EXPLAINED)]
    return parts


def _validation(folder: Path, metrics: Metrics, history: History, kept: int | None) -> list[Part]:
    """What validation prompts showed during training, and which weights were kept."""
    header, rows = validation_table(history)
    if not rows:
        return []
    kind = "synthetic data" if metrics["data"]["synthetic"] else "data given by the user"
    below = f"{kind}; {model_size(metrics['model'])}; scored by the reward of training; seed {metrics['seed']}"
    validation_curves(history, folder / "validation.png", subtitle=below)
    found, without = validations(history), since_best(history)
    told = (
        f"{len(found)} validations, all of the same prompts with the same random numbers, compared by score - β KL "
        "with the β that the run began with. "
    )
    told += f"After the best, {without} in a row were not better. " if without else ""
    last = int(found[-1]["iteration"])
    told += (
        f"The weights judged here are the last ones, after iteration {last}."
        if kept is None
        else f"The weights judged here are those after iteration {kept} of {last}, which validated best."
    )
    return [
        Heading("Validation during training", 3),
        Picture("validation.png", "Score, KL and reference overlap on validation prompts over training episodes"),
        Table(header, rows),
        Paragraph(told),
    ]


def sample_parts(evaluation: Evaluation, count: int, names: Sequence[str] = ()) -> list[Part]:
    """The first prompts, and what candidates wrote for each; by default the policies and their yardsticks."""
    count = min(count, len(evaluation.prompts))
    names = list(dict.fromkeys(names or [*shown(evaluation), "start_best_of_4", "oracle"]))
    candidates = {name: evaluation.sampled[name] for name in names if name in evaluation.sampled}
    scores = list(evaluation.sampled["start"].scores)
    header = ["", "text", *(score.removesuffix("_score") for score in scores), "tokens"]
    parts: list[Part] = [
        Heading("Samples"),
        Paragraph(f"The first {count} prompts, not selected; sampled, not greedy."),
    ]
    for index in range(count):
        rows = [
            [
                label_one(name),
                candidate.texts[index].strip(),
                *(number(candidate.scores[score][index]) for score in scores),
                str(candidate.lengths[index]),
            ]
            for name, candidate in candidates.items()
        ]
        parts += [Heading(f"Prompt {index + 1}", 3), Quote(evaluation.prompts[index].row["prompt"])]
        parts.append(Table(header, rows, prose=("text",)))
    return parts


def _tokens(
    evaluation: Evaluation, weights: Mapping[str, float], kl_coef: float, missing_eos_penalty: float
) -> list[Part]:
    """Three summaries of the first trained policy, token by token."""
    name = next((name for name in evaluation.greedy if name != "start"), "start")
    candidate = evaluation.sampled[name]
    responses = candidate.responses
    assert responses is not None  # a policy wrote them
    scores = -missing_eos_penalty * responses.cut_off  # (n,)
    for score, weight in weights.items():
        scores = scores + weight * candidate.scores[score]
    explained = (
        f"Three summaries of the {label(name)}, sampled. Each token is paid -β (log π - log π_ref) with "
        f"β = {kl_coef:g}: red where the policy writes what the reference would rarely write, blue where it writes "
        "what the reference would write more readily; deeper is more. The last token is paid the score as well. "
        "In the HTML report, hover over a token to see its reward."
    )
    parts: list[Part] = [Heading("Rewards by token"), Paragraph(explained)]
    for row in range(min(3, len(responses))):
        paid = float(scores[row])
        tokens = token_colours.token_rewards(responses, row, evaluation.start.decode, kl_coef, paid)
        total = sum(token.reward for token in tokens)
        end = " (minus the penalty for not ending)" if responses.cut_off[row] else ""
        sums = f"score {paid:+.2f}{end} minus β · KL {paid - total:+.2f} is a reward of {total:+.2f}"
        parts += [
            Paragraph(f"Prompt {row + 1}: {sums}."),
            Raw(token_colours.to_html(tokens), token_colours.to_markdown(tokens)),
        ]
    return parts


def _method(evaluation: Evaluation) -> list[Part]:
    metrics, settings = evaluation.metrics, evaluation.settings
    told = (
        f"All policies read the same {metrics['prompts']} prompts in the same template, cut to "
        f"{settings.max_prompt_tokens} tokens if longer ({metrics['truncated_prompts']} were), and write "
        f"at most {settings.max_new_tokens} tokens with the same random numbers: once sampled from the full "
        "distribution, once greedily."
    )
    if metrics["best_temperature"] is not None:
        told += (
            f' The "best temperature" of the start policy, {metrics["best_temperature"]:g}, was chosen on validation '
            "prompts by the score used in training, as is best-of-4."
        )
    return [Heading("How it was measured"), Paragraph(told)]


def every_text(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Every text that was judged, by prompt."""
    kinds = {"sampled": evaluation.sampled, "greedy": evaluation.greedy}
    return [
        {"prompt": prompt.row["prompt"]}
        | {kind: {name: c.texts[i].strip() for name, c in candidates.items()} for kind, candidates in kinds.items()}
        for i, prompt in enumerate(evaluation.prompts)
    ]


def model_size(model: Mapping[str, Any]) -> str:
    """Parameters and vocabulary of the model."""
    parameters = model["parameters"]
    millions = f"{parameters / 1e6:.2f}" if parameters < 10_000_000 else f"{parameters / 1e6:,.0f}"
    return f"{millions} M parameters, vocabulary {model['vocabulary']:,}"
