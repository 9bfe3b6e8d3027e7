"""Parallel jobs in processes, which continue where they were stopped.

A job makes the content of one file, in its own process: one that fails or is killed leaves no file and does not stop
the others. Linux and macOS: the processes are forks, which share imports.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prefgym.files import write_text


@dataclass(frozen=True)
class Job:
    """A JSON file, and the function that makes its content."""

    file: Path
    make: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...] = ()


def work(jobs: Sequence[Job], workers: int, title: str) -> dict[str, str]:
    """Make the missing files, ``workers`` at a time and in this order.

    Returns:
        Name of the file -> the error, for those that could not be made.
    """
    left = [job for job in jobs if not job.file.is_file()]
    running: dict[int, tuple[Job, int]] = {}  # process -> its job, and where it reports errors
    errors = {}
    tqdm.monitor_interval = 0  # no other thread, as a fork would lack it
    with tqdm(total=len(left), desc=title, unit="job") as bar:
        while left or running:
            while left and len(running) < workers:
                running.update([_start(left.pop(0))])
            process, status = os.wait()
            if process not in running:  # a child that somebody else started in this process
                continue
            job, channel = running.pop(process)
            with os.fdopen(channel, encoding="utf-8") as told:
                error = told.read()
            if status:
                code = os.waitstatus_to_exitcode(status)
                errors[job.file.stem] = error or f"The process was killed (exit code {code})."
            bar.update()
    return errors


def read(file: Path) -> dict[str, Any]:
    """A job's output."""
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _start(job: Job) -> tuple[int, tuple[Job, int]]:
    here, there = os.pipe()
    process = os.fork()
    if process == 0:
        os._exit(_perform(job, there))
    os.close(there)
    return process, (job, here)


def _perform(job: Job, there: int) -> int:
    """Do a job in this process; gives its exit code."""
    try:
        text = json.dumps(job.make(*job.arguments), allow_nan=False)
        write_text(job.file, text + "\n")
    except BaseException:  # whatever it is, this process must not continue as its parent
        os.write(there, traceback.format_exc()[-4000:].encode("utf-8"))
        return 1
    return 0
