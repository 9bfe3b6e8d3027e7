"""Named errors whose message is one sentence a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave (a file, a column, an option, a folder) cannot be used.

    The message is one sentence that names the file, line or key, and the next step. The command line
    prints it alone, without a traceback, and exits with code 2.
    """


class RewardError(RuntimeError):
    """A reward function failed: it raised, or returned NaN, inf or the wrong number of values.

    Attributes:
        prompt_index: index of the prompt at fault in its prompt set, ``None`` when no single prompt is to blame.
    """

    def __init__(self, message: str, prompt_index: int | None = None) -> None:
        super().__init__(message)
        self.prompt_index = prompt_index


class AgentError(RuntimeError):
    """An agent of the user's failed: it raised, ended the program, or answered something else than it must.

    The message is one sentence that names the agent, and the file and line. Its exit code is 4, as for rewards.
    """


class MachineError(RuntimeError):
    """The machine failed (a disk, a device, a permission); nothing the user gave is wrong.

    The message is one sentence. The command line prints it alone and exits with code 3, as for any such ``OSError``.
    """


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the option closest to ``name``, or ``""`` when none is close.

    >>> nearest("learning_rat", ["learning_rate", "seed"])
    ' Did you mean "learning_rate"?'
    >>> nearest("zzz", ["learning_rate", "seed"])
    ''
    """
    matches = difflib.get_close_matches(str(name), list(options), n=1, cutoff=0.6)
    return f' Did you mean "{matches[0]}"?' if matches else ""
