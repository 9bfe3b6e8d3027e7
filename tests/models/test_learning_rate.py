"""The learning rate of a supervised run that is given none."""

import pytest

from prefgym.models import finetune, learning_rate
from prefgym.models.learning_rate import usual_learning_rate
from prefgym.models.supervised import TrainingOptions


@pytest.mark.parametrize(
    ("parameters", "adapter", "rate"),
    [
        (9_999_999, False, 5e-4),
        (9_999_999, True, 5e-4),
        (10_000_000, False, 5e-5),
        (10_000_000, True, 2e-4),
        (135_000_000, False, 5e-5),
    ],
)
def test_the_usual_rates(parameters, adapter, rate):
    assert usual_learning_rate(parameters, adapter) == rate
    assert usual_learning_rate(parameters, adapter, small=3e-4) == (3e-4 if parameters < 10**7 else rate)


@pytest.mark.parametrize(
    ("small", "given", "rate"), [(10**7, {}, 5e-4), (1, {}, 5e-5), (1, {"learning_rate": 0.1}, 0.1)]
)
def test_fine_tuning_takes_the_usual_rate_unless_told(small, given, rate, language_model, monkeypatch):
    seen = []

    def arguments(options, *args, **kwargs):
        seen.append(options.learning_rate)
        raise InterruptedError

    monkeypatch.setattr(learning_rate, "SMALL", small)
    monkeypatch.setattr(TrainingOptions, "arguments", arguments)
    with pytest.raises(InterruptedError):
        finetune.finetune(language_model.copy(), [("a", "b")], **given)
    assert seen == [rate]
