"""RLHF of an instruction-tuned model: simulated people compare answers, a preference model learns, REINFORCE trains.

A person who is shown two answers prefers the first with probability

    (1 - SLIP) σ(worth(first) - worth(second)) + SLIP / 2

with worth(answer) = SCALE · ROUGE-L with the best accepted answer - WORDY · words beyond the longest accepted one
(Bradley and Terry 1952, with an occasional random slip). So an answer that is exactly right is preferred to a brief one
that shares no word with a right one in all but 4 of 100 cases. No model sees an answer's worth: the preference model
only sees which one won.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from ..data.prompts import PromptSet, instruction_prompts
from ..files import write_json
from ..models.language_model import LanguageModel
from ..rewards.functions import answer_words, rouge_l
from ..rewards.preference_model import PreferenceModel
from ..typed_json import read_object
from .instructed import instructed
from .workshop import RECIPES, Workshop

Array = NDArray[np.float64]

SCALE = 4.0
WORDY = 0.05
SLIP = 0.05
COMPARED_FROM = 500_000
"""Training posts that are skipped: those used as prompts in reinforcement learning."""
POSTS_OF_A_SEED = 20_000
SAMPLES = 2
"""The tuned model's answers per instruction, in addition to one of the pretrained model and an accepted one."""


def worth(row: Mapping[str, Any], texts: Sequence[str]) -> Array:
    """(n,) the worth of answers to an instruction to a person, at most ``SCALE``."""
    count = len(texts)
    accepted = {name: [row[name]] * count for name in ("reference", "references")}
    longest = max(len(answer_words(answer)) for answer in row["references"])
    beyond = [max(0, len(answer_words(text)) - longest) for text in texts]
    return SCALE * np.array(rouge_l([row["prompt"]] * count, texts, **accepted)) - WORDY * np.array(beyond)


def first_preferred(first: Any, second: Any) -> Any:
    """The probability that a person prefers the first of two answers with these worths.

    >>> round(float(first_preferred(4.0, 0.0)), 3), float(first_preferred(1.0, 1.0))
    (0.958, 0.5)
    """
    return (1 - SLIP) / (1 + np.exp(np.asarray(second) - np.asarray(first))) + SLIP / 2


def compare(
    rows: Sequence[Mapping[str, Any]], prompts: Sequence[str], texts: Sequence[Sequence[str]], seed: int
) -> list[Comparison]:
    """Every pair of different answers to each instruction, with a person's choice; those of an instruction adjacent.

    Args:
        rows: n instructions with ``reference`` and ``references``.
        prompts: their n texts as a model reads them.
        texts: n lists of answers.
        seed: for the choices.
    """
    rng = np.random.default_rng(seed)
    made = []
    for row, prompt, answers in zip(rows, prompts, texts, strict=True):
        distinct = list(dict.fromkeys(answers))
        worths = worth(row, distinct)
        for i, j in combinations(range(len(distinct)), 2):
            wins = rng.random() < first_preferred(worths[i], worths[j])
            chosen, rejected = (distinct[i], distinct[j]) if wins else (distinct[j], distinct[i])
            made.append(Comparison(prompt, chosen, rejected))
    return made


def answer_preference(shop: Workshop, tuned: LanguageModel, seed: int) -> PreferenceModel:
    """The preference model of answers, on the trunk of the tuned model; ``facts`` has its held-out ``accuracy``."""
    folder = shop.folder / "proxies" / f"answers-seed{seed}"
    if not (folder / "config.json").is_file():
        _train(shop, tuned, seed).save(folder)
    return PreferenceModel.load(folder)


def _train(shop: Workshop, tuned: LanguageModel, seed: int) -> PreferenceModel:
    from ..data.templates import INSTRUCT
    from ..rewards.accuracy import accuracy
    from ..rewards.training import reference_shift, train_preference_model

    count = shop.budget.answered
    train = instruction_prompts("train", count, COMPARED_FROM + POSTS_OF_A_SEED * seed)
    held_out = instruction_prompts("validation", max(1, count // 10))
    pretrained = shop.model(shop.largest, "pretrained")
    judged, eval_judged = (_judged(rows, tuned, pretrained, seed) for rows in (train, held_out))
    pm = PreferenceModel.from_language_model(tuned, seed=seed)
    options: dict[str, Any] = {"learning_rate": 3e-4, "batch_size": 32, "seed": seed, "progress": shop.progress}
    train_preference_model(pm, judged, eval_comparisons=eval_judged, epochs=1.0, **options)
    prompts = [INSTRUCT.render(row["prompt"]) for row in held_out]
    reference_shift(pm, prompts, [f" {row['reference']}" for row in held_out])
    pm.facts = {"comparisons": len(judged), "accuracy": accuracy(pm, eval_judged)}
    return pm


def _judged(rows: PromptSet, tuned: LanguageModel, pretrained: LanguageModel, seed: int) -> list[Comparison]:
    """Comparisons of samples of both models at temperature 1 and the accepted answer."""
    from ..evaluation.policies.decode import write_samples
    from ..evaluation.policies.instructions import SETTINGS

    own, raw = write_samples(tuned, rows, SAMPLES, SETTINGS, seed=seed), write_samples(pretrained, rows, 1, SETTINGS)
    texts = [
        [f" {row['reference']}", *own.texts[SAMPLES * place : SAMPLES * (place + 1)], raw.texts[place]]
        for place, row in enumerate(rows)
    ]
    return compare(list(rows), [prompt.text for prompt in raw.prompts], texts, seed)


def aligned(shop: Workshop, seed: int) -> tuple[LanguageModel, dict[str, Any]]:
    """The largest size after tuning and RLHF on instructions of seen families; and its preference model's accuracy."""
    run = shop.folder / "runs" / f"instructed-{shop.largest}-seed{seed}"
    done = run / "lecture.json"
    if not done.is_file():
        write_json(done, _align(shop, run, seed))
    facts = read_object(done, {"preference_model": dict, "history": list}, step=f"remove {run} to train it again")
    return LanguageModel.load(run), facts


def _align(shop: Workshop, run: Path, seed: int) -> dict[str, Any]:
    """Train and save; the worth of answers is logged but never paid."""
    import gymnasium as gym

    from ..agents import REINFORCE

    tuned = instructed(shop, shop.largest, shop.budget.examples[-1], seed)
    pm = answer_preference(shop, tuned, seed)
    logged = {name: {"function": name, "weight": 0.0} for name in ("rouge_l", "exact_match")}
    reward = {"score": {"function": pm, "weight": 1.0}, **logged}
    env = gym.make("Instruct-v0", model=tuned, reward=reward, kl_coef=0.1)
    agent = REINFORCE("default", env, seed=seed, **RECIPES["reinforce"])
    agent.learn(shop.budget.episodes, progress_bar=shop.progress)
    agent.save(run)
    return {"preference_model": pm.facts, "history": agent.history}
