"""Internals of transformers that are overridden: a release that renames one, or calls it otherwise, is told here.

``pyproject.toml`` bounds transformers from above for this reason.
"""

import inspect
import tomllib
from pathlib import Path

import pytest
import transformers
from packaging.requirements import Requirement
from transformers import Trainer

from prefgym.models.finetune import LanguageModelTrainer
from prefgym.models.resumable import ResumableTrainer
from prefgym.models.supervised import SupervisedTrainer
from prefgym.rewards.rating_training import RatingTrainer
from prefgym.rewards.training import PreferenceTrainer

OVERRIDDEN = {
    ResumableTrainer: {
        "_save_checkpoint",
        "_load_from_checkpoint",
        "_load_optimizer_and_scheduler",
        "_load_scaler",
        "_load_rng_state",
        "_run_epoch",
        "_maybe_log_save_evaluate",
        "_finalize_training",
    },
    SupervisedTrainer: {"_get_train_sampler", "_get_eval_sampler"},
    LanguageModelTrainer: set(),
    PreferenceTrainer: set(),
    RatingTrainer: set(),
}
"""Private methods of the Trainer that each class replaces."""
USED = {
    "_evaluate": ["trial", "ignore_keys_for_eval"],
    "_run_epoch": None,
    "_maybe_log_save_evaluate": None,
    "_finalize_training": ["trial", "num_train_samples", "start_time"],
}
"""Private methods that ours call, and with what."""


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda kind: kind.__name__)
def test_what_is_overridden_is_there_and_takes_the_same(ours):
    private = {name for name, value in vars(ours).items() if inspect.isfunction(value) and hasattr(Trainer, name)}
    assert {name for name in private if name.startswith("_") and not name.startswith("__")} == OVERRIDDEN[ours]
    for name in OVERRIDDEN[ours]:
        asked = inspect.signature(getattr(Trainer, name))
        given = [parameter for parameter in asked.parameters.values() if parameter.name != "self"]
        inspect.signature(vars(ours)[name]).bind(None, *(parameter.name for parameter in given))


def test_what_is_called_is_there_and_takes_what_it_is_given():
    for name, parameters in USED.items():
        found = [parameter for parameter in inspect.signature(getattr(Trainer, name)).parameters if parameter != "self"]
        assert parameters is None or found[: len(parameters)] == parameters


def test_the_installed_version_lies_within_the_bounds():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    (bounds,) = (Requirement(text) for text in project["project"]["dependencies"] if text.startswith("transformers"))
    assert transformers.__version__ in bounds.specifier
    assert "99.0" not in bounds.specifier
