"""The one place that turns a failure into a sentence and an exit code.

| code | meaning |
| --- | --- |
| 0 | the work was done |
| 1 | training diverged |
| 2 | bad input: something that was given cannot be used |
| 3 | the machine refused: disk, memory, device, permission |
| 4 | a reward, judge or agent of the user's failed |
| 70 | unexpected: a report file was written |
| 130, 143 | stopped by SIGINT, SIGTERM |
| 141 | the reader of the output had enough |
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .errors import AgentError, InputError, MachineError, RewardError
from .storage.atomic import is_partial
from .storage.signals import stopped

EXIT_DIVERGED, EXIT_INPUT, EXIT_MACHINE, EXIT_THEIRS = 1, 2, 3, 4
EXIT_UNEXPECTED, EXIT_PIPE = 70, 141

_GIVEN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ELOOP, errno.EINVAL}
"""System errors caused by a name that the user gave."""
_SPACE = "; what was saved is intact, continue once there is space"
_ALLOWED = "; change its permissions, or give another place"
_ADVICE = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "; files may not grow further here, raise that limit and continue",
    errno.EACCES: _ALLOWED,
    errno.EPERM: _ALLOWED,
    errno.EROFS: "; give a writable place",
}
"""What to do next."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_VERSIONS = ("prefgym", "torch", "transformers", "gymnasium", "safetensors", "tokenizers", "datasets", "numpy", "peft")


def explain(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the sentence for an expected failure; None for any other."""
    if isinstance(error, InputError):
        return EXIT_INPUT, _line(error)
    if isinstance(error, RewardError | AgentError):
        return EXIT_THEIRS, _line(error)
    if isinstance(error, MachineError):
        return EXIT_MACHINE, _line(error)
    if isinstance(error, FloatingPointError):
        return EXIT_DIVERGED, _line(error)
    if isinstance(error, KeyboardInterrupt):
        stop = stopped(error, *map(str, error.args))
        return 128 + stop.signum, _line(stop) or f"stopped by {stop.name}."
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE, ""
    if isinstance(error, OSError) and error.errno is not None:
        return _of_the_system(error)
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
        return EXIT_MACHINE, "there is not enough memory; take a smaller batch_size, fewer episodes or a smaller model."
    return None


def report(error: BaseException, words: list[str]) -> str:
    """Write what happened to a file, for whoever fixes it; gives the sentence that says where."""
    told = "".join(traceback.format_exception(error))
    lines = [f"prefgym {' '.join(words)}", platform.platform(), f"Python {platform.python_version()}", *_versions(), ""]
    name = f"prefgym-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    file = Path(tempfile.gettempdir()) / name
    try:
        file.write_text("\n".join(lines) + told, encoding="utf-8", errors="backslashreplace")
        where = f"a report is in {file}"
    except OSError:
        print(told, file=sys.stderr)
        where = "its traceback is above"
    return (
        f"something unexpected happened ({type(error).__name__}: {_line(error)[:300]}); {where}. Your files were "
        "not touched, and what was saved of the run is intact: train, sft, reward continue with --resume, others when "
        "they are run again."
    )


def _of_the_system(error: OSError) -> tuple[int, str]:
    reason = (os.strerror(error.errno) if error.errno else str(error)).rstrip(".")
    name = error.filename if isinstance(error.filename, str | os.PathLike) else None
    if name is not None and is_partial(Path(os.fspath(name))):  # our own name, for a file being written
        name = Path(os.fspath(name)).parent
    where = f"{os.fspath(name)}: " if name is not None else ""
    if name is None or error.errno not in _GIVEN:
        return EXIT_MACHINE, f"{where}{reason}{_ADVICE.get(error.errno or 0, '')}."
    shown = os.fspath(name)
    where = f"{shown[:60]}...: " if len(shown) > 400 else where
    return EXIT_INPUT, f"{where}{reason}; check the name."


def _versions() -> list[str]:
    found = []
    for name in _VERSIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _line(error: BaseException) -> str:
    """The message in one line, whatever line breaks are in it."""
    return " ".join(str(error).split())
