"""Trying by which paths a model gives the numbers of a plain forward pass: transformers' own, each text alone.

The trial reads random texts of the longest length asked for with a small twin of the model (:mod:`.twin`), by the very
functions that serve users. What differs by more than ``TOLERANCE`` is not used.

Notation: G prompts, S responses to each, of at most R tokens; V_model embedding rows; d hidden size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from ..errors import InputError
from .accepts import taken
from .encoder_decoder import is_encoder_decoder
from .forward import read_responses
from .grouped_reader import GroupedReader
from .layout import Chunk, slots_of
from .own_cache import write_with_own_cache
from .packing import read_row
from .paths import EVERY, Batch, Paths, inner_model, paths_of, reading_by
from .reader import DecoderReader, EncoderDecoderReader
from .shared_prompt import PromptCache, read_chunk
from .static_reader import StaticReader
from .stepper import make_stepper
from .trial_gradients import Reads, gradient, true_log_probs
from .trial_texts import RESPONSE, Texts, texts_with_truth
from .twin import MOST_PARAMETERS, NoTwin, kinds, twin_of

TOLERANCE = 1e-4
"""Largest difference of a log-probability, in nats, and of a gradient relative to its norm."""
SHORT = 40
"""Columns of the texts on which gradients are compared."""
LONGER, MOST_GROWTH = "longer", 0.01
"""The trial of beginnings of a text, and by how much they may differ from it: states add up rounding."""
ESSENTIAL, BRIEF = ("behind", "rows", "own"), 2
"""Paths that the real weights of a model try whenever it is loaded, and the most tokens of a response there."""
LEARNED_BY = ("behind", "together", "packed")
"""Paths that training reads by, besides the plain one."""
LANGUAGE_MODELS: Any = AutoModelForCausalLM._model_mapping
BATCHES: tuple[Batch, ...] = ("left", "right", "equal", "alone")


@dataclass
class Trial:
    """What a path gave.

    Attributes:
        difference: the largest, in nats (log-probs) or relative (gradients); infinite if the path failed.
        reason: what it raised; empty if nothing.
    """

    difference: float
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the path may be used."""
        return self.difference <= TOLERANCE


@dataclass
class Examination:
    """What was tried, by name, and the paths that follow from it."""

    paths: Paths
    trials: dict[str, Trial] = field(default_factory=dict)


def find_paths(model: nn.Module, columns: int) -> Paths:
    """The paths of a model for up to ``columns`` columns, tried on its twin, or on itself if it has none.

    Raises:
        InputError: no path gives the numbers of a plain forward pass.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):  # wherever it is asked
        found = examine(find_twin(model), columns)
    if not found.trials[found.paths.batch].agrees:
        raise InputError(
            f"A {type(model).__name__} predicts a token differently when others follow it, so it cannot write text one "
            "token after the other; name a model that reads from left to right."
        )
    if found.trials[LONGER].difference > MOST_GROWTH:
        raise InputError(
            f"A {type(model).__name__} reads the beginning of a text of {columns} tokens otherwise than it reads that "
            "alone (its position embeddings change with the length), so it cannot write one token after the other; "
            "keep max_prompt_tokens and max_new_tokens together within the context that it was first trained with."
        )
    return found.paths


def _growth(model: Any, texts: Texts) -> Trial:
    """How far beginnings of a decoder's text, read alone, are off what they are in the whole."""
    if is_encoder_decoder(model):
        return Trial(0.0)
    tokens, mask = (each[:1] for each in texts.rows)
    text, options = tokens[mask][None], taken(model, use_cache=False)
    try:
        with torch.no_grad():
            whole = model(input_ids=text, **options).logits.float().log_softmax(-1)
            lengths = {text.shape[1] * part // 8 for part in (1, 2, 4, 6)} - {0}
            parts = [(n, model(input_ids=text[:, :n], **options).logits.float().log_softmax(-1)) for n in lengths]
        return Trial(max(float((part - whole[:, :n]).abs().max()) for n, part in parts))
    except Exception as error:  # what it cannot read shows in the other trials
        return Trial(0.0, f"{type(error).__name__}: {error}")


def find_twin(model: nn.Module) -> nn.Module:
    """The small model that stands for a model: its twin, or itself if it has none and is small.

    Raises:
        InputError: it has none, and is not small.
    """
    try:
        return twin_of(_writing_class(model), model.config, kinds(model))  # type: ignore[arg-type]
    except NoTwin as error:
        large = sum(parameter.numel() for parameter in model.parameters()) > MOST_PARAMETERS
        if large or _writing_class(model) is not type(model):
            raise InputError(
                f"How a {type(model).__name__} reads texts cannot be checked: {error}; name another model."
            ) from error
        return model


def try_reading(model: nn.Module, paths: Paths, columns: int, every: bool = True) -> tuple[float, str]:
    """The largest difference in nats on the paths that serve a model, and which it is.

    Not ``every`` path, but those by which responses are written and learned, for fewer tokens: a large model takes most
    of a second for each path.
    """
    texts = texts_with_truth(model, columns, RESPONSE if every else BRIEF)
    trials = _OF_ENCODER_DECODERS if is_encoder_decoder(model) else _TRIALS
    serving = {
        name: read
        for name, read in trials.items()
        if getattr(paths, name) and (every or name in ESSENTIAL) and not (name == "own" and paths.rows)
    }
    if every or "behind" not in serving:  # which reads as the plain path does, and what it shares besides
        serving = {"plain": _read, **serving}
    tried = {name: _try(read, model, paths, texts).difference for name, read in serving.items()}
    worst = max(tried, key=lambda name: tried[name])
    return tried[worst], worst


def try_plain(model: nn.Module, paths: Paths, columns: int) -> float:
    """The same on the plain path."""
    return _try(_read, model, paths, texts_with_truth(model, columns)).difference


def _writing_class(model: Any) -> Any:
    """The class that writes with a model: its own, or the one of which it is the trunk."""
    config: Any = model.config
    trunk = getattr(model, "get_output_embeddings", lambda: None)() is None and type(config) in LANGUAGE_MODELS
    return LANGUAGE_MODELS[type(config)] if trunk else type(model)


def examine(model: nn.Module, columns: int) -> Examination:
    """Try every path of a model on random texts that need ``columns`` columns, and gradients on short ones.

    Args:
        model: small enough for some forward passes over so many tokens.
        columns: at least ``4 * RESPONSE``.
    """
    texts, short = (texts_with_truth(model, reach) for reach in (columns, min(columns, SHORT)))
    found = Examination(EVERY.only_plain())
    brief = texts_with_truth(model, min(columns, 4 * RESPONSE))  # behind a long prompt a state forgets its padding
    found.trials[LONGER] = _growth(model, texts)
    expected = _true_gradient(found, model, short)
    found.paths = _plain(found, model, (texts, brief), short, expected)
    trials = _OF_ENCODER_DECODERS if is_encoder_decoder(model) else _TRIALS
    for name, read in trials.items():
        if name == "own" and found.paths.rows:
            continue
        paths = replace(found.paths, **_needs(name))
        given = texts_with_truth(model, columns // 4) if name == "packed" else texts  # four of them share the row
        trial = found.trials[name] = _worst(read, model, paths, given, brief)
        if trial.agrees and name in LEARNED_BY:
            trial = _try_gradient(found, name, model, read, paths, short, expected)
        if trial.agrees:
            serves: dict[str, Any] = {name: True}
            found.paths = replace(found.paths, **serves)
    return found


def _true_gradient(found: Examination, model: nn.Module, texts: Texts) -> Tensor | None:
    """That of each text alone; None if the model has none, which is told."""
    try:
        return gradient(model, texts, true_log_probs)
    except Exception as error:
        found.trials["gradient"] = Trial(math.inf, f"{type(error).__name__}: {error}")
        return None


def _try_gradient(
    found: Examination, name: str, model: nn.Module, read: Reads, paths: Paths, texts: Texts, expected: Tensor | None
) -> Trial:
    if expected is None:
        return found.trials["gradient"]
    try:
        with reading_by(model, paths):
            difference = float((gradient(model, texts, read) - expected).norm() / expected.norm())
        trial = Trial(difference if math.isfinite(difference) else math.inf)
    except Exception as error:
        trial = Trial(math.inf, f"{type(error).__name__}: {error}")
    found.trials[f"gradient, {name}"] = trial
    return trial


def _difference(found: Tensor, texts: Texts) -> float:
    """The largest difference of logits (N, R, V_model) from the truth, as log-probs."""
    log_probs = found.float().log_softmax(-1)
    parts = [(log_probs[row, : len(truth)] - truth).abs().max() for row, truth in enumerate(texts.truth)]
    largest = torch.stack(parts).max()
    return float(largest) if torch.isfinite(largest) else float("inf")


def _try(read: Reads, model: nn.Module, paths: Paths, texts: Texts) -> Trial:
    try:
        with torch.no_grad(), reading_by(model, paths):
            return Trial(_difference(read(model, texts), texts))
    except Exception as error:  # whatever a model raises on a path, the path is not for it
        return Trial(float("inf"), f"{type(error).__name__}: {error}")


def _worst(read: Reads, model: nn.Module, paths: Paths, *every: Texts) -> Trial:
    return max((_try(read, model, paths, texts) for texts in every), key=lambda trial: trial.difference)


def _plain(
    found: Examination, model: nn.Module, every: tuple[Texts, ...], short: Texts, expected: Tensor | None
) -> Paths:
    """The first way to batch texts that agrees, in gradients too if one does; each alone if none does."""
    trials, agreeing = found.trials, []
    pad = getattr(inner_model(model).config, "pad_token_id", None)
    starts: list[int | None] = [0, *([pad + 1] if pad is not None else []), 1, 2, None]
    kinds: tuple[Batch, ...] = BATCHES
    if is_encoder_decoder(model):
        starts, kinds = [None], BATCHES[1:]
    for batch in kinds:
        options = starts if batch in ("left", "right") else [None]
        for first in options:
            paths = replace(EVERY.only_plain(), batch=batch, positions=first)
            name = batch if first == options[0] else f"{batch} from {first}"
            trials[name] = _worst(_read, model, paths, *every)
            if trials[name].agrees:
                trials[batch] = trials[name]
                agreeing.append(paths)
                if _try_gradient(found, batch, model, _read, paths, short, expected).agrees or expected is None:
                    return paths
                break
    if not agreeing:
        _try_gradient(found, batch, model, _read, paths, short, expected)
    return agreeing[0] if agreeing else paths


def _needs(name: str) -> dict[str, Any]:
    """The flags to set for a trial: its own, and what it builds on."""
    return dict.fromkeys((name, *{"together": ["behind"], "static": ["rows"]}.get(name, ())), True)


def _read(model: Any, texts: Texts) -> Tensor:
    tokens, mask = texts.rows
    reading = read_responses(model, tokens, mask, texts.responses.shape[1], texts.prompt_of)
    return reading.slots.spread(reading.logits)


def _together(model: Any, texts: Texts) -> Tensor:
    """All responses to a prompt in one row after it."""
    kept = PromptCache()
    kept.read(model, texts.prompts[:, :-1], texts.prompt_mask[:, :-1].long())
    last = texts.prompts[:, -1:].repeat_interleave(texts.samples, dim=0)
    chunk = _one_row_each(texts)
    given = torch.cat([last, texts.responses[:, :-1]], dim=1)
    output = read_chunk(model, kept, texts.prompt_mask[:, :-1].long(), given, chunk)
    slots = slots_of([chunk], texts.mask)
    return slots.spread(output.logits.flatten(0, 1))


def _one_row_each(texts: Texts) -> Chunk:
    """The responses of each prompt one after the other, without padding between them."""
    groups = len(texts.prompts)
    own: list[list[tuple[int, int]]] = [[] for _ in range(groups)]
    for n, length in enumerate(texts.mask.sum(dim=1).tolist()):
        own[n // texts.samples] += [(n, column) for column in range(length)]
    width = max(map(len, own))
    slots = torch.tensor([row + [(-1, 0)] * (width - len(row)) for row in own])
    return Chunk(torch.arange(groups), slots[..., 0], slots[..., 1])


def _packed(model: Any, texts: Texts) -> Tensor:
    """All texts in one row."""
    tokens, mask = texts.rows
    lengths = mask.sum(dim=1) - 1
    text = torch.arange(len(tokens)).repeat_interleave(lengths)[None]
    column = torch.cat([torch.arange(length) for length in lengths.tolist()])[None]
    chunk = Chunk(torch.zeros(1, dtype=torch.long), text, column)
    split = tokens.shape[1] - texts.responses.shape[1]
    logits, predicting = read_row(model, tokens, mask, split, chunk)
    return slots_of([predicting], texts.mask).spread(logits.flatten(0, 1))


def _reader(kind: Any) -> Reads:
    def read(model: Any, texts: Texts) -> Tensor:
        """The given responses written token by token; a row leaves when it has ended."""
        most = texts.responses.shape[1]
        reader = kind(model, texts.prompts, texts.prompt_mask, texts.samples, most)
        dictation = _Dictation(model, texts)
        rows = torch.arange(len(texts.responses))
        logits, states = reader.read_prompts()
        for step in range(most):
            token = dictation.choose(rows, logits, states, step)
            if step + 1 == most:
                break
            going = ~dictation.ended[rows]
            if not going.all():
                order = reader.keep(going)
                rows, token = rows[order], token[order]
            logits, states = reader.read(token)
        return dictation.found

    return read


class _Dictation:
    """Gives the tokens of the texts as if they were chosen, and keeps the logits (N, R, V_model) they came from."""

    def __init__(self, model: Any, texts: Texts) -> None:
        self.texts = texts
        width = inner_model(model).get_input_embeddings().weight.shape[0]
        self.found = torch.zeros(*texts.responses.shape, width)
        self.ended = torch.zeros(len(texts.responses), dtype=torch.bool)

    def choose(self, rows: Tensor, logits: Tensor, states: Tensor, step: int) -> Tensor:
        """As :meth:`prefgym.models.own_cache.Writing.choose`."""
        self.found[rows, step] = logits[:, : self.found.shape[-1]].float()
        following = min(step + 1, self.texts.mask.shape[1] - 1)
        self.ended[rows] = ~self.texts.mask[rows, following]
        return self.texts.responses[rows, step]


def _own(model: Any, texts: Texts) -> Tensor:
    """By ``generate``."""
    dictation = _Dictation(model, texts)
    given = (texts.prompts, texts.prompt_mask, texts.samples, texts.responses.shape[1])
    write_with_own_cache(model, paths_of(model, 1), *given, dictation)
    return dictation.found


def _steps(model: Any, texts: Texts) -> Tensor:
    """One more token for rows that stand at different columns, and some asked again."""
    tokens, mask = texts.rows
    most = texts.responses.shape[1]
    split = tokens.shape[1] - most
    stepper, found = make_stepper(model, split), _Dictation(model, texts).found
    rows = torch.arange(len(tokens))
    ahead = rows % 2  # every second row is a token further
    for step in range(most + 1):
        here = (step - 1 + ahead).clamp(0, most - 1)
        seen = mask & (torch.arange(tokens.shape[1]) < split + here[:, None])
        logits = stepper.next_logits(tokens, seen)
        found[rows, here] = logits[:, : found.shape[-1]].float()
    return found


_TRIALS: dict[str, Reads] = {
    "behind": _read,
    "together": _together,
    "packed": _packed,
    "rows": _reader(DecoderReader),
    "own": _own,
    "grouped": _reader(GroupedReader),
    "static": _reader(StaticReader),
    "steps": _steps,
}
_OF_ENCODER_DECODERS: dict[str, Reads] = {
    "behind": _read,
    "rows": _reader(EncoderDecoderReader),
    "own": _own,
    "steps": _steps,
}
