"""Runs under fire, in short: killed, out of disk, over a user's files, with bad input. The long form is
``python -m benchmarks.torture``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are no package of ours

from benchmarks.torture import outcome  # noqa: E402
from benchmarks.torture.bad_inputs import try_inputs  # noqa: E402
from benchmarks.torture.cases import make_cases  # noqa: E402
from benchmarks.torture.fire import MODES, Server, compile_shim, compiler  # noqa: E402
from benchmarks.torture.material import make_material  # noqa: E402
from benchmarks.torture.ownership import try_folders  # noqa: E402
from benchmarks.torture.trials import Trial, attempt, measure  # noqa: E402

sys.path.remove(str(ROOT))
pytestmark = pytest.mark.skipif(
    compiler() is None or not sys.platform.startswith("linux"),
    reason="the shim that counts file operations needs Linux and a C compiler (cc)",
)

KILLS = [("kill", 0.0), ("kill", 0.12), ("torn", 0.4), ("after", 0.6), ("kill", 0.75)]
"""Mode, and where: the share of the operations at which it can act."""
FULL = [0.0, 0.4, 0.9]
FOLDERS = 4
INPUTS = 10


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("torture")


@pytest.fixture(scope="module")
def server(scratch):
    with Server(scratch, quick=True) as started:
        yield started


@pytest.fixture(scope="module")
def material(scratch):
    return make_material(scratch / "material")


@pytest.fixture(scope="module")
def training(server, scratch, material):
    """A short training run: its case, and the untouched run to compare with."""
    case = make_cases(server, scratch, material)["train-plain"]
    return case, measure(server, case, scratch / "work")


def place(untouched, mode, share):
    """The number of the operation at this share of those at which the mode can act."""
    from benchmarks.torture.__main__ import places

    numbers = places(untouched, mode)
    return numbers[round(share * (len(numbers) - 1))]


@pytest.mark.parametrize(("mode", "share"), KILLS)
def test_a_killed_run_goes_on_and_ends_the_same(server, scratch, training, mode, share):
    case, untouched = training
    trial = Trial(case.name, mode, place(untouched, mode, share), first="rerun" if share in (0.12, 0.75) else "resume")
    trial = attempt(server, case, untouched, trial, scratch / "work")
    assert trial.operation, str(trial)
    assert trial.good, str(trial)


@pytest.mark.parametrize("share", FULL)
def test_a_full_disk_is_one_sentence_and_loses_nothing(server, scratch, training, share):
    case, untouched = training
    trial = attempt(
        server, case, untouched, Trial(case.name, "full", place(untouched, "full", share)), scratch / "work"
    )
    assert trial.operation, str(trial)
    assert trial.good, str(trial)


def test_no_file_of_a_user_is_touched(server, scratch, material):
    keys = [f"suite {index}" for index in range(FOLDERS)]
    wrong = [row for row in try_folders(server, scratch, material, keys, quick=True) if not row["good"]]
    assert not wrong, json.dumps(wrong, indent=1)


def test_bad_input_is_one_sentence(server, scratch, material):
    keys = [f"suite {index}" for index in range(INPUTS)]
    wrong = [row for row in try_inputs(server, scratch, material, keys, quick=True) if not row["good"]]
    assert not wrong, json.dumps(wrong, indent=1)


# The shim and the comparison themselves.

SCRIPT = """
import ctypes, os, sys
folder, mode, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
log = os.open(folder + "/../log", os.O_WRONLY | os.O_CREAT)
os.chdir(folder)
ctypes.CDLL(None).inject_arm(folder.encode(), mode, ctypes.c_long(n), log)
open("../beside", "w").close()
os.mkdir("a")
with open("a/b", "wb", buffering=0) as file:
    file.write(b"12345678")
    os.fsync(file.fileno())
os.replace("a/b", "c")
os.unlink("c")
print("end")
"""
CALLS = ["mkdir+ /a", "open+ /a/b", "write+ /a/b", "fsync /a/b", "rename /a/b > /c", "unlink /c"]


def shot(scratch, tmp_path, mode, n):
    """Run the script with the shim armed; its process, and what was logged."""
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "home"), str(MODES.index(mode)), str(n)]
    environment = {**os.environ, "LD_PRELOAD": str(compile_shim(scratch))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, (tmp_path / "log").read_text().splitlines()


def test_the_shim_counts_what_changes_files_below_a_folder(scratch, tmp_path):
    done, log = shot(scratch, tmp_path, "count", 0)
    assert done.stdout == "end\n"
    assert log == [f"{number} {call}" for number, call in enumerate(CALLS, start=1)]


@pytest.mark.parametrize(("mode", "n", "left"), [("kill", 3, b""), ("torn", 3, b"1234"), ("after", 3, b"12345678")])
def test_the_shim_kills_before_in_and_after_a_write(scratch, tmp_path, mode, n, left):
    done, log = shot(scratch, tmp_path, mode, n)
    assert done.returncode == -9
    assert log == ["3 write+ /a/b"]
    assert (tmp_path / "home" / "a" / "b").read_bytes() == left


def test_the_shim_fills_the_disk_in_the_middle_of_a_write(scratch, tmp_path):
    done, _ = shot(scratch, tmp_path, "full", 3)  # a write of the script is one call: half of it is written
    assert (done.returncode, done.stdout) == (0, "end\n")
    (tmp_path / "again").mkdir()
    done, log = shot(scratch, tmp_path / "again", "full", 2)
    assert "No space left on device" in done.stderr
    assert log == ["2 open+ /a/b"]


def test_the_comparison_sees_what_differs(tmp_path):
    for name, value, more in (("one", 1, ()), ("two", 2, ("x.partial", ".saving-a"))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.json").write_text(
            json.dumps({"seconds": value * 7, "deep": {"time/x": value}, "score": value})
        )
        for extra in more:
            (folder / extra).touch()
    one, two = outcome.picture(tmp_path / "one"), outcome.picture(tmp_path / "two")
    assert outcome.differences(one, one) == outcome.leftovers(one, one) == one.doubled() == []
    assert outcome.differences(one, two) == ["differs: metrics.json (score: 1 untouched, 2 here)"]
    assert outcome.leftovers(one, two) == [".saving-a", "x.partial"]
