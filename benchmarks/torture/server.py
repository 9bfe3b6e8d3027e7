"""A server that has imported everything once and forks a child per command, so that a trial costs only its own time.

Started by :class:`~.fire.Server` under LD_PRELOAD; reads one order per line on stdin, answers with one line on stdout.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from typing import Any

MODULES = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.trainer",
    "tokenizers",
    "safetensors.torch",
    "datasets",
    "tensorboard",
    "torch.utils.tensorboard",
    "matplotlib.pyplot",
    "pandas",
    "peft",
    "prefgym.cli",
    "prefgym.agents",
    "prefgym.evaluation",
    *(f"prefgym.commands.{name}" for name in ("train", "sft", "reward", "evaluate", "compare", "sample", "label")),
    *(f"prefgym.commands.{name}" for name in ("benchmark", "build_assets")),
    "prefgym.commands.lecture",
)


def main() -> None:
    """Import, then serve until stdin ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints is not an answer
    for name in MODULES:
        try:
            import_module(name)
        except ImportError as error:  # an extra that is not installed
            print(f"{name}: {error}", file=sys.stderr)
    import torch

    torch.set_num_threads(1)
    if "--quick" not in sys.argv:
        from prefgym.rewards.gold import known_pairs

        known_pairs()  # saves a second in every child that judges by gold
    gc.freeze()
    for line in sys.stdin:
        answer = attempt(json.loads(line))
        os.write(answers, (json.dumps(answer) + "\n").encode())


def attempt(order: dict[str, Any]) -> dict[str, Any]:
    """Fork, let the child run, kill it when its time is over; gives how it ended."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = perform(order)
        finally:
            os._exit(code)
    late = min(order["timeout"], order["seconds"] or order["timeout"])
    timer = threading.Timer(late, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    timer.cancel()
    timer.join()  # there must be no thread at the next fork
    code = os.waitstatus_to_exitcode(status)
    by_signal = "timeout" if seconds >= order["timeout"] else "killed"
    ended = "itself" if code >= 0 else by_signal
    return {"code": code, "ended": ended, "seconds": seconds}


def perform(order: dict[str, Any]) -> int:
    """In the child: arm the shim, run the command, exit as an interpreter does; gives the exit code."""
    for fd, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, stream in ((1, "stdout"), (2, "stderr")):
        setattr(sys, stream, io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), "utf-8", line_buffering=True))
    os.environ.update(order.get("environment", {}))
    os.chdir(order["cwd"])
    if order["plain"]:
        obey_permissions()
    if order["mode"]:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        ctypes.CDLL(None).inject_arm(order["folder"].encode(), order["mode"], ctypes.c_long(order["n"]), log)
    try:
        from prefgym.cli import main

        code = main(order["words"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # what the command line let through, as an interpreter shows it
        traceback.print_exc()
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 120
    return code


def obey_permissions() -> None:
    """Drop root's right to write everywhere: capabilities 1 to 3, with capset(2)."""
    libc, version = ctypes.CDLL(None, use_errno=True), 0x20080522
    header, sets = (ctypes.c_uint32 * 2)(version, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) == 0:
        for index in (0, 1, 2):  # effective, permitted, inheritable; the first 32 capabilities
            sets[index] &= ~0b1110
        libc.capset(header, sets)


if __name__ == "__main__":
    main()
