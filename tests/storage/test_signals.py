"""The first signal stops cleanly, the second at once."""

import os
import signal
import subprocess
import sys

import pytest

from prefgym.storage.signals import Stopped, stoppable, uninterrupted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_and_named(signum):
    before = signal.getsignal(signum)
    with pytest.raises(Stopped) as stop, stoppable():
        os.kill(os.getpid(), signum)
    assert stop.value.signum == signum
    assert stop.value.name == signal.Signals(signum).name
    assert signal.getsignal(signum) is before


def test_a_stop_waits_for_the_end_of_an_uninterrupted_block():
    done = []

    def work():
        with stoppable():
            with uninterrupted():
                with uninterrupted():
                    os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("never")

    with pytest.raises(Stopped):
        work()
    assert done == ["inner"]


SECOND = """
import os, signal
from prefgym.storage.signals import stoppable
with stoppable():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("never")
"""


def test_a_second_signal_ends_the_process_at_once():
    ended = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert (ended.stdout, ended.stderr) == ("", "\nstopped immediately.\n")
