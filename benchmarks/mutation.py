"""Faults planted in the rooms of learning: how many of them the tests find.

    python benchmarks/mutation.py --output benchmarks/mutation       some hours on one core, resumes
    python benchmarks/mutation.py --again --output benchmarks/mutation    runs those that survived once more
    python benchmarks/mutation.py --quick --output /tmp/mutation     shows that it runs

From a clone in which the tests run, with `pip install cosmic-ray`, whose operators make the changes; Linux and macOS.
First every file of tests runs on the code as it is, and it is noted which test runs which line. Then places are drawn
from agents, rewards, envs and models; each draw changes one place, and the tests that run its line run until one fails.
A mutant is a line of OUTPUT/mutants.jsonl; the same command again makes those that are missing. Writes README.md.
What OUTPUT/judged.jsonl says of survivors is written by hand.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mutants import ROOMS, ROOT, Mutant, module_files, sample, source_of, statement
from mutation_report import page
from mutation_run import LIBRARIES, Runner, Task
from mutation_survey import Survey
from tqdm import tqdm

QUICK = {"modules": ["rewards/calibration.py"], "tests": ["tests/rewards/test_calibration.py"], "count": 3}
LIGHT = ("pytest", "coverage", "numpy", "scipy.optimize", "gymnasium")


def main() -> None:
    """Run every mutant that is missing; write the page."""
    options = read_options()
    if not options.quick:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the running tests end too
    options.output.mkdir(parents=True, exist_ok=True)
    mutants, places = sample(options.modules, options.count, options.seed)
    results = Results(options.output / "mutants.jsonl")
    runner = Runner(Path(tempfile.mkdtemp(prefix="mutation-")) / "task", LIGHT if options.quick else LIBRARIES)
    survey = Survey(options.cache or options.output / "survey", options.tests, options.modules)
    survey.measure(runner, partial(tqdm, desc="tests", unit="file"))
    left = [mutant for mutant in mutants if results.missing(mutant, options.again)]
    left = [mutant for mutant in left if mutant.module.split("/")[0] in options.only]
    unmutated = check_unmutated(runner, survey, options.budget, mutants)
    for mutant in tqdm(left, desc="mutants", unit="mutant"):
        results.add(mutant.row() | attempt(runner, survey, mutant, options.budget))
    rows = [results.rows[mutant.name] for mutant in mutants if mutant.name in results.rows]
    judged = read_lines(options.output / "judged.jsonl")
    command = f"python benchmarks/mutation.py {shlex.join(sys.argv[1:])}"
    failing = {"as it is": unmutated, "lines counted": survey.failed, "killers": check_killers(runner, rows)}
    text = page(command, rows, places, judged, failing, options.budget)
    (options.output / "README.md").write_text(text, encoding="utf-8")


def read_options() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=330, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=30, help="processor seconds of tests for a mutant")
    parser.add_argument("--modules", nargs="+", metavar="FILE", default=module_files())
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="files of tests (default: those of the four rooms)")
    parser.add_argument("--only", nargs="+", choices=ROOMS, default=ROOMS, help="run mutants of these rooms alone")
    parser.add_argument("--cache", type=Path, help="folder of which test runs which line (default: OUTPUT/survey)")
    parser.add_argument("--again", action="store_true", help="run what has survived once more")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    folders = [ROOT / "tests" / room for room in ROOMS]
    every = sorted(file.relative_to(ROOT).as_posix() for folder in folders for file in folder.rglob("test_*.py"))
    options.tests = options.tests or every
    return options


class Results:
    """The lines of a results file: the last of a mutant counts, and an earlier one says that it had survived."""

    def __init__(self, file: Path) -> None:
        self._file, self.rows = file, {}
        for row in read_lines(file):
            self._keep(row)

    def missing(self, mutant: Mutant, again: bool) -> bool:
        """Whether a mutant is to be run."""
        row = self.rows.get(mutant.name)
        return row is None or row["before"] != mutant.before or (again and row["outcome"] == "survived")

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._keep(row)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _keep(self, row: dict[str, Any]) -> None:
        earlier = self.rows.get(row["name"], row)
        self.rows[row["name"]] = row | {"first": earlier.get("first", earlier["outcome"])}


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, none where there is none; the half line of a killed run is left out."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def attempt(runner: Runner, survey: Survey, mutant: Mutant, budget: float, source: str | None = None) -> dict[str, Any]:
    """Run a mutant, or in its place another source; what came of it."""
    tests = chosen(survey, mutant, budget)
    seconds = {test: survey.seconds[test] for test in tests}
    if not tests:
        return {"outcome": "survived", "by": "no test runs this module", "tests": 0, "seconds": 0}
    answer = runner.run(Task(tests, (mutant.module, source or mutant.source), seconds))
    ran = {"tests": len(tests), "seconds": round(sum(seconds.values()), 1)}
    return {"outcome": answer.outcome, "by": answer.by} | ran


def chosen(survey: Survey, mutant: Mutant, budget: float) -> list[str]:
    """The tests to try on a mutant."""
    lines, called = statement(source_of(mutant.module), mutant.line, mutant.column)
    return survey.tests_for(mutant.module, lines, called, budget)


def check_unmutated(runner: Runner, survey: Survey, budget: float, mutants: Sequence[Mutant]) -> list[str]:
    """The first mutant of each room without its change, the same way: the tests that fail, of which there are none."""
    first = {mutant.module.split("/")[0]: mutant for mutant in reversed(mutants)}
    same = [attempt(runner, survey, mutant, budget, source_of(mutant.module)) for mutant in first.values()]
    return [found["by"] for found in same if found["outcome"] != "survived"]


def check_killers(runner: Runner, rows: Iterable[dict[str, Any]]) -> list[str]:
    """The tests that killed, on the code as it is and in one process: those that fail, of which there are none."""
    killers = sorted({row["by"] for row in rows if row["outcome"] == "killed" and row["by"].startswith("tests/")})
    killers = [test for test in killers if "(process ended" not in test]
    return runner.run(Task(killers, lines=True)).failed if killers else []


if __name__ == "__main__":
    main()
