"""Checkpoints of supervised runs that cannot be read."""

import pytest

from prefgym.errors import InputError
from prefgym.models.supervised_checkpoint import FOLDER, read_latest


def test_a_damaged_checkpoint_is_told_where_it_was_asked_for(tmp_path):
    for step in (1, 2):
        (tmp_path / FOLDER / f"step-{step}").mkdir(parents=True)
    with pytest.warns(UserWarning, match="step-2") as told, pytest.raises(InputError, match="step-2"):
        read_latest(tmp_path)
    assert [warning.filename for warning in told] == [__file__]
