"""Where episodes begin: which prompt comes next, and the tokens a model reads for it.

Nothing here knows rewards or Gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.chat_template import ChatTemplate
from ..data.conversations import messages_of
from ..data.prompting import AnyTemplate
from ..data.prompts import PromptSet
from ..data.templates import render_conversation
from ..data.text import half_character, told_half
from ..data.truncation import fit_prompt
from ..errors import InputError
from ..numbers import is_whole, plain
from ..rewards.arguments import CONVERSATION, PROMPT_BODY, PROMPT_FRAMED


class PromptSampler:
    """Draws prompt indices in epochs: every prompt once, in an order shuffled by the caller's generator; then again.

    It uses the generator only when an epoch begins, so its state is the generator's state at that moment and the
    position in the epoch.
    """

    def __init__(self, num_prompts: int) -> None:
        self._num_prompts = num_prompts
        self.restart()

    def restart(self) -> None:
        """Drop the current epoch; the next draw begins a new one."""
        self._order: Sequence[int] = ()
        self._cursor = 0
        self._epoch_start: Mapping[str, Any] | None = None

    def draw(self, generator: np.random.Generator) -> int:
        """Return the next prompt index."""
        if self._cursor == len(self._order):
            self._epoch_start = generator.bit_generator.state
            self._order = generator.permutation(self._num_prompts).tolist()
            self._cursor = 0
        self._cursor += 1
        return self._order[self._cursor - 1]

    def state(self, generator: np.random.Generator) -> dict[str, Any]:
        """Everything ``restore`` needs to draw the same indices, as plain JSON values."""
        start = generator.bit_generator.state if self._epoch_start is None else self._epoch_start
        return {"bit_generator": dict(start), "cursor": self._cursor, "num_prompts": self._num_prompts}

    def restore(self, state: Mapping[str, Any], generator: np.random.Generator) -> None:
        """Continue from where ``state`` was taken.

        Raises:
            InputError: the state belongs to a prompt set of another size.
        """
        if state["num_prompts"] != self._num_prompts:
            raise InputError(
                f"The saved prompt order has {state['num_prompts']} prompts, but this environment has "
                f"{self._num_prompts}; resume with the prompts of the saved run."
            )
        generator.bit_generator.state = state["bit_generator"]
        self.restart()
        if state["cursor"]:
            self.draw(generator)
            self._cursor = int(state["cursor"])


@dataclass(frozen=True)
class Prompt:
    """One prompt, ready to be answered.

    Attributes:
        text: what the model reads, template included, cut to the budget.
        ids: its tokens, at most ``max_prompt_tokens``.
        row: its columns in the prompt set; just ``{"prompt": ...}`` for one given by hand. A conversation that was cut
            is here as it was cut.
        index: its index in the prompt set; None for one given by hand.
        told: what rewards and judges read as the prompt: ``text``, but the content without a chat template's own text.
        body: the prompt of the data, cut as ``text`` is, without any template; None for a conversation of several
            messages.
    """

    text: str
    ids: list[int]
    row: dict[str, Any]
    index: int | None
    told: str = ""
    body: str | None = None

    def __post_init__(self) -> None:
        if not self.told:
            object.__setattr__(self, "told", self.text)


def columns_of(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """What reward functions and judges get beside the texts of n prompts: name -> n values, None where a row lacks it.

    The further columns of the data, ``prompt_body`` and, for preference models alone, ``prompt_framed``.
    """
    names = dict.fromkeys(name for prompt in prompts for name in prompt.row if name != "prompt")
    columns: dict[str, list[Any]] = {name: [prompt.row.get(name) for prompt in prompts] for name in names}
    framed = [prompt.text != prompt.told for prompt in prompts]
    return {**columns, PROMPT_BODY: [prompt.body for prompt in prompts], PROMPT_FRAMED: framed}


@dataclass(frozen=True)
class PromptBatch:
    """B prompts. P is the length of the longest.

    Attributes:
        tokens: (B, P) int64, padded on the left.
        mask: (B, P) bool, True = real token.
        prompts: the B prompts.
    """

    tokens: Tensor
    mask: Tensor
    prompts: list[Prompt]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def texts(self) -> list[str]:
        """What the model reads, one text per row."""
        return [prompt.text for prompt in self.prompts]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The columns of the prompt set, one dict per row."""
        return [prompt.row for prompt in self.prompts]

    @property
    def references(self) -> list[str | None]:
        """The human text of each row, None where the data has none."""
        return [prompt.row.get("reference") for prompt in self.prompts]

    @property
    def indices(self) -> list[int]:
        """Each row's index in the prompt set, -1 for a prompt given by hand."""
        return [-1 if prompt.index is None else prompt.index for prompt in self.prompts]

    def repeat(self, times: int) -> PromptBatch:
        """Every prompt repeated ``times`` times (p0, p0, p1, p1, ...): the order in which samples are generated."""
        return PromptBatch(
            self.tokens.repeat_interleave(times, 0),
            self.mask.repeat_interleave(times, 0),
            [prompt for prompt in self.prompts for _ in range(times)],
        )


class PromptSource:
    """Prepares prompts of a set: template, tokens, cut to the budget; counts what it had to cut.

    Attributes:
        cut: the prompts cut so far, by index, or by text if given by hand.

    Args:
        prompts: the set.
        template: the text around each prompt.
        encode: ``encode(text, framed)``, the text of a prompt to token ids, with the special ones that belong there;
            text that is ``framed`` brings its own.
        max_prompt_tokens: budget of the templated prompt.
        pad_token_id: fills the left; the mask distinguishes it from a real token.

    Raises:
        InputError: the template leaves no room for a prompt.
    """

    def __init__(
        self,
        prompts: PromptSet,
        template: AnyTemplate,
        encode: Callable[..., list[int]],
        max_prompt_tokens: int,
        pad_token_id: int,
    ) -> None:
        self._encode: Callable[[str], list[int]] = partial(encode, framed=template.framed)
        if len(self._encode(template.render(""))) >= max_prompt_tokens:
            raise InputError(
                f"The template {template.text!r} leaves no room for a prompt in max_prompt_tokens={max_prompt_tokens}; "
                "raise max_prompt_tokens or shorten the template."
            )
        self.prompts = prompts
        self.template = template
        self.max_prompt_tokens = max_prompt_tokens
        self._nothing = self._encode("")
        self._pad_token_id = pad_token_id
        self.cut: set[int | str] = set()

    @property
    def truncated_prompts(self) -> int:
        """How many different prompts were cut to fit so far."""
        return len(self.cut)

    def at(self, index: int) -> Prompt:
        """Prepare prompt ``index`` of the set."""
        index = plain(index)
        if not (is_whole(index) and 0 <= index < len(self.prompts)):
            raise InputError(f"There is no prompt {index!r}; the set has {len(self.prompts)}, numbered from 0.")
        return self._prepare(self.prompts[index], index)

    def of(self, given: Any) -> Prompt:
        """Prepare a prompt given by hand: a text, or a conversation as a list of messages."""
        messages = messages_of(given, "The prompt")
        row = {"prompt": given} if not messages else {"prompt": render_conversation(messages), CONVERSATION: messages}
        return self._prepare(row, None)

    def check_conversations(self) -> None:
        """Raise :class:`InputError` for a conversation of the set that cannot be cut to fit; texts always can."""
        if not (isinstance(self.template, ChatTemplate) and self.prompts[0].get(CONVERSATION)):
            return
        for index, row in enumerate(self.prompts):
            talk = row.get(CONVERSATION)
            if talk and len(self.template.fill(talk, "").encode()) > self.max_prompt_tokens:  # else it surely fits
                self.at(index)

    def batch(self, indices: Sequence[int]) -> PromptBatch:
        """Prepare B prompts of the set, padded to the longest of them."""
        prepared = {index: self.at(index) for index in dict.fromkeys(indices)}  # a repeated one is read once
        prompts = [prepared[index] for index in indices]
        width = max((len(prompt.ids) for prompt in prompts), default=0)
        tokens = torch.full((len(prompts), width), self._pad_token_id, dtype=torch.int64)
        mask = torch.zeros((len(prompts), width), dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, width - len(prompt.ids) :] = True
        return PromptBatch(tokens, mask, prompts)

    def _prepare(self, row: dict[str, Any], index: int | None) -> Prompt:
        name = "The prompt" if index is None else f"Prompt {index}"
        text = row["prompt"]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{name} is empty; give a text with at least one word.")
        half = half_character(text)
        if half is not None:
            raise InputError(told_half(name, half))
        for column in (PROMPT_BODY, PROMPT_FRAMED):
            if column in row:
                raise InputError(f'{name} has a column "{column}", by which rewards are told of the prompt; rename it.')
        around: Any = self.template  # what it takes as a prompt, it gets back
        talk = row.get(CONVERSATION) if isinstance(around, ChatTemplate) else None
        try:
            fitted = fit_prompt(self._encode, self.template, talk or text, self.max_prompt_tokens)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        if not fitted.ids or fitted.ids == self._nothing:
            raise InputError(f"{name} has no token in the model's vocabulary: {text!r}.")
        if fitted.cut:
            self.cut.add(text if index is None else index)
            row = {**row, CONVERSATION: fitted.prompt} if talk else row
        told = around.told(fitted.prompt) if isinstance(around, ChatTemplate) else fitted.text
        return Prompt(fitted.text, fitted.ids, row, index, told, around.bare(fitted.prompt))
