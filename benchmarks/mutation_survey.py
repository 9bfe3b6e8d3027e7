"""Which test runs which line of the rooms, and which tests a change is tried on."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mutants import ROOT
from mutation_run import Runner, Task


class Survey:
    """Which test runs which line, and how long it takes: measured once for each file of tests, and kept in a folder.

    A file of tests that has changed, and all of them once a module has, are measured again.
    """

    def __init__(self, folder: Path, files: Sequence[str], modules: Sequence[str]) -> None:
        self._folder, self._files = folder, files
        self._code = hashlib.sha256(b"".join((ROOT / module).read_bytes() for module in modules))
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._ran: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))

    def measure(self, runner: Runner, progress: Any) -> None:
        """Run what is not measured yet, and read all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for test_file in progress(self._files):
            key = self._code.copy()
            key.update(test_file.encode() + (ROOT / test_file).read_bytes())
            kept = self._folder / f"{key.hexdigest()[:16]}.json"
            if not kept.is_file():
                answer = runner.run(Task([test_file], lines=True))
                found = {"seconds": answer.seconds, "failed": answer.failed, "ran": answer.ran}
                part = kept.with_suffix(".part")
                part.write_text(json.dumps(found), encoding="utf-8")
                part.replace(kept)
            self._read(json.loads(kept.read_text(encoding="utf-8")))

    def _read(self, found: dict[str, Any]) -> None:
        tests = list(found["seconds"])
        self.seconds |= found["seconds"]
        self.failed += found["failed"]
        for module, lines in found["ran"].items():
            for line, ran in lines.items():
                self._ran[module][int(line)] += [tests[i] for i in ran]

    def tests_for(self, module: str, lines: Sequence[int], called: bool, budget: float) -> list[str]:
        """The tests to try on a change.

        Those that run one of the lines; where no function runs them, or no test does, those of the module. First come
        those of the module's own file of tests, each time the quickest first, as far as they fit
        into ``budget`` seconds.
        """
        of_module, own = self._ran.get(module, {}), f"tests/{Path(module).parent}/test_{Path(module).stem}.py::"
        near = {test for line in lines for test in of_module.get(line, ())}
        far = {test for tests in of_module.values() for test in tests}
        far |= {test for test in self.seconds if test.startswith(own)}
        chosen: list[str] = []
        for tests in (near,) if near and called else (near, far - near):
            chosen += sorted(tests, key=lambda test: (not test.startswith(own), self.seconds[test], test))
        kept: list[str] = []
        for test in chosen:
            if self.seconds[test] <= budget:
                budget -= self.seconds[test]
                kept.append(test)
        return kept
