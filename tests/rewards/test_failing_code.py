"""Code of a user's that fails, whatever way: a RewardError that names it; what is not there is an InputError."""

import decimal
import fractions

import numpy as np
import pytest
import torch

from prefgym.errors import InputError, RewardError
from prefgym.evaluation.policies.judge import PairwiseJudge
from prefgym.rewards.importing import import_function
from prefgym.rewards.reward import Reward, resolve_reward


class Broken:
    """An object of which nothing works."""

    def __float__(self):
        raise OSError("no float")

    def __repr__(self):
        raise KeyError("no repr")


class Exiting:
    def __float__(self):
        raise SystemExit(0)


NO_NUMBERS = [
    *(b"1", bytearray(b"1"), memoryview(b"1"), "1", np.str_("1"), np.bytes_(b"1"), 1j, None, [1.0], (), {}),
    *(Broken(), Exiting(), float, object(), torch.ones(2), np.array([1.0, 2.0]), float("nan"), 10**400),
    *(decimal.Decimal("NaN"), decimal.Decimal("sNaN"), np.float16(np.inf), torch.tensor(float("inf"))),
]
NUMBERS = [
    *(True, 2, 1.0, np.float32(0.5), np.bool_(True), np.int8(3), torch.tensor(0.5), torch.ones(1)),
    *(decimal.Decimal("0.5"), fractions.Fraction(1, 2)),
]


@pytest.mark.parametrize("place", range(len(NO_NUMBERS)))
def test_what_is_no_finite_number_is_named(place):
    value = NO_NUMBERS[place]
    reward = Reward({"mine": (lambda prompts, completions: [1.0, value], 1.0)})
    with pytest.raises(RewardError, match=r'Reward "mine" returned .* for prompt 12') as caught:
        reward(["p", "q"], ["a", "b"], indices=[11, 12])
    assert caught.value.prompt_index == 12
    assert "\n" not in str(caught.value)
    judge = PairwiseJudge("mine", lambda prompts, first, second: [1.0, value])
    with pytest.raises(RewardError, match=r'Judge "mine" returned .* for prompt 1;'):
        judge.compare(["p", "q"], ["a", "b"], ["c", "d"])


@pytest.mark.parametrize("place", range(len(NUMBERS)))
def test_what_is_a_number_is_taken(place):
    total, _ = Reward({"mine": (lambda prompts, completions: [NUMBERS[place]], 1.0)})(["p"], ["a"])
    assert total[0] == float(NUMBERS[place])


class Mute(Exception):
    def __str__(self):
        raise ValueError("no str")


class Own(BaseException):
    pass


ERRORS = [
    SystemExit(0),
    SystemExit("bye"),
    GeneratorExit(),
    Own("own"),
    Mute(),
    RecursionError(),
    MemoryError(),
    StopIteration(),
    KeyError("a"),
]


def raising(error):
    def code(prompts, completions=None, first=None, second=None):
        raise error

    return code


def midway(error):
    def code(prompts, completions=None, first=None, second=None):
        yield 1.0
        raise error

    return code


@pytest.mark.parametrize("make", [raising, midway])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_is_named(make, error):
    with pytest.raises(RewardError, match=r'Reward "mine" raised .* prompt 7') as caught:
        Reward({"mine": (make(error), 1.0)})(["p", "q"], ["a", "b"], indices=[7, 8])
    assert caught.value.prompt_index == 7
    with pytest.raises(RewardError, match='Judge "mine" raised'):
        PairwiseJudge("mine", make(error)).compare(["p"], ["a"], ["b"])


def test_ctrl_c_is_none_of_the_codes_own():
    with pytest.raises(KeyboardInterrupt):
        Reward({"mine": (raising(KeyboardInterrupt()), 1.0)})(["p"], ["a"])
    with pytest.raises(KeyboardInterrupt):
        PairwiseJudge("mine", raising(KeyboardInterrupt())).compare(["p"], ["a"], ["b"])


def test_an_error_without_words_is_named_all_the_same():
    with pytest.raises(RewardError, match=r'^Reward "mine" raised MemoryError for prompt 0$'):
        Reward({"mine": (raising(MemoryError()), 1.0)})(["p"], ["a"])


@pytest.mark.parametrize("values", [None, 3, 1.5, Broken()])
def test_what_is_no_list_is_named(values):
    with pytest.raises(RewardError):
        Reward({"mine": (lambda prompts, completions: values, 1.0)})(["p"], ["a"])
    with pytest.raises(RewardError):
        PairwiseJudge("mine", lambda prompts, first, second: values).compare(["p"], ["a"], ["b"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        *(
            ("import sys; sys.exit(0)", "SystemExit: 0"),
            ("raise SystemExit", "SystemExit"),
            ("raise GeneratorExit", "Gen"),
        ),
        *(("class E(BaseException): pass\nraise E('own')", "E: own"), ("def f(:", "SyntaxError"), ("1 / 0", "ZeroDiv")),
        *(
            ("import no_such_module_at_all", "ModuleNotFoundError"),
            ("raise MemoryErro", "NameError"),
            ("raise MemoryError", "(MemoryError)"),
            ("\0", "null"),
        ),
        ("raise MemoryError", "(MemoryError)"),
        ("def __getattr__(name): raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_module_that_fails(tmp_path, source, said):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(RewardError, match=r'The module ".*mine\.py" of ".*mine\.py:f" could not be imported') as caught:
        import_function(f"{tmp_path}/mine.py:f")
    assert said in str(caught.value)


def test_a_module_that_lacks_another_one_has_failed(tmp_path, monkeypatch):
    (tmp_path / "lacking_another.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RewardError, match="no_such_module_at_all"):
        import_function("lacking_another:f")


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "no_such_module_at_all:f",
            "no.such.module:f",
            "json.no_such:f",
            ":f",
            "a:",
            "..x:f",
            "a..b:f",
            "a\0b:f",
            "a b:f",
        ),
        *(
            "no_such.py:f",
            "a\0b.py:f",
            "~nouser/x.py:f",
            "~nouser/x",
            f"{'x' * 300}.py:f",
            f"{'x' * 300}",
            f"{'x' * 300}:f",
        ),
        *("json:no_such", "json:__doc__", "json:", ".py:f", "\udcff.py:f", "a/b/\udcff"),
    ],
)
def test_what_is_not_there_is_the_users_to_name_right(spec):
    with pytest.raises(InputError) as caught:
        resolve_reward(spec)
    assert "\n" not in str(caught.value)


def test_only_functions_that_are_meant_for_others_are_proposed(tmp_path):
    file = tmp_path / "rewards.py"
    file.write_text("totals = [1]\n\ndef _total():\n    return totals\n")
    with pytest.raises(InputError, match=r'no function "total"\.$'):
        import_function(f"{file}:total")
    file.with_name("more.py").write_text("totals = [1]\n\ndef total_of():\n    return totals\n")
    with pytest.raises(InputError, match=r'Did you mean "total_of"\?$'):
        import_function(f"{file.with_name('more.py')}:total_off")
