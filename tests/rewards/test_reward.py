import math
import sys

import numpy as np
import pytest

from prefgym.errors import InputError, RewardError
from prefgym.rewards.functions import rouge_l
from prefgym.rewards.importing import import_function
from prefgym.rewards.reward import Reward, resolve_reward


def words(prompts, completions, **columns):
    return [len(completion.split()) for completion in completions]


def table(prompts, completions, *, value, **columns):
    return value


def test_weighted_sum_and_parts():
    reward = Reward({"words": (words, 0.5), "table": (table, -1.0), "logged": (table, 0.0)})
    total, parts = reward(["p", "q"], ["a b", "c"], columns={"value": [3.0, np.float32(4.0)], "unused": [None, None]})
    assert total.tolist() == [0.5 * 2 - 3, 0.5 * 1 - 4]
    assert {name: part.tolist() for name, part in parts.items()} == {
        "words": [2, 1],
        "table": [3, 4],
        "logged": [3, 4],
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "high", [1.0, 2.0]])
def test_a_value_that_is_no_finite_number_names_reward_and_prompt(value):
    with pytest.raises(RewardError, match=r'"table".*prompt 12') as caught:
        Reward({"table": (table, 1.0)})(["p", "q"], ["a", "b"], indices=[11, 12], columns={"value": [1.0, value]})
    assert caught.value.prompt_index == 12


def test_a_logged_part_is_checked_too():
    with pytest.raises(RewardError):
        Reward({"words": (words, 1.0), "table": (table, 0.0)})(["p"], ["a"], columns={"value": [math.nan]})


def test_an_exception_names_reward_prompt_and_cause():
    def brittle(prompts, completions):
        return [1 / len(completion) for completion in completions]

    with pytest.raises(RewardError, match='"brittle" raised ZeroDivisionError for prompt 8') as caught:
        resolve_reward(brittle)(["p", "q", "r"], ["a", "", ""], indices=[7, 8, 9])
    assert caught.value.prompt_index == 8
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_exception_of_the_batch_alone_names_the_first_prompt():
    def no_batches(prompts, completions):
        if len(prompts) > 1:
            raise RuntimeError("out of memory")
        return [0.0]

    with pytest.raises(RewardError, match="batch that starts with prompt 7") as caught:
        resolve_reward(no_batches)(["p", "q"], ["a", "b"], indices=[7, 8])
    assert caught.value.prompt_index == 7


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], 5.0])
def test_a_wrong_count_is_an_error(values):
    with pytest.raises(RewardError) as caught:
        resolve_reward(lambda prompts, completions: values)(["p", "q"], ["a", "b"], indices=[4, 5])
    assert caught.value.prompt_index == 4


def test_a_missing_column_is_the_users_to_mend():
    with pytest.raises(InputError, match=r'needs the column "value".*Did you mean "values"'):
        Reward({"table": (table, 1.0)})(["p"], ["a"], columns={"values": [1.0]})
    with pytest.raises(InputError, match='"reference"'):
        resolve_reward("rouge_l").check_columns([])


def test_functions_get_the_columns_they_can_take():
    def narrow(prompts, completions, value):
        return value

    total, _ = resolve_reward(narrow)(["p"], ["a"], columns={"value": [2.0], "other": [None]})
    assert total.tolist() == [2.0]


@pytest.mark.parametrize("weight", [math.nan, math.inf, "1", None, True])
def test_a_weight_must_be_a_finite_number(weight):
    with pytest.raises(InputError, match='weight of reward "words"'):
        Reward({"words": (words, weight)})


def test_short_names_lists_and_weights():
    assert resolve_reward("rouge_l").parts == {"rouge_l": (rouge_l, 1.0)}
    assert list(resolve_reward([words, "length", words]).parts) == ["words", "length", "words_2"]
    reward = resolve_reward({"overlap": {"function": "rouge_l", "weight": 0.25}, "plain": words})
    assert reward.parts == {"overlap": (rouge_l, 0.25), "plain": (words, 1.0)}
    assert resolve_reward(reward) is reward


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rouge_1", 'Did you mean "rouge_l"'),
        ("no_such_module_at_all:reward", "no module"),
        ("prefgym.rewards.functions:rougel", 'no function "rougel".*Did you mean "rouge_l"'),
        ("absent.py:reward", 'no file "absent.py"'),
        ({"a": {"function": words, "wieght": 1.0}}, 'unknown key "wieght".*Did you mean "weight"'),
        ({"a": {"weight": 1.0}}, 'names no "function"'),
        ({}, "at least one part"),
        (3, "not 3"),
    ],
)
def test_a_name_that_cannot_be_resolved_gets_one_sentence(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve_reward(spec)
    assert "\n" not in str(caught.value)


SOURCE = """
from dataclasses import dataclass

@dataclass
class Table:
    value: float

def reward(prompts, completions, **columns):
    return [Table(1.5).value for _ in completions]
"""


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    (tmp_path / "my_test_rewards.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_test_rewards", None)


@pytest.mark.parametrize("spec", ["my_test_rewards:reward", "my_test_rewards.reward", "my_test_rewards.py:reward"])
def test_a_function_in_the_current_directory(user_folder, spec):
    total, parts = resolve_reward(spec)(["p"], ["a"])
    assert total.tolist() == [1.5]
    assert list(parts) == ["reward"]


def test_a_file_elsewhere_and_a_file_that_does_not_run(user_folder):
    assert import_function(f"{user_folder}/my_test_rewards.py:reward")(prompts=["p"], completions=["a"]) == [1.5]
    (user_folder / "broken.py").write_text("def reward(:\n")
    with pytest.raises(RewardError, match="SyntaxError"):
        import_function("broken.py:reward")
    with pytest.raises(InputError, match=r'"broken\.py" names no function'):
        import_function("broken.py")


@pytest.mark.parametrize(
    ("spec", "asked", "name"),
    [(None, "embedded", "preference"), ("embedded", "embedded", "preference"), ("org/model", "org/model", "model")],
)
def test_preference_models_are_loaded_on_the_device_asked_for(monkeypatch, spec, asked, name):
    loads = []
    monkeypatch.setattr(
        "prefgym.rewards.preference_model.PreferenceModel.load",
        lambda folder, *, device: loads.append((folder, device)) or words,
    )
    assert resolve_reward(spec, device="cuda:0").parts == {name: (words, 1.0)}
    assert loads == [(asked, "cuda:0")]


def test_a_local_folder_is_a_preference_model(monkeypatch, tmp_path):
    monkeypatch.setattr("prefgym.rewards.preference_model.PreferenceModel.load", lambda folder, *, device: words)
    (tmp_path / "judge.v2").mkdir()
    assert resolve_reward(str(tmp_path / "judge.v2")).parts == {"v2": (words, 1.0)}
    assert resolve_reward(tmp_path / "judge.v2").parts == {"v2": (words, 1.0)}


def test_gold_by_name_needs_the_facts_of_the_embedded_world():
    reward = resolve_reward("gold")
    reward.check_columns(["facts", "distractors", "reference"])
    with pytest.raises(InputError, match='"gold" needs the column "facts"'):
        reward.check_columns(["reference"])


def test_a_callable_without_a_signature_is_asked_for_no_column():
    resolve_reward(max).check_columns([])
