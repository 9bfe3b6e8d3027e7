"""Every failure is a sentence and a code."""

import errno
import subprocess
import sys

import pytest

from prefgym import cli
from prefgym.errors import AgentError, InputError, MachineError, RewardError
from prefgym.failures import explain
from prefgym.storage.signals import Stopped


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("bad\nword"), 2, "bad word"),
        (RewardError("it failed"), 4, "it failed"),
        (AgentError("it failed"), 4, "it failed"),
        (MachineError("no device"), 3, "no device"),
        (FloatingPointError("nan"), 1, "nan"),
        (OSError(errno.ENOSPC, "x", "a/b"), 3, "a/b: No space left on device; what was saved is intact"),
        (OSError(errno.EROFS, "x", "a"), 3, "a: Read-only file system; give a writable place."),
        (OSError(errno.EACCES, "x", "a"), 3, "a: Permission denied; change its permissions, "),
        (OSError(errno.ENAMETOOLONG, "x", "a" * 500), 2, "File name too long; check the name."),
        (OSError(errno.ENOTDIR, "x", "a/b"), 2, "a/b: Not a directory"),
        (OSError(errno.EIO, "x"), 3, "Input/output error."),
        (MemoryError(), 3, "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"), 3, "not enough memory"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT."),
        (Stopped(15, "go on with x"), 143, "go on with x"),
    ],
)
def test_what_is_expected_is_a_sentence_and_a_code(error, code, told):
    found = explain(error)
    assert found is not None
    assert found[0] == code
    assert told in found[1]
    assert "\n" not in found[1]
    assert len(found[1]) < 300


def test_what_is_not_expected_is_reported_in_a_file(monkeypatch, capsys, tmp_path):
    def fail(*_):
        raise LookupError("what is this?")

    monkeypatch.setattr(cli, "_command", fail)
    monkeypatch.setattr("prefgym.failures.tempfile.gettempdir", lambda: str(tmp_path))
    assert cli.main(["train", "--seed", "1"]) == 70
    (report,) = tmp_path.glob("prefgym-error-*.txt")
    line = capsys.readouterr().err
    assert f"LookupError: what is this?); a report is in {report}" in line
    assert line.count("\n") == 1
    text = report.read_text()
    for words in ("prefgym train --seed 1", "Traceback", "torch ", "transformers "):
        assert words in text


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "--help"]])
def test_a_full_disk_behind_the_output_is_code_3(words):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "prefgym", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 3
    assert "No space left on device" in ended.stderr
    assert ended.stderr.count("\n") == 1
