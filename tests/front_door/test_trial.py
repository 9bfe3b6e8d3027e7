"""Timing small pieces within a budget, and scaling."""

import pytest

from prefgym import trial
from prefgym.dry_run import minutes
from prefgym.estimate import ladder
from prefgym.trial import Budget, Timing, timed


@pytest.fixture
def clock(monkeypatch):
    """Work of size n takes 1 + n seconds, without taking any; gives the sizes that were run."""
    ran: list[int] = []

    def seconds_of(run) -> float:
        run()
        return 1.0 + ran[-1]

    monkeypatch.setattr(trial, "seconds_of", seconds_of)
    return ran


def test_all_is_timed_where_there_is_time(clock):
    timing = timed([1, 2, 4, 8], clock.append, 100.0)
    assert clock == [1, 2, 8]  # two show how the time grows, and nothing between is needed
    assert timing.at(8) == 9


def test_what_does_not_fit_is_not_run_but_scaled(clock):
    timing = timed([1, 2, 4, 8, 100], clock.append, 10.0)
    assert clock == [1, 2, 4]  # 2 + 3 + 5 s, and nothing is left
    assert timing.at(100) == pytest.approx(101)


def test_the_smallest_piece_is_always_run(clock):
    assert timed([50, 100], clock.append, 1.0).points == [(50, 51.0)]


def test_at_least_a_share_of_the_time_grows_with_the_size():
    noisy = Timing([(1, 3.0), (2, 2.0)])
    assert noisy.at(4) == 3.0  # half of 1 s per piece
    assert noisy.at(4, least=0.0) == 2.0
    assert Timing([(1, 1.0), (2, 4.0)]).at(4) == 8.0  # nor more than all of it


def test_words():
    assert [minutes(seconds) for seconds in (0.4, 119, 121, 7300)] == [
        "0 seconds",
        "119 seconds",
        "2.0 minutes",
        "2.0 hours",
    ]
    assert [ladder(most) for most in (1, 4, 5)] == [[1], [1, 2, 4], [1, 2, 4, 5]]


def test_each_part_gets_its_share_of_what_the_earlier_ones_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("prefgym.trial.time.perf_counter", lambda: now[0])
    budget = Budget(12.0, {"write": 1, "read": 1, "learn": 2})
    now[0] += 4  # what comes before the first part
    assert budget.of("write") == pytest.approx(8 / 4)
    now[0] += 5  # much more than it may
    assert budget.of("read") == pytest.approx(3 / 3)
    assert budget.of("learn") == pytest.approx(3)
    now[0] += 9
    budget = Budget(1.0, {"learn": 1})
    now[0] += 2
    assert budget.of("learn") == 0
