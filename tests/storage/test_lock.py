"""One writer at a time, and none that is dead."""

import json
import os
import subprocess
import sys
import time

import pytest

from prefgym.errors import InputError
from prefgym.storage.lock import DEAD, LOCK, locked

HOLD = """
import sys, pathlib
from prefgym.storage.lock import locked
with locked(pathlib.Path(sys.argv[1]), "train"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_living_writer_is_named(tmp_path, holder):
    with (
        pytest.raises(InputError, match=rf"is being written by process {holder.pid} .*prefgym train"),
        locked(tmp_path, "sft"),
    ):
        pass
    assert (tmp_path / LOCK).is_file()


def test_a_killed_writer_is_told_and_replaced(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(tmp_path, "train") as told:
        assert f"process {holder.pid}" in told
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        with locked(tmp_path, "learn") as again:  # within one process
            assert again is None
        assert (tmp_path / LOCK).is_file()
    assert not (tmp_path / LOCK).exists()


def test_another_host_is_believed_as_long_as_it_touches_the_lock(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "command": "train"}))
    with pytest.raises(InputError, match="process 1 on elsewhere"), locked(tmp_path, "train"):
        pass
    os.utime(tmp_path / LOCK, (0, time.time() - DEAD - 1))
    with locked(tmp_path, "train") as told:
        assert "elsewhere" in told


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1', '{"pid": "x", "host": 1}'])
def test_a_lock_that_nobody_finished_writing_is_free(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with locked(tmp_path, "train") as told:
        assert told is None
