"""Figures as a reader sees them, and the examples of the docstrings."""

import doctest

import pytest

from prefgym.evaluation import win_rate
from prefgym.evaluation.benchmarks import answer_metrics
from prefgym.evaluation.benchmarks import scores as benchmark
from prefgym.evaluation.policies import best_of_n, text_metrics, yardsticks
from prefgym.evaluation.reports import formats, tables

MODULES = [answer_metrics, benchmark, best_of_n, formats, tables, text_metrics, win_rate, yardsticks]


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_what_does_not_apply_is_a_dash():
    assert formats.percent(None) == formats.number(None) == formats.interval(None) == "–"


def test_a_number_is_never_minus_zero():
    assert formats.number(-0.001) == "0.00"
    assert formats.number(-0.5, 1) == "-0.5"


def test_a_policy_the_user_named_keeps_its_name():
    assert formats.label("runs/mine") == "runs/mine"
    assert formats.label_one("references") == "reference"
