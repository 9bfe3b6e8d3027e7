"""What judges is tried before anything is trained: a judge or a reward that cannot work ends the command at once."""

import json

import pytest

from prefgym.commands import train as train_command
from prefgym.config import Config
from prefgym.data.prompts import PromptSet, embedded_prompts
from prefgym.errors import InputError, RewardError
from prefgym.evaluation.policies.parts import Parts
from prefgym.experiment import make_env
from prefgym.judging import check_judge
from prefgym.options import DATA_OPTIONS, ENV_OPTIONS, EVALUATION_OPTIONS
from prefgym.output import PARTS

PAIRWISE = "def judge(prompts, first, second):\n    "
SCORE = "def judge(prompts, completions):\n    "
FAULTS = {
    "raises": PAIRWISE + "raise KeyError('x')",
    "ends the program": PAIRWISE + "import sys; sys.exit(0)",
    "nan": PAIRWISE + "return [float('nan')] * len(prompts)",
    "too large": PAIRWISE + "return [2] * len(prompts)",
    "far too large": PAIRWISE + "return [10 ** 400] * len(prompts)",
    "one too few": PAIRWISE + "return [0.5] * (len(prompts) - 1)",
    "nothing": PAIRWISE + "return None",
    "texts": PAIRWISE + "return ['0.5'] * len(prompts)",
    "bytes": PAIRWISE + "return [b'0.5'] * len(prompts)",
    "fails in the other order": PAIRWISE + "return [0.5 if 'A summary.' in second[0] else 7] * len(prompts)",
    "another parameter": "def judge(prompts, first, second, extra):\n    return [0.5] * len(prompts)",
    "no parameter": "def judge():\n    return [0.5]",
    "score raises": SCORE + "raise ValueError('x')",
    "score of a column that is not there": "def judge(prompts, completions, likes):\n    return [0.0] * len(prompts)",
    "score too few": SCORE + "return [1.0]",
    "score nan": SCORE + "return [float('nan')] * len(prompts)",
    "no function": "judge = 3",
    "raises at import": "raise ValueError('x')",
}


@pytest.fixture
def unasked(monkeypatch):
    """Fails where a model would be trained."""
    monkeypatch.setattr(train_command, "make_agent", lambda *_: pytest.fail("trained first"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_judge_that_fails_is_found_before_training(fault, run, unasked, train_flags, tmp_path):
    (tmp_path / "judge.py").write_text(FAULTS[fault])
    flags = ("--evaluation.judge", f"{tmp_path / 'judge.py'}:judge", "--output", tmp_path / "run")
    result = run("train", *train_flags, *flags)
    assert result.code in (2, 4), result
    assert len(result.err.splitlines()) == 1
    assert "judge" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("judge", ["no/folder", "nothing", "embedded/start", "embedded/nothing"])
def test_a_judge_that_is_no_preference_model_is_found_before_training(judge, refused, unasked, train_flags, tmp_path):
    refused("train", *train_flags, "--evaluation.judge", judge, "--output", tmp_path / "run")


def test_a_damaged_preference_model_is_found_before_training(
    refused, unasked, train_flags, preference_folder, tmp_path
):
    (tmp_path / "judge").mkdir()
    for file in preference_folder.iterdir():
        (tmp_path / "judge" / file.name).write_bytes(file.read_bytes()[: 100 if "safetensors" in file.name else None])
    refused("train", *train_flags, "--evaluation.judge", tmp_path / "judge", "--output", tmp_path / "run")


def settings(**given: object) -> Config:
    options = [*ENV_OPTIONS, *DATA_OPTIONS, *EVALUATION_OPTIONS]
    return Config({**{option.key: option.default for option in options}, **given})


@pytest.mark.parametrize("judge", [None, "gold", "preference", "embedded", "length"])
def test_judges_that_work_pass(judge):
    check_judge(settings(**{"evaluation.judge": judge}), embedded_prompts("test", 3))


def test_gold_needs_the_facts_of_every_prompt():
    rows = [*embedded_prompts("test", 6), {"prompt": "My dog ate my shoe."}]
    with pytest.raises(InputError, match="gold"):
        check_judge(settings(**{"evaluation.judge": "gold"}), PromptSet(rows))


def test_a_judge_is_asked_nothing_where_nothing_is_judged(tmp_path):
    (tmp_path / "judge.py").write_text(FAULTS["raises"])
    given = {"evaluation.judge": f"{tmp_path / 'judge.py'}:judge"}
    check_judge(settings(**given, **{"evaluation.prompts": 0}), embedded_prompts("test", 3))
    with pytest.raises(RewardError):
        check_judge(settings(**given), embedded_prompts("test", 3))


def test_a_reward_is_tried_on_the_prompts_it_judges(model_folder, tmp_path):
    (tmp_path / "reward.py").write_text(
        "def liked(prompts, completions, likes):\n    return [float(n) for n in likes]\n"
    )
    given = {
        "env.model": str(model_folder),
        "env.reward": f"{tmp_path / 'reward.py'}:liked",
        "env.max_prompt_tokens": 40,
    }
    train = PromptSet([{"prompt": "My dog ate my shoe.", "likes": 3}])
    make_env(settings(**given), train, train)
    with pytest.raises(InputError, match="likes"):
        make_env(settings(**given), train, PromptSet([{"prompt": "My boss lost my lamp."}]))
    with pytest.raises(RewardError, match="prompt 1"):
        make_env(settings(**given), train, PromptSet([train[0], {"prompt": "My lamp is old.", "likes": "many"}]))
    with pytest.raises(InputError, match="Prompt 9 is empty"):
        make_env(settings(**given), train, PromptSet([train[0]] * 9 + [{"prompt": " ", "likes": 1}]))
    strange = {"prompt": "My boss lost my lamp.", "likes": 1, "facts": "none", "distractors": 3}
    with pytest.raises(RewardError, match="gold"):
        make_env(settings(**given), train, PromptSet([strange]))


def test_an_interrupted_evaluation_keeps_what_is_finished(run, finished_run, tmp_path, monkeypatch):
    remember, left = Parts.remember, [3]

    def interrupted(memo, name, make):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return remember(memo, name, make)

    out = tmp_path / "out"
    words = ("evaluate", finished_run, "--output", out, "--evaluation.prompts", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remember", interrupted)
        result = run(*words)
        assert result.code == 130
        assert "the same command continues" in result.err
        assert len(list((out / PARTS).iterdir())) == 3
    made = []

    def counted(memo, name, make):
        return remember(memo, name, lambda: (made.append(name), make())[1])

    monkeypatch.setattr(Parts, "remember", counted)
    assert run(*words).code == 0
    assert not (out / PARTS).exists()
    metrics = json.loads((out / "metrics.json").read_text())
    scores = sum("of prompts" in name for name in made)
    assert scores == 2  # of gold and of the preference model
    assert len(made) - scores == len(metrics["policies"]) - 3  # sampled and greedy responses are one part
