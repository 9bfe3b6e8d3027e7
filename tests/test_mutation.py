"""The harness of the mutation run: what counts as a place, whether a planted fault is found, what the page counts."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE, TESTS = "rewards/calibration.py", "tests/rewards/test_calibration.py"

pytestmark = pytest.mark.no_cover  # it runs nothing of prefgym in this process


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from mutation_run import Runner

    sys.path.remove(str(ROOT / "benchmarks"))
    return Runner(tmp_path_factory.mktemp("mutation") / "task", ("pytest", "numpy", "gymnasium"))


def test_code_as_it_is_passes_and_a_planted_fault_is_found(runner):
    from mutants import source_of
    from mutation_run import Task

    test, source = f"{TESTS}::test_ties_and_equal_scores_are_half_right", source_of(MODULE)
    same = runner.run(Task([test], (MODULE, source), {test: 0.1}))
    assert (same.outcome, same.failed, list(same.seconds)) == ("survived", [], [test])
    fault = source.replace("0.5, lead > 0", "0.25, lead > 0")
    assert fault != source
    found = runner.run(Task([test], (MODULE, fault), {test: 0.1}))
    assert (found.outcome, found.by) == ("killed", test)
    assert source_of(MODULE) == source


def test_a_change_that_never_ends_or_cannot_be_imported_counts(runner):
    from mutants import source_of
    from mutation_run import Task

    test, source = f"{TESTS}::test_ties_and_equal_scores_are_half_right", source_of(MODULE)
    endless = source.replace("    return np.where(tie", "    while True:\n        pass\n    return np.where(tie")
    found = runner.run(Task([test], (MODULE, endless), {test: 0.0}, slack=1))
    assert found.outcome == "timeout"
    assert found.by.startswith(test)
    broken = runner.run(Task([test], (MODULE, "1 / 0\n" + source), {test: 0.1}))
    assert (broken.outcome, broken.by) == ("killed", f"collection of {TESTS}")


def test_lines_know_their_tests(runner):
    from mutants import source_of
    from mutation_run import Task

    one, two = (f"{TESTS}::test_{name}" for name in ("error_worked_by_hand", "ties_and_equal_scores_are_half_right"))
    found = runner.run(Task([one, two], lines=True))
    line = next(i for i, text in enumerate(source_of(MODULE).splitlines(), 1) if "return np.where(tie" in text)
    assert list(found.seconds) == [one, two]
    assert 1 in found.ran[MODULE][str(line)]


def test_tests_of_the_module_come_first_then_the_quickest_within_the_budget(tmp_path):
    from mutation_survey import Survey

    survey = Survey(tmp_path, [], [])
    own, quick, slow = "tests/agents/test_ppo.py::a", "tests/envs/test_b.py::b", "tests/envs/test_b.py::c"
    other = "tests/envs/test_b.py::d"
    lines = {"5": [0, 1, 2], "9": [3]}
    survey._read({"seconds": {own: 3, quick: 1, slow: 7, other: 2}, "failed": [], "ran": {"agents/ppo.py": lines}})
    assert survey.tests_for("agents/ppo.py", [4, 5], True, 90) == [own, quick, slow]
    assert survey.tests_for("agents/ppo.py", [5], True, 5) == [own, quick]
    assert survey.tests_for("agents/ppo.py", [9], False, 90) == [other, own, quick, slow]
    assert survey.tests_for("agents/ppo.py", [7], True, 90) == [own, quick, other, slow]
    assert survey.tests_for("agents/a2c.py", [7], True, 90) == []


SOURCE = """\
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    limit = 1

def shout(text: "str | None", times: int = 2) -> "str | None":
    if (
        text
        and times
    ):
        é = text * times; return é
"""


def test_a_place_is_what_runs_and_counts_once():
    pytest.importorskip("cosmic_ray", reason="makes the mutants: pip install cosmic-ray")
    from mutants import places

    found = places(SOURCE)
    texts = [SOURCE.splitlines()[first[0] - 1][first[1] : last[1]] for first, last in found if first[0] == last[0]]
    assert sorted(texts) == ["*", "2", "and"]
    assert len(found) == 4  # and the condition, which may be negated
    sizes = {
        text: len(found[place]) for text, place in zip(texts, [p for p in found if p[0][0] == p[1][0]], strict=True)
    }
    assert sizes == {"*": 11, "2": 2, "and": 1}


def test_the_statement_around_a_place():
    from mutants import statement

    assert statement(SOURCE, 8, 8) == (range(6, 10), True)
    assert statement(SOURCE, 10, 20) == (range(10, 11), True)
    assert statement(SOURCE, 5, 43) == (range(5, 6), False)


def test_changed_lines_are_told_and_cut_to_the_change():
    from mutants import changed_lines
    from mutation_report import differing

    assert changed_lines(["a", "  b", "c"], ["a", "  d", "c"]) == ("b", "d")
    assert changed_lines(["@x", "def f():"], ["def f():"]) == ("@x", "")
    line, other = "x" * 40 + "+" + "y" * 40, "x" * 40 + "-" + "y" * 40
    assert differing(line, other, around=2) == "…xx+yy…"


def test_equivalents_leave_the_score_and_only_survivors_are_equivalents():
    from mutation_report import counts

    same = {"judgement": "equivalent", "reason": "0 is False"}
    rows = [
        {"outcome": "killed", "first": "killed", "judged": {}},
        {"outcome": "killed", "first": "survived", "judged": same},
        {"outcome": "timeout", "first": "timeout", "judged": {}},
        {"outcome": "survived", "first": "survived", "judged": same},
        {"outcome": "survived", "first": "survived", "judged": {"judgement": "alone", "reason": "rare"}},
    ]
    found = counts(rows)
    assert (found["killed"], found["timeouts"], found["equivalent"], found["all"]) == (3, 1, 1, 5)
    assert found["score"] == pytest.approx(3 / 4)
    assert found["first"] == pytest.approx(2 / 4)
