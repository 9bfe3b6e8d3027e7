"""Preference models from few comparisons, by number, size of the trunk and annotator: made once, kept in a folder.

Annotators are the simulated people; the same people in full agreement with gold; or, instead of them, a larger
preference model (AI feedback). All compare the same pairs of summaries, written by the largest size's policies.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..data.comparisons import Comparison
from ..data.templates import SUMMARIZE
from ..data.text_pairs import TextPair
from ..data.world import post
from ..rewards.ai_feedback import ai_comparisons, load_annotator
from ..rewards.annotators import Annotators
from ..rewards.preference_model import PreferenceModel
from ..rewards.training import reference_shift, train_preference_model
from .simulated_people import collect
from .workshop import Workshop

POSTS_FROM = 3_000_000  # after those of every other stage
POSTS_OF_A_SEED = 10_000
PAIRS_PER_POST = 20
LEARNING_RATE, BATCH_SIZE = 3e-4, 32

PEOPLE, EXACT, AI = "people", "exact", "ai"
"""Who compares."""
_OF_ONE_MIND = Annotators(noise=0.01, length_bias=0.0, position_bias=0.0, disagreement=0.0)


def proxy(shop: Workshop, comparisons: int, seed: int, *, by: str = PEOPLE, size: str | None = None) -> PreferenceModel:
    """A preference model trained on few comparisons.

    Args:
        shop: where it is kept.
        comparisons: how many.
        seed: of the comparisons and of the training.
        by: ``PEOPLE``, ``EXACT`` (they agree with gold and make no slips) or ``AI``, the largest size's preference
            model.
        size: of the trunk; by default the largest.
    """
    size = size or shop.largest
    folder = shop.folder / "proxies" / f"{comparisons}-by-{by}-{size}-seed{seed}"
    if not (folder / "config.json").is_file():
        pm = PreferenceModel.from_language_model(shop.model(size, "start"), seed=seed)
        _train(shop, pm, compared(shop, comparisons, seed, by), seed)
        pm.save(folder)
    return PreferenceModel.load(folder)


def compared(shop: Workshop, count: int, seed: int, by: str) -> list[Comparison]:
    """The comparisons of a seed, arguments as in :func:`proxy`."""
    made = collect(
        count,
        shop.model(shop.largest, "start"),
        shop.model(shop.largest, "pretrained"),
        posts_from=POSTS_FROM + POSTS_OF_A_SEED * seed,
        pairs_per_post=PAIRS_PER_POST,
        annotators=_OF_ONE_MIND if by == EXACT else None,
        seed=seed,
    ).comparisons[:count]
    return relabelled(made, str(shop.path(shop.largest, "preference"))) if by == AI else made


def relabelled(made: Sequence[Comparison], annotator: str) -> list[Comparison]:
    """The same pairs compared by a model; people's judgements are ignored."""
    pairs = [TextPair(c.prompt, *sorted((c.chosen, c.rejected))) for c in made]
    return ai_comparisons(load_annotator(annotator), pairs, name=AI)


def _train(shop: Workshop, pm: PreferenceModel, comparisons: Sequence[Comparison], seed: int) -> None:
    """Train in place, then shift the scores so that the references of held-out posts average 0."""
    train_preference_model(
        pm,
        comparisons,
        epochs=shop.budget.preference_epochs,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        seed=seed,
        progress=shop.progress,
    )
    held_out = [post("validation", index) for index in range(shop.budget.posts)]
    prompts = [SUMMARIZE.render(item.text) for item in held_out]
    reference_shift(pm, prompts, [SUMMARIZE.render_response(item.reference) for item in held_out])
