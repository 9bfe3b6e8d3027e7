import subprocess
import sys
from collections import Counter

import pytest

from prefgym.data.splits import FRACTIONS, assign_split, group_folds, split_prompts, stable_uniform
from prefgym.errors import InputError

PROMPTS = [f"prompt {i}" for i in range(2000)]


def test_hash_is_the_same_in_every_process():
    code = "from prefgym.data.splits import stable_uniform; print(repr(stable_uniform('a post', 3)))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {repr(stable_uniform("a post", 3)) + "\n"}


def test_fractions_are_met_and_seeds_differ():
    counts = Counter(assign_split(prompt) for prompt in PROMPTS)
    for name, share in FRACTIONS.items():
        assert counts[name] / len(PROMPTS) == pytest.approx(share, abs=0.03)
    assert [assign_split(p, seed=1) for p in PROMPTS] != [assign_split(p) for p in PROMPTS]


def test_rows_of_one_prompt_share_a_split_that_more_rows_do_not_change():
    before = dict(zip(PROMPTS, split_prompts(PROMPTS), strict=True))
    doubled = PROMPTS + PROMPTS[::-1] + [f"new {i}" for i in range(100)]
    after = split_prompts(doubled)
    for prompt, split in zip(doubled, after, strict=True):
        assert before.get(prompt, split) == split
    assert all(assign_split(prompt) == split for prompt, split in before.items())


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_few_prompts_leave_no_split_empty(count):
    for seed in range(30):
        assert set(split_prompts(PROMPTS[:count], seed=seed)) == set(FRACTIONS)


def test_fewer_prompts_than_splits_is_an_error():
    with pytest.raises(InputError, match="2 distinct prompts"):
        split_prompts(["a", "b", "a", "b"])


@pytest.mark.parametrize("fractions", [{"train": 0.5, "test": 0.4}, {"train": 1.2, "test": -0.2}])
def test_bad_fractions_are_an_error(fractions):
    with pytest.raises(InputError, match="sum to 1"):
        assign_split("a", fractions)


def test_folds_keep_groups_together_and_are_of_like_size():
    groups = [f"article {i % 23}" for i in range(230)]
    folds = group_folds(groups, 5)
    assert len({(group, fold) for group, fold in zip(groups, folds, strict=True)}) == 23
    sizes = Counter(folds)
    assert set(sizes) == set(range(5))
    assert max(sizes.values()) - min(sizes.values()) <= 10  # one group
    assert folds != group_folds(groups, 5, seed=1)


@pytest.mark.parametrize("k", [1, 4])
def test_number_of_folds_is_checked(k):
    with pytest.raises(InputError, match="2 to 3 folds for 3 prompts"):
        group_folds(["a", "b", "c", "a"], k)
