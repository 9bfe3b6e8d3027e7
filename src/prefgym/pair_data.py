"""The pairs that ``prefgym sft`` learns: read, divided, and with prompts cut to fit the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from .config import Config
from .errors import InputError
from .experiment import read_template

if TYPE_CHECKING:
    from .data.mixing import Mixture
    from .data.pairs import Pair
    from .data.templates import Template
    from .models.language_model import LanguageModel
    from .pair_tokens import PairTokens


class PairData(NamedTuple):
    """Pairs that fit the model, and what was done to fit them.

    cut: how many prompts were cut.
    left_out: how many pairs have an answer so long that no prompt fits.
    tokens: the tokens of every pair.
    """

    train: list[Pair]
    held_out: list[Pair]
    cut: int
    left_out: int
    tokens: PairTokens

    def told(self) -> str:
        """The numbers, in one line."""
        line = f"{len(self.train)} pairs to train on, {len(self.held_out)} held out, {self.cut} prompts cut to fit"
        return line + (f", {self.left_out} pairs left out for their long answers" if self.left_out else "")


def read_pairs(config: Config, model: LanguageModel) -> PairData:
    """The pairs of the data, divided, with prompts cut to fit."""
    from .data.pairs import load_pairs
    from .pair_tokens import PairTokens

    asked = read_template(config["data.template"]) if config["data.template"] else None
    if asked and config["data.demonstrations"]:
        raise InputError("data.demonstrations goes with the default template; leave data.template out.")
    budget = min(config["data.max_tokens"] or model.context_length, model.context_length)
    tokens, room = PairTokens(model.texts), room_for_prompt(model, budget)
    columns = ("instruction_column", "input_column", "output_column", "task_column")
    pairs = load_pairs(
        config["data.pairs"],
        template=asked,
        fits=lambda prompt, response: len(tokens.prompts.keep(prompt)) <= room(tokens.length(prompt, response)),
        **{name: config[f"data.{name}"] for name in (*columns, "demonstrations", "skip_empty", "limit", "task_limit")},
    )
    if not pairs:
        raise InputError(f"No pair of {config['data.pairs']} has an answer.")
    sides = divide([pair.prompt for pair in pairs], config["data.held_out"], config["seed"])
    fitted = fit_pairs(pairs, asked, tokens, room)
    train = [pair for (pair, _), apart in zip(fitted, sides, strict=True) if pair and not apart]
    held_out = [pair for (pair, _), apart in zip(fitted, sides, strict=True) if pair and apart]
    cut = sum(shorter for _, shorter in fitted)
    left_out = [number for number, (pair, _) in enumerate(fitted, start=1) if pair is None]
    if not train and left_out:
        raise InputError(
            f"No answer of {config['data.pairs']} leaves room for a prompt in {budget} tokens; that of pair "
            f"{left_out[0]} is the first that does not."
        )
    if not train:
        raise InputError(f"All pairs of {config['data.pairs']} are held out; give more, or a lower data.held_out.")
    return PairData(train, held_out, cut, len(left_out), tokens)


def fit_pairs(
    pairs: Sequence[Pair], asked: Template | None, tokens: PairTokens, room: Callable[[int], int]
) -> list[tuple[Pair | None, bool]]:
    """Each pair with its prompt cut to the room its answer leaves, and whether that was needed.

    None stands for a pair whose answer leaves no room. ``tokens`` then knows the tokens of everything returned.
    """
    from .data.templates import INSTRUCT, PLAIN, SUMMARIZE
    from .data.truncation import fit_prompt

    templates = [
        asked or next((one for one in (INSTRUCT, SUMMARIZE) if pair.prompt.endswith(one.suffix)), PLAIN)
        for pair in pairs
    ]
    rendered = [template.render(pair.prompt) for template, pair in zip(templates, pairs, strict=True)]
    tokens.add(zip(rendered, (pair.response for pair in pairs), strict=True))
    found: list[tuple[Pair | None, bool]] = []
    for pair, template, prompt in zip(pairs, templates, rendered, strict=True):
        left = room(tokens.length(prompt, pair.response))
        if left <= len(tokens.prompts.keep(template.render(""))):
            found.append((None, False))
            continue
        side: Literal["left", "right"] = "left" if template is PLAIN else "right"  # unknown text: its end is answered
        fitted = fit_prompt(tokens.prompts, template, pair.prompt, left, side)
        if fitted.cut:
            tokens.put(fitted.text, fitted.ids, pair.response)
        fits = not fitted.cut or len(fitted.ids) <= room(tokens.length(fitted.text, pair.response))
        found.append((pair._replace(prompt=fitted.text) if fits else None, fitted.cut and fits))
    return found


def room_for_prompt(model: LanguageModel, budget: int) -> Callable[[int], int]:
    """From a response's number of tokens, EOS included, to the number that it leaves for the prompt.

    An encoder's prompt has its own budget.
    """
    from .models.encoder_decoder import is_encoder_decoder

    if is_encoder_decoder(model.model):
        return lambda response: budget if response <= budget else 0
    return lambda response: budget - response


def divide(groups: list[str], held_out: float, seed: int) -> list[bool]:
    """Whether each row is held out, the same for all rows of a group; a single group is never held out."""
    from .data.splits import split_prompts

    if held_out >= 1:
        raise InputError(f"data.held_out is {held_out:g}, but must be a share below 1.")
    if held_out == 0 or len(set(groups)) < 2:
        return [False] * len(groups)
    return [side == "held_out" for side in split_prompts(groups, {"train": 1 - held_out, "held_out": held_out}, seed)]


def mix(config: Config, train: Sequence[Pair]) -> Mixture:
    """Which training pairs are in an epoch."""
    from .data.mixing import Mixture

    return Mixture([pair.task for pair in train], config["data.task_cap"], config["seed"])
