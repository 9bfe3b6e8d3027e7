"""Folds of a cross-validation that were measured before a stop."""

import pytest

from prefgym.errors import InputError
from prefgym.rewards.kept_folds import Fold, KeptFolds


def test_a_fold_is_measured_once_and_again_only_where_it_is_damaged(tmp_path):
    made = []

    def measure():
        made.append(Fold([0.5, -float(len(made))], 1, 0))
        return made[-1]

    kept = KeptFolds(tmp_path, 2, {"data": "x"}, accept_changes=False)
    assert kept.get(0, measure) == kept.get(0, measure) == made[0]
    kept.get(1, measure)
    assert len(made) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold-1.json", "fold-2.json"]
    for text in ('{"leads": [0.5', "[]", '{"leads": ["much"], "inputs": {"data": "x"}}'):
        (tmp_path / "fold-1.json").write_text(text)
        with pytest.warns(UserWarning, match="fold-1.json.* is damaged"):
            assert kept.get(0, measure) == made[-1]
    assert len(made) == 5


def test_a_fold_of_other_data_is_refused_unless_accepted(tmp_path):
    KeptFolds(tmp_path, 2, {"data": "x"}, accept_changes=False).get(0, lambda: Fold([1.0], 0, 0))
    with pytest.raises(InputError):
        KeptFolds(tmp_path, 2, {"data": "y"}, accept_changes=False).get(0, lambda: Fold([2.0], 0, 0))
    again = KeptFolds(tmp_path, 2, {"data": "y"}, accept_changes=True).get(0, lambda: Fold([2.0], 0, 0))
    assert again.leads == [2.0]
