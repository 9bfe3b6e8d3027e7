"""A file can import what lies beside it, as a script can; nothing else sees that folder."""

import sys
from contextlib import suppress

import pytest

from prefgym.errors import RewardError
from prefgym.evaluation.policies.judge import PairwiseJudge
from prefgym.rewards.importing import import_function
from prefgym.rewards.reward import Reward, resolve_reward

HELPERS = "WORTH = {worth}\ndef worth(text): return float(WORTH * len(text))\n"
REWARD = (
    "from beside_helpers import worth\ndef score(prompts, completions, **columns): return [*map(worth, completions)]\n"
)
LATE = """
def score(prompts, completions, **columns):
    from beside_helpers import worth
    return [worth(c) for c in completions]
"""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders, each with two files of rewards and a module ``beside_helpers``; the first is the working one."""
    for number, name in enumerate(("here", "there"), start=1):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "beside_helpers.py").write_text(HELPERS.format(worth=number))
        (folder / "mine.py").write_text(REWARD)
        (folder / "late.py").write_text(LATE)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mine", "late", "beside_helpers"):
        sys.modules.pop(name, None)


def paid(reward):
    return resolve_reward(reward)(["p"], ["abc"])[0].tolist()


@pytest.mark.parametrize("name", ["mine", "late"])
def test_each_file_has_its_own(folders, name):
    path, modules = list(sys.path), set(sys.modules)
    here, there = resolve_reward(f"{name}.py:score"), resolve_reward(f"../there/{name}.py:score")
    for _ in range(2):
        assert [here(["p"], ["abc"])[0][0], there(["p"], ["abc"])[0][0]] == [3.0, 6.0]
    assert paid({"a": f"{name}.py:score", "b": f"{folders}/there/{name}.py:score"}) == [9.0]
    assert sys.path == path
    assert {found for found in sys.modules.keys() - modules if not found.startswith("prefgym_reward_")} == set()


def test_a_module_by_its_name_shares_the_process(folders):
    assert paid("mine:score") == [3.0]
    shared = sys.modules["beside_helpers"]
    assert paid("../there/mine.py:score") == [6.0]
    assert sys.modules["beside_helpers"] is shared
    assert paid("mine.py:score") == [3.0]


def test_what_a_caller_has_loaded_stands_aside_and_comes_back(folders, monkeypatch):
    monkeypatch.syspath_prepend(folders / "here")
    import beside_helpers

    assert paid("../there/late.py:score") == [6.0]
    assert sys.modules["beside_helpers"] is beside_helpers
    assert beside_helpers.worth("a") == 1.0


def test_a_module_is_imported_once(folders):
    (folders / "there" / "beside_helpers.py").write_text(
        "COUNT = 0\ndef worth(text):\n    global COUNT\n    COUNT += 1\n    return COUNT\n"
    )
    reward = resolve_reward("../there/late.py:score")
    assert [reward(["p"], ["a"])[0][0] for _ in range(3)] == [1, 2, 3]


def test_packages_and_objects_from_beside(folders):
    there = folders / "there"
    (there / "kit").mkdir()
    (there / "kit" / "__init__.py").write_text("")
    (there / "kit" / "parts.py").write_text(
        "class Score:\n    def __call__(self, **_):\n        import kit.more\n        return [kit.more.VALUE]\n"
    )
    (there / "kit" / "more.py").write_text("VALUE = 7\n")
    (there / "outer.py").write_text("from kit.parts import Score\nscore = Score()\n")
    assert paid("../there/outer.py:score") == [7.0]
    assert not {name for name in sys.modules if name.partition(".")[0] == "kit"}


def test_pythons_own_modules_and_packages_are_not_hidden(folders):
    (folders / "there" / "json.py").write_text("raise RuntimeError('not me')\n")
    (folders / "there" / "numpy").mkdir()
    (folders / "there" / "numpy" / "__init__.py").write_text("raise RuntimeError('not me')\n")
    (folders / "there" / "uses.py").write_text(
        "import json, numpy\ndef score(prompts, completions): return [float(numpy.array(json.loads('2')))] \n"
    )
    assert paid("../there/uses.py:score") == [2.0]


def test_a_file_that_fails_leaves_nothing(folders):
    (folders / "there" / "fails.py").write_text("import beside_helpers\n1 / 0\n")
    path = list(sys.path)
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        import_function("../there/fails.py:score")
    assert sys.path == path
    assert "beside_helpers" not in sys.modules
    (folders / "there" / "takes.py").write_text(
        "import sys\nsys.path.pop(0)\ndef score(prompts, completions): return [1.0]\n"
    )
    assert paid("../there/takes.py:score") == [1.0]
    assert sys.path == path


def test_judges_and_failing_rows_too(folders):
    (folders / "there" / "judge.py").write_text(
        "def first(prompts, first, second):\n    import beside_helpers\n    return [1.0 / beside_helpers.WORTH]\n"
    )
    judge = PairwiseJudge("mine", import_function("../there/judge.py:first"))
    assert judge.compare(["p"], ["a"], ["b"]).tolist() == [0.5]
    (folders / "there" / "wrong.py").write_text(
        "def score(completions, **_):\n    import beside_helpers\n    return [1 / (len(c) - 1) for c in completions]"
    )
    reward = Reward({"mine": (import_function("../there/wrong.py:score"), 1.0)})
    with pytest.raises(RewardError, match="ZeroDivisionError for prompt 1"):
        reward(["p", "q"], ["ab", "a"])
    with suppress(RewardError):
        reward(["p"], ["a"])
    assert "beside_helpers" not in sys.modules
