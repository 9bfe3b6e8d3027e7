"""Users' agents: whatever one raises, the command ends with a sentence that names it and the line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import AgentError
from .failures import explain


@contextmanager
def blaming(kind: type) -> Iterator[None]:
    """Around work that runs an agent of a class: what its code raises becomes an :class:`AgentError`.

    prefgym's own classes pass everything on, and so do failures that already have a sentence: bad input, a reward,
    the machine, a stop or a divergence.
    """
    try:
        yield
    except BaseException as error:  # SystemExit too: an agent that ends the program has not trained
        if kind.__module__.partition(".")[0] == "prefgym" or explain(error) is not None:
            raise
        from .rewards.calling import told

        raise AgentError(
            f"Agent {kind.__name__} failed at {_place(kind, error)}: {told(error)}; mend it there, and try it with "
            f"prefgym.check_agent({kind.__name__})."
        ) from error


def _place(kind: type, error: BaseException) -> str:
    """The innermost line of the user's files that an error came through; without one, where the class begins."""
    from .rewards.importing import with_imports

    try:
        file = inspect.getfile(kind)
    except (TypeError, OSError):  # made in no file
        return f"an unknown line of {kind.__module__}"
    own = {path.resolve() for path in with_imports([Path(file)])}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve() in own:
            return f"{frame.filename}, line {frame.lineno}"
    try:
        return f"{file}, line {inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return file
