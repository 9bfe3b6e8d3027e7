"""What a reward function is called with: texts or messages, columns of the data, and what TRL's trainers pass too.

The keywords are those of TRL's GRPO: ``prompts``, ``completions``, ``completion_ids``, ``trainer_state``,
``log_extra``, ``log_metric`` and every column. A function gets those that it has parameters for; one that takes
``**columns``, by this name, gets nothing by it that is no column.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from transformers import TrainerState

CONVERSATION = "conversation"
"""The column with the messages of a prompt, where the data hold conversations (``data.prompts``)."""
PROMPT_BODY = "prompt_body"
"""The prompt itself, cut as the policy read it, without a template; None for a conversation of several messages."""
PROMPT_FRAMED = "prompt_framed"
"""For preference models: whether a chat template framed the prompt."""
COMPLETION_IDS = "completion_ids"
_OURS = ("prompts", "completions", PROMPT_BODY, COMPLETION_IDS, "trainer_state", "log_extra", "log_metric")


class Context:
    """What functions are told of the run they are in.

    Attributes:
        encode: a text's tokens, by the policy's tokenizer; None outside an environment.
    """

    __slots__ = ("_state", "encode")  # no attributes that could be taken for the reward's own

    def __init__(self) -> None:
        self.encode: Callable[[str], Sequence[int]] | None = None
        self._state: TrainerState | None = None

    @property
    def trainer_state(self) -> TrainerState:
        """``global_step``, the iterations so far, and ``max_steps``, the last of this ``learn``; 0 before any."""
        if self._state is None:
            from transformers import TrainerState

            self._state = TrainerState()
        return self._state


class Arguments(NamedTuple):
    """Of one call: ``columns`` have an entry for each completion, ``constants`` are one for all."""

    columns: dict[str, Sequence[Any]]
    constants: dict[str, Any]

    def of_row(self, row: int) -> Arguments:
        """Those of one completion alone."""
        return Arguments({name: [column[row]] for name, column in self.columns.items()}, self.constants)


def arguments_of(
    name: str,
    function: Callable[..., Any],
    prompts: Sequence[str],
    completions: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
    context: Context,
) -> Arguments:
    """The arguments for one part of a reward.

    Our own functions and models read texts. A user's get messages where the prompt is a conversation, as in TRL.

    Raises:
        InputError: the function needs the tokens of the completions, which nobody here knows.
    """
    given: dict[str, Sequence[Any]] = {"prompts": prompts, "completions": completions}
    if _is_ours(function):
        return Arguments(given | accepted_columns(function, columns), {})
    if CONVERSATION in columns:
        given = _as_messages(prompts, completions, columns[CONVERSATION])
    constants = {"trainer_state": context.trainer_state, "log_extra": _ignored, "log_metric": _ignored}
    unread = (*constants, PROMPT_FRAMED)
    columns = {column: values for column, values in columns.items() if column not in unread}
    if COMPLETION_IDS not in columns and _accepts(function, COMPLETION_IDS):
        if context.encode is not None:
            columns[COMPLETION_IDS] = [list(context.encode(text)) for text in completions]
        elif COMPLETION_IDS in required_columns(function, known=()):
            raise InputError(f'Reward "{name}" needs the tokens of the completions, which only an environment knows.')
    accepted = {key: value for key, value in constants.items() if _accepts(function, key, besides="columns")}
    return Arguments(given | accepted_columns(function, columns), accepted)


def required_columns(function: Callable[..., Any], known: Sequence[str] = _OURS) -> list[str]:
    """The columns of the data without which ``function`` cannot be called."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in _parameters(function).items()
        if name not in known and parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    ]


def accepted_columns(function: Callable[..., Any], columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns that ``function`` has parameters for; all of them if it takes ``**columns``."""
    return {
        name: column
        for name, column in columns.items()
        if name not in ("prompts", "completions") and _accepts(function, name)
    }


def _accepts(function: Callable[..., Any], name: str, besides: str | None = None) -> bool:
    """Whether it has the parameter, or takes any; but not if it calls these as ``besides``."""
    parameters = _parameters(function)
    further = [each.name for each in parameters.values() if each.kind is inspect.Parameter.VAR_KEYWORD]
    return name in parameters or (bool(further) and besides not in further)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin without a signature: pass everything
        return {"columns": inspect.Parameter("columns", inspect.Parameter.VAR_KEYWORD)}


def _is_ours(function: Callable[..., Any]) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] == "prefgym"


def _as_messages(
    prompts: Sequence[str], completions: Sequence[str], conversations: Sequence[Any]
) -> dict[str, Sequence[Any]]:
    """Prompts and completions, as messages where the prompt is a conversation."""
    rows = list(zip(prompts, completions, conversations, strict=True))
    return {
        "prompts": [[dict(message) for message in talk] if talk else prompt for prompt, _, talk in rows],
        "completions": [[{"role": "assistant", "content": text}] if talk else text for _, text, talk in rows],
    }


def _ignored(name: str, value: Any) -> None:
    """``log_extra`` and ``log_metric``: accepted, and written nowhere; a part of weight 0 is logged instead."""
