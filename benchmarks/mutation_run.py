"""Tests on one changed module, each run in a process of its own that starts with the libraries imported.

The changed source is handed to Python's import as the text of that module: no file is written. What tests start as a
command reads the files and so meets the unchanged code; no such test can kill a mutant.
"""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from mutants import ROOT

KINDS = ("bart", "bert", "gpt2", "gpt_neox", "llama", "mistral", "t5")
LIBRARIES = (
    *("pytest", "coverage", "gymnasium", "torch", "transformers", "stable_baselines3", "datasets", "peft"),
    *("sb3_contrib", "rouge_score.rouge_scorer", "torch.utils.tensorboard", "transformers.trainer"),
    *(f"transformers.models.{kind}.modeling_{kind}" for kind in KINDS),
)
"""What every process has imported; one that is not installed is left out."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
LARGEST_MEMORY = 16 * 2**30
LONGEST_COLLECTION, LONGEST_TEST = 120.0, 600.0
ENDS = {0: "survived", 1: "killed", 2: "killed", 3: "killed", 4: "killed"}  # exit codes of pytest


@dataclass(frozen=True)
class Task:
    """Tests to run.

    Attributes:
        tests: files or node ids below the root, in this order.
        changed: a module's path below the root and the source it is to have; None leaves all as it is.
        seconds: how long each test took before, in seconds of the processor; one that takes over three times that and
            ``slack`` more is stopped.
        lines: whether to count which test runs which line.
    """

    tests: list[str]
    changed: tuple[str, str] | None = None
    seconds: dict[str, float] | None = None
    slack: float = 10
    lines: bool = False


@dataclass
class Answer:
    """What came of a task.

    Attributes:
        outcome: ``"survived"`` (all passed), ``"killed"`` or ``"timeout"``.
        by: the first test that failed, or what happened instead.
        seconds: of the processor, for every test that passed; a busy machine does not change them.
        ran: module -> line -> the tests that ran it, by their place in ``seconds``.
    """

    outcome: str
    by: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    ran: dict[str, dict[int, list[int]]] = field(default_factory=dict)


class Runner:
    """Starts a process for each task; they are forks of one that has imported the libraries, and never prefgym."""

    def __init__(self, scratch: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self._scratch = scratch
        os.environ.update(ONE_THREAD | OFFLINE)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(list(libraries))

    def run(self, task: Task) -> Answer:
        """Run the tests until one fails; of a task that counts lines, all of them."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        (self._scratch / "here").mkdir(parents=True)
        process = self._processes.Process(target=perform, args=(task, self._scratch))
        process.start()
        assert process.pid is not None
        try:
            process.join()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what the tests have started and left
        process.join()
        told = self._scratch / "answer.json"
        if told.is_file():
            return Answer(**json.loads(told.read_text(encoding="utf-8")))
        slow = process.exitcode in (-signal.SIGPROF, -signal.SIGALRM)
        running = self._scratch / "running"
        test = running.read_text(encoding="utf-8") if running.is_file() else "collection"
        return Answer("timeout" if slow else "killed", f"{test} (process ended with {process.exitcode})")


def perform(task: Task, scratch: Path) -> None:
    """The process of a task: leaves ``answer.json`` in the scratch folder."""
    os.setpgid(0, 0)
    if loaded := [name for name in sys.modules if name.split(".")[0] == "prefgym"]:
        raise RuntimeError(f"prefgym is imported before its source is changed: {loaded}")
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_after(LONGEST_COLLECTION)
    os.dup2(os.open(scratch / "log.txt", os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(scratch.parent / "bytecode")
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch / "here")
    os.chdir(scratch / "here")
    sys.path.insert(0, str(ROOT))
    if task.changed:
        module, source = task.changed
        sys.meta_path.insert(0, Changed(module, source))  # type: ignore[arg-type]
    watcher = Watcher(task, scratch / "running")
    code = int(pytest.main([*words(task, scratch), *(str(ROOT / test) for test in task.tests)], plugins=[watcher]))
    answer = watcher.answer(code)
    (scratch / "answer.part").write_text(json.dumps(answer), encoding="utf-8")
    os.replace(scratch / "answer.part", scratch / "answer.json")
    os._exit(0)  # no wait for threads that a test has left


def end_after(seconds: float) -> None:
    """End this process once it has computed for so long, or has waited for ever."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(math.ceil(60 * (seconds + 5)))  # of the clock, on which a busy machine may leave it little


def words(task: Task, scratch: Path) -> list[str]:
    """What pytest is told."""
    told = ["-q", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "--basetemp", str(scratch / "tests")]
    told += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", "-m", "not no_cover"]
    return told if task.lines else [*told, "-x"]


class Changed(SourceFileLoader):
    """Finds and loads one module of prefgym, with another source than its file's."""

    def __init__(self, module: str, source: str) -> None:
        parts = Path(module).with_suffix("").parts
        super().__init__(".".join(("prefgym", *(part for part in parts if part != "__init__"))), str(ROOT / module))
        self._source = source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module itself, if it is asked for."""
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        """The changed source, compiled; nothing is cached."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


class Watcher:
    """A plugin of pytest: notes which tests passed, how long they took and, if asked, which lines they ran."""

    def __init__(self, task: Task, running: Path) -> None:
        self._task, self._running = task, running
        self._seconds: dict[str, float] = {}
        self._began = 0.0
        self._not_passed: list[str] = []
        self._failed: list[str] = []
        self._coverage: Any = None
        if task.lines:
            from coverage import Coverage

            self._coverage = Coverage(data_file=None, config_file=False, source_pkgs=["prefgym"], messages=False)
            self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins, and the process ends if it takes too long."""
        self._running.write_text(nodeid, encoding="utf-8")
        known = self._task.seconds
        end_after(LONGEST_TEST if known is None else self._task.slack + 3 * known.get(nodeid, 0))
        self._began = sum(os.times()[:4])  # of this process and of those it has started
        if self._coverage:
            self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A part of a test is over."""
        if not report.passed:
            self._not_passed.append(report.nodeid)
        if report.failed:
            self._failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of tests may not be importable."""
        if report.failed:
            self._failed.append(f"collection of {report.nodeid}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test is over."""
        self._seconds[nodeid] = sum(os.times()[:4]) - self._began
        end_after(LONGEST_COLLECTION)
        if self._coverage:
            self._coverage.switch_context("")

    def answer(self, code: int) -> dict[str, Any]:
        """The fields of an :class:`Answer`."""
        outcome, passed = ENDS.get(code, f"pytest ended with {code}"), set(self._seconds) - set(self._not_passed)
        seconds = {test: round(self._seconds[test], 3) for test in self._seconds if test in passed}
        by = self._failed[0] if self._failed else "" if code == 0 else "collection"
        ran = self._lines(list(seconds)) if self._coverage else {}
        return {"outcome": outcome, "by": by, "seconds": seconds, "failed": self._failed, "ran": ran}

    def _lines(self, tests: list[str]) -> dict[str, dict[int, list[int]]]:
        self._coverage.stop()
        data, place = self._coverage.get_data(), {test: i for i, test in enumerate(tests)}
        found = {}
        for file in data.measured_files():
            lines = {
                line: sorted(place[test] for test in contexts if test in place)
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            found[Path(file).relative_to(ROOT).as_posix()] = {line: ran for line, ran in lines.items() if ran}
        return found
