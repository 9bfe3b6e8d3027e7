"""The controlling side of the shim and the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODES = ("none", "count", "kill", "torn", "after", "full", "read-only", "broken")
"""What the shim does at the n-th operation, in the order of ``enum mode``.

``torn`` kills in the middle of a write and ``after`` right after one, both before anything else. The last three fail
from the n-th on: with ENOSPC (only operations that need room), EROFS and EIO.
"""


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def compile_shim(folder: Path) -> Path:
    """Compile the shim into a folder, unless it is there and newer than its source."""
    cc, source, library = compiler(), HERE / "inject.c", folder / "inject.so"
    if cc is None or not sys.platform.startswith("linux"):
        sys.exit("The shim needs Linux and a C compiler (cc); install one.")
    if not library.is_file() or library.stat().st_mtime < source.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"inject-{os.getpid()}.so"
        subprocess.run([cc, "-shared", "-fPIC", "-O1", "-o", partial, source, "-ldl"], check=True)
        os.replace(partial, library)
    return library


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; minus the signal where one ended it.
        ended: ``"itself"``, ``"killed"`` (as asked) or ``"timeout"``.
        seconds: wall time.
        operations: what the shim logged: with ``count`` every operation, otherwise the one where it acted.
    """

    words: tuple[str, ...]
    code: int
    ended: str
    seconds: float
    out: str
    err: str
    operations: tuple[str, ...] = field(default=(), repr=False)

    @property
    def lines(self) -> list[str]:
        """Of stderr, as a terminal shows them: only the last of what a progress bar overwrites."""
        shown = (line.rstrip("\r").rsplit("\r", 1)[-1].strip() for line in self.err.split("\n"))
        return [line for line in shown if line]

    @property
    def sentence(self) -> list[str]:
        """Our own lines on stderr, without progress bars and other packages' warnings."""
        return [line for line in self.lines if line.startswith("prefgym")]

    @property
    def last_line(self) -> str:
        """Of stderr."""
        return self.lines[-1] if self.lines else ""

    def bad_manners(self, codes: Sequence[int]) -> list[str]:
        """What no command may do, however it ends: another exit code, a traceback, no sentence, or several."""
        found = [] if self.code in codes else [f"exit code {self.code}"]
        if self.ended == "timeout":
            return [f"not ended after {self.seconds:.0f} s"]
        if "Traceback (most recent call last)" in self.out + self.err or "prefgym-error-" in self.err:
            found.append("a traceback")
        elif self.code and (len(self.sentence) != 1 or not self.last_line.startswith("prefgym")):
            found.append(f"{len(self.sentence)} sentences at the end of stderr")
        return found

    def told(self) -> str:
        """A line for readers of a failure."""
        return f"prefgym {' '.join(self.words)[:150]} -> {self.code} ({self.ended}): {self.last_line[:300]}"


class Server:
    """Runs commands of prefgym in children of one process; ``with Server(scratch) as server: server.run([...], ...)``.

    Args:
        scratch: where the shim, caches, and what commands print are kept.
        quick: start sooner; commands that judge by gold take longer.
    """

    def __init__(self, scratch: Path, *, quick: bool = False) -> None:
        self._streams = scratch / "streams"
        self._streams.mkdir(parents=True, exist_ok=True)
        cache = scratch / "home-of-server"  # what a command records outside its folder does not matter here
        cache.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(compile_shim(scratch)),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(cache / "huggingface"),
            "HOME": str(cache),
            **{f"XDG_{what}_HOME": str(cache / what.lower()) for what in ("CACHE", "CONFIG", "DATA", "STATE")},
            "MPLCONFIGDIR": str(cache / "matplotlib"),
        }
        command = [sys.executable, "-m", "benchmarks.torture.server", *(["--quick"] if quick else [])]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        words: list[str],
        *,
        cwd: Path,
        folder: Path | None = None,
        mode: str = "none",
        n: int = 0,
        seconds: float | None = None,
        timeout: float = 120,
        plain: bool = False,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run one command to its end.

        Args:
            words: of the command line, without ``prefgym``.
            cwd: working folder.
            folder: the shim counts what changes below it.
            mode: of ``MODES``.
            n: the operation, from 1, at which the shim acts.
            seconds: kill it after this long.
            timeout: kill it after this long, as a fault.
            plain: without root's right to write where permissions forbid it.
            environment: variables in addition to the server's.
        """
        out, err, log = (self._streams / name for name in ("out", "err", "log"))
        log.write_bytes(b"")
        order: dict[str, Any] = {
            "words": words,
            "cwd": str(cwd),
            "folder": str(folder or cwd),
            "mode": MODES.index(mode),
        }
        order |= {"plain": plain, "n": n, "seconds": seconds, "timeout": timeout, "environment": environment or {}}
        order |= {"out": str(out), "err": str(err), "log": str(log)}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"The fork server died (exit code {self._process.wait()}) while it ran {words}.")
        answer = json.loads(line)
        printed, told, logged = (p.read_text(encoding="utf-8", errors="backslashreplace") for p in (out, err, log))
        operations = tuple(logged.splitlines())
        return Ended(tuple(words), answer["code"], answer["ended"], answer["seconds"], printed, told, operations)

    def close(self) -> None:
        """Stop the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
