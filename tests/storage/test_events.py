"""TensorBoard points stand once, whatever happened between."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prefgym.errors import InputError
from prefgym.storage.events import EVENTS, open_events, read_events
from prefgym.storage.manifest import managed


def points(folder, tag):
    found = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def write(folder, steps, keep=None, value=0.0):
    with open_events(folder, keep) as writer:
        for step in steps:
            writer.add_scalar("loss", step + value, step)
            writer.add_text("text", "hello", step)


def test_a_resumed_run_goes_on_in_one_file(tmp_path):
    write(tmp_path, [1, 2, 3])
    write(tmp_path, [2, 3, 4], keep=lambda tag, step: step <= 1, value=10)
    assert points(tmp_path, "loss") == [(1, 1.0), (2, 12.0), (3, 13.0), (4, 14.0)]
    assert [path.name for path in tmp_path.iterdir()] == [EVENTS]
    write(tmp_path, [1])
    assert points(tmp_path, "loss") == [(1, 1.0)]


def test_points_that_stand_twice_are_kept_once_and_a_torn_one_is_dropped(tmp_path):
    write(tmp_path, [1, 1, 2])
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole[:-5])
    assert len(list(read_events(tmp_path / EVENTS))) == 6  # a version, then five of six points
    write(tmp_path, [], keep=lambda tag, step: True)
    assert points(tmp_path, "loss") == [(1, 1.0), (2, 2.0)]


def test_events_of_somebody_else_by_that_name_stay(tmp_path):
    (tmp_path / EVENTS).write_text("mine")
    with managed(tmp_path), pytest.raises(InputError, match="did not write it"):
        open_events(tmp_path)
    assert (tmp_path / EVENTS).read_text() == "mine"
