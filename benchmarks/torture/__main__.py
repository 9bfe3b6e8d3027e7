"""Commands under fire: killed at file operations and moments, on full disks, over users' files, with bad input.

    python -m benchmarks.torture --output benchmarks/torture              200 kills, 200 folders, 2,000 bad inputs
    python -m benchmarks.torture --command train --mode kill torn --every 1 --output /tmp/t    at every file operation
    python -m benchmarks.torture --command train --mode full --every 1 --output /tmp/t    a full disk at every write
    python -m benchmarks.torture --quick --output /tmp/t                  shows that it runs

From the root of a clone; Linux with a C compiler. Every trial is a line of OUTPUT/results.jsonl; the same command again
runs the missing ones. Writes README.md. Exit code 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prefgym.files import write_text

from .bad_inputs import try_inputs
from .cases import Case, make_cases
from .fire import Server
from .material import make_material
from .outcome import leftovers
from .ownership import try_folders
from .report import page
from .trials import DISKS, KILLS, Trial, Untouched, attempt, measure

COMMANDS = ("train", "sft", "reward", "evaluate", "lecture", "overwrite")


def main() -> None:
    """Run every missing trial; write the page."""
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    results = Results(options.output / "results.jsonl")
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="prefgym-torture-"))
    material = make_material(scratch / "material")
    with Server(scratch, quick=options.quick) as server:
        if options.command:
            run_trials(server, scratch, material, options, results)
        for what, tries, count in (("folder", try_folders, options.folders), ("input", try_inputs, options.inputs)):
            keys = [f"{what} {options.seed} {index}" for index in range(count)]
            keys = [key for key in keys if key not in results.done(what)]
            made = tries(server, scratch, material, keys, quick=options.quick)
            for row in tqdm(made, total=len(keys), desc=f"{what}s", unit="try"):
                results.add({"what": what, **row})
    words = [word for word in sys.argv[1:] if word != "--"]
    command = f"python -m benchmarks.torture {shlex.join(words)}"
    write_text(
        options.output / "README.md", page(command, *(results.of(what) for what in ("trial", "folder", "input")))
    )
    bad = [row for row in results.rows if not row["good"]]
    print(f"{len(results.rows)} trials, {len(bad)} went wrong: {options.output / 'README.md'}")
    sys.exit(1 if bad else 0)


def read_options() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*COMMANDS, "train-plain"]
    parser.add_argument("--command", nargs="*", choices=names, default=list(COMMANDS), help="none skips the trials")
    parser.add_argument("--mode", nargs="+", choices=[*KILLS, *DISKS], default=["kill", "torn", "after", "time"])
    parser.add_argument("--trials", type=int, default=200, help="random trials over all commands and modes")
    parser.add_argument("--every", type=int, help="instead: at every K-th operation of each command and mode")
    parser.add_argument("--folders", type=int, default=200, help="tries of file ownership")
    parser.add_argument("--inputs", type=int, default=2000, help="bad inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="working folder (default: a new temporary one)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.command, options.trials, options.folders, options.inputs = ["train-plain"], 4, 4, 20
    return options


class Results:
    """The lines of a results file, each of which is a trial that need not be repeated."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def of(self, what: str) -> list[dict[str, Any]]:
        """The rows of one part."""
        return [row for row in self.rows if row["what"] == what]

    def done(self, what: str) -> set[str]:
        """Keys of finished trials."""
        return {row["key"] for row in self.of(what)}

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self.rows.append(row)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def run_trials(server: Server, scratch: Path, material: Path, options: argparse.Namespace, results: Results) -> None:
    """Kill, fill and break: all commands, at random or enumerated operations."""
    cases = make_cases(server, scratch, material)
    share = options.trials / len(options.command)
    for index, name in enumerate(options.command):
        case, count = cases[name], round(share * (index + 1)) - round(share * index)
        untouched = measure(server, case, scratch / "work")
        print(f"{name}: {len(untouched.operations)} file operations, {len(untouched.growing)} that need room")
        for fault in [*leftovers(untouched.picture, untouched.picture), *untouched.picture.doubled()]:
            print(f"{name} leaves in peace: {fault}")
        modes, rng = options.mode, random.Random(f"{options.seed} {name}")
        drawn = enumerate_trials(case, untouched, modes, options.every) if options.every else None
        trials = list(drawn or draw_trials(case, untouched, modes, count, rng))
        done = results.done("trial")
        for trial in tqdm([trial for trial in trials if trial.key not in done], desc=name, unit="trial"):
            results.add({"what": "trial", **attempt(server, case, untouched, trial, scratch / "work").row()})


def draw_trials(
    case: Case, untouched: Untouched, modes: Iterable[str], count: int, rng: random.Random
) -> Iterator[Trial]:
    """Trials at uniformly random operations and moments; the modes alternate."""
    modes = list(modes)
    for index in range(count):
        mode = modes[index % len(modes)]
        where = rng.uniform(0, untouched.seconds) if mode == "time" else rng.randint(1, len(places(untouched, mode)))
        if mode in ("torn", "after"):
            where = rng.choice(places(untouched, mode))
        again = rng.randint(1, 200) if mode in KILLS and rng.random() < 0.25 else 0
        first = rng.choice(["resume", "rerun"]) if case.resume else "rerun"
        yield Trial(case.name, mode, round(where, 3), again, first)


def enumerate_trials(case: Case, untouched: Untouched, modes: Iterable[str], every: int) -> Iterator[Trial]:
    """Trials at every K-th operation of each mode, with alternating recovery."""
    for mode in modes:
        if mode != "time":
            for index, where in enumerate(places(untouched, mode)[::every]):
                yield Trial(case.name, mode, where, 0, "rerun" if index % 2 or not case.resume else "resume")


def places(untouched: Untouched, mode: str) -> list[int]:
    """The operations at which a mode can act; ``torn`` and ``after`` differ from ``kill`` only in writes."""
    operations = untouched.growing if mode == "full" else untouched.operations
    numbers = range(1, len(operations) + 1)
    if mode in ("torn", "after"):
        return [number for number in numbers if " write+ " in operations[number - 1]]
    return list(numbers)


if __name__ == "__main__":
    main()
