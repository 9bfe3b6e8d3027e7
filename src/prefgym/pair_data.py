"""The pairs that ``prefgym sft`` learns: read, divided, and with prompts cut to fit the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .config import Config
from .data.templates import INSTRUCT, PLAIN, SUMMARIZE
from .errors import InputError
from .experiment import chat_words, typed

if TYPE_CHECKING:
    from .data.chat_template import Asked
    from .data.mixing import Mixture
    from .data.pairs import Pair
    from .data.prompting import AnyTemplate
    from .models.language_model import LanguageModel
    from .pair_tokens import PairTokens


class PairData(NamedTuple):
    """Pairs that fit the model, and what was done to fit them.

    cut: how many prompts were cut.
    left_out: how many pairs have an answer so long that no prompt fits.
    tokens: the tokens of every pair.
    template: of all prompts; None where they differ.
    """

    train: list[Pair]
    held_out: list[Pair]
    cut: int
    left_out: int
    tokens: PairTokens
    template: AnyTemplate | None = None

    def told(self) -> str:
        """The numbers, in one line."""
        line = f"{len(self.train)} pairs to train on, {len(self.held_out)} held out, {self.cut} prompts cut to fit"
        return line + (f", {self.left_out} pairs left out for their long answers" if self.left_out else "")


def read_pairs(config: Config, model: LanguageModel) -> PairData:
    """The pairs of the data, divided, with prompts cut to fit."""
    from .data.pairs import load_pairs
    from .pair_tokens import PairTokens

    asked = template_to_learn(config, model)
    if asked and config["data.demonstrations"]:
        lacking = "leave data.template out" if config["data.template"] else f'"{model.name}" has a chat template'
        raise InputError(f"data.demonstrations goes with the default template; {lacking}.")
    budget = min(config["data.max_tokens"] or model.context_length, model.context_length)
    tokens, room = PairTokens(model, framed=bool(asked and asked.framed)), room_for_prompt(model, budget)
    columns = ("instruction_column", "input_column", "output_column", "task_column")
    pairs = load_pairs(
        config["data.pairs"],
        template=PLAIN if asked and asked.framed else asked,  # a chat template gets what is asked and said alone
        fits=lambda prompt, response: len(tokens.prompts.keep(prompt)) <= room(tokens.length(prompt, response)),
        **{name: config[f"data.{name}"] for name in (*columns, "demonstrations", "skip_empty", "limit", "task_limit")},
    )
    if not pairs:
        raise InputError(f"No pair of {config['data.pairs']} has an answer.")
    sides = divide([pair.prompt for pair in pairs], config["data.held_out"], config["seed"])
    templates = templates_of(pairs, asked)
    fitted = fit_pairs(pairs, templates, tokens, room)
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
    common = templates[0] if all(one == templates[0] for one in templates) else None
    return PairData(train, held_out, cut, len(left_out), tokens, common)


def template_to_learn(config: Config, model: LanguageModel) -> AnyTemplate | None:
    """The template that all pairs get: asked for, or the model's own chat template; None where the data decide."""
    from .data.chat_template import CHAT, has_chat_template
    from .data.prompting import TEXTS, resolve_template

    given = config["data.template"]
    chats = has_chat_template(model.tokenizer) and (model.prompting or {}).get("template", CHAT) == CHAT
    if not given and not chats:
        for key, text in chat_words(config, "data").items():
            if text is not None:
                raise InputError(f'data.{key} is for chat templates, and "{model.name}" has none; leave it out.')
        return None
    asked, words = typed(given) if given else TEXTS, chat_words(config, "data")
    return resolve_template(asked, model.tokenizer, stored=model.prompting, name=model.name, **words)


def fit_pairs(
    pairs: Sequence[Pair], templates: Sequence[AnyTemplate], tokens: PairTokens, room: Callable[[int], int]
) -> list[tuple[Pair | None, bool]]:
    """Each pair as it is read, with its prompt cut to the room its answer leaves, and whether that was needed.

    None stands for a pair whose answer leaves no room. ``tokens`` then knows the tokens of everything returned.
    """
    from .data.truncation import fit_prompt

    known = [_as_read(pair, template) for pair, template in zip(pairs, templates, strict=True)]
    tokens.add((text, answer) for _, text, answer in known)
    found: list[tuple[Pair | None, bool]] = []
    for pair, template, (prompt, text, answer) in zip(pairs, templates, known, strict=True):
        around: Any = template  # what it takes as a prompt, it gets back
        left = room(tokens.length(text, answer))
        if left <= len(tokens.prompts.keep(around.fill(prompt, ""))):
            found.append((None, False))
            continue
        side: Literal["left", "right"] = "left" if template is PLAIN else "right"  # unknown text: its end is answered
        fitted = fit_prompt(tokens.prompts, template, prompt, left, side)
        if fitted.cut:
            tokens.put(fitted.text, fitted.ids, answer)
        fits = not fitted.cut or len(fitted.ids) <= room(tokens.length(fitted.text, answer))
        fit = pair._replace(prompt=fitted.text, response=answer) if fits else None
        found.append((fit, fitted.cut and fits))
    return found


def templates_of(pairs: Sequence[Pair], asked: AnyTemplate | None) -> list[AnyTemplate]:
    """The template of each pair: the one asked for, or that in which its prompt stands already."""
    if asked is not None:
        return [asked] * len(pairs)
    return [next((one for one in (INSTRUCT, SUMMARIZE) if pair.prompt.endswith(one.suffix)), PLAIN) for pair in pairs]


def _as_read(pair: Pair, template: AnyTemplate) -> tuple[Asked, str, str]:
    """The prompt that goes into the template, its text, and the text of the answer after it."""
    from .data.chat_template import ChatTemplate

    if not isinstance(template, ChatTemplate):
        return pair.prompt, template.render(pair.prompt), pair.response
    if pair.conversation is None:
        prompt: Asked = pair.prompt
        answer: Mapping[str, Any] = {"role": "assistant", "content": template.render_response(pair.response)}
    else:
        *prompt, answer = pair.conversation
    return prompt, template.render(prompt), template.turn(prompt, answer)


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
