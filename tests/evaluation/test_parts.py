"""An interrupted evaluation goes on where it was, and ends as if nothing had happened."""

import doctest
import json
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import pytest
import torch

from prefgym.evaluation.benchmarks.scores import Result
from prefgym.evaluation.policies import fingerprint as fingerprint_module
from prefgym.evaluation.policies import parts as parts_module
from prefgym.evaluation.policies.candidates import Candidate
from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.fingerprint import fingerprint
from prefgym.evaluation.policies.parts import Parts, pack, unpack
from prefgym.evaluation.policies.responses import Responses
from prefgym.evaluation.reports.run_report import write_report


class Killed(KeyboardInterrupt):
    """Ctrl-C after so many parts."""


def longer(prompts, first, second):
    return [0.5 + 0.5 * ((len(a) > len(b)) - (len(a) < len(b))) for a, b in zip(first, second, strict=True)]


def same(a, b) -> bool:
    """Equal to the last bit, types included; NaN is itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return same(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, Candidate | Responses | Result):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_the_examples_hold():
    for module in (parts_module, fingerprint_module):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "value",
    [
        np.array([np.nan, np.inf, -np.inf, -0.0, 0.1, 5e-324]),
        np.array([1.1, np.nan], dtype=np.float32),
        np.array([[True], [False]]),
        np.zeros((0, 3), dtype=np.int64),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([0.1, float("nan")]),
        torch.ones(2, 3, dtype=torch.bool),
        ["", "a\nb", "\ud83d", "日", None, 0.1, 3],
        {"a b": np.arange(3), "": {"x": [1.5]}},
        Result(np.array([1.0]), np.array([0.5]), {"bleu": np.array([0.25])}, "f1", 2, 1, 3, ["m"], ["said"]),
        Candidate(
            ["a"], np.array([1]), np.array([True]), kl=0.5, scores={"gold": np.array([np.nan])}, temperature=0.25
        ),
    ],
)
def test_a_value_comes_back_to_the_last_bit(value):
    assert same(unpack(json.loads(json.dumps(pack(value)))), value)


def test_a_part_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.arange(3.0)

    for _ in range(3):
        assert same(Parts(tmp_path / "parts", "key").remember("one", make), np.arange(3.0))
    assert len(made) == 1
    assert same(Parts(tmp_path / "parts", "another").remember("one", make), np.arange(3.0))
    assert len(made) == 2
    Parts(tmp_path / "parts", "another").remember("two", make)
    assert len(made) == 3
    Parts(None).remember("one", make)
    assert len(list((tmp_path / "parts").iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["a/b", "../../up", "/etc/passwd", "x" * 300, "", "a\x00b", "\ud83d", "日", "sampled ", "CON"]
)
def test_a_part_of_any_name_stays_in_its_folder(tmp_path, name):
    memo = Parts(tmp_path / "in" / "parts", "key")
    memo.remember(name, lambda: ["x"])
    assert memo.remember(name, lambda: pytest.fail("made again")) == ["x"]
    (file,) = (tmp_path / "in" / "parts").iterdir()
    assert file.name.isascii()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def damage(text: str):
    kept = json.loads(text)
    yield ""
    yield text[: len(text) // 2]
    yield "[" * 100_000
    for value in (None, [], "x", 3, {}):
        yield json.dumps(value)
        yield json.dumps({**kept, "value": value})
    for key in kept:
        yield json.dumps({name: value for name, value in kept.items() if name != key})
    yield text.replace(kept["value"]["array"][:4], "AAAB")  # one bit flipped


def test_a_damaged_part_is_made_again(tmp_path):
    memo = Parts(tmp_path, "key")
    memo.remember("one", lambda: np.arange(3.0))
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    for text in damage(whole):
        file.write_text(text)
        assert same(memo.remember("one", lambda: np.arange(4.0)), np.arange(4.0)), text[:80]
        file.write_bytes(b"\xff\xfe")
        assert same(memo.remember("one", lambda: np.arange(3.0)), np.arange(3.0))
        assert file.read_text() == whole


def test_nothing_but_data_is_read_from_a_part():
    for value in (
        {"kind": "Path", "fields": {}},
        {"array": "", "type": "|O", "shape": [1]},
        {"kind": "Result", "fields": {"x": 1}},
    ):
        with pytest.raises((KeyError, ValueError, TypeError)):
            unpack(value)


@dataclass
class Settings:
    width: int


class Scorer:
    def __init__(self, weight):
        self.weight = weight
        self.itself = self

    def __call__(self, prompts, completions):
        return [self.weight] * len(prompts)


def test_a_fingerprint_tells_contents_apart(start, trained, tmp_path):
    (tmp_path / "a.py").write_text("def f(): return 1\n")
    alike = [
        lambda: start,
        lambda: {"a": np.arange(3), "b": [None, True, 1.5, "x", ("y",)]},
        lambda: Settings(3),
        lambda: Scorer(2),
        lambda: partial(longer, prompts=[]),
        lambda: torch.ones(2),
        lambda: object(),
    ]
    prints = {fingerprint(make()) for make in alike}
    assert len(prints) == len(alike)
    assert {fingerprint(make()) for make in alike} == prints
    assert fingerprint(start) == fingerprint(start.copy())
    different = [
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        [[1]],
        [1, []],
        {"1": 1},
        None,
        np.array([1]),
        np.array([1.0]),
        Settings(1),
        Scorer(1),
        Scorer(2),
        trained,
        longer,
        same,
    ]
    assert len({fingerprint(thing) for thing in different}) == len(different)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_a_function_counts_by_its_file_and_what_it_encloses(tmp_path):
    from prefgym.rewards.importing import import_function

    (tmp_path / "judge.py").write_text("def f(prompts, first, second): return [0.5] * len(prompts)\n")
    first = fingerprint(import_function(f"{tmp_path / 'judge.py'}:f"))
    assert fingerprint(import_function(f"{tmp_path / 'judge.py'}:f")) == first
    (tmp_path / "judge.py").write_text("def f(prompts, first, second): return [0.7] * len(prompts)\n")
    assert fingerprint(import_function(f"{tmp_path / 'judge.py'}:f")) != first

    def make(weight):
        return lambda text: weight * len(text)

    assert fingerprint(make(1)) != fingerprint(make(2))
    assert fingerprint(make(1)) == fingerprint(make(1))


@pytest.fixture
def evaluate(start, trained, settings, count_words, prompts):
    """An evaluation by a pairwise judge; ``stop`` parts after which it is killed."""

    def call(parts=None, stop=None, policies=None, judge=longer, rows=None, **further):
        with pytest.MonkeyPatch.context() as patch:
            left = [stop]
            remember = Parts.remember

            def counted(memo, name, make):
                def once():
                    if left[0] == 0:
                        raise Killed
                    made = make()
                    left[0] = None if left[0] is None else left[0] - 1
                    return made

                return remember(memo, name, once)

            patch.setattr(Parts, "remember", counted)
            return evaluate_policies(
                policies or {"trained": trained},
                start,
                rows or prompts[:3],
                rewards={"words": count_words},
                judge=judge,
                validation=prompts[3:],
                settings=replace(settings, max_new_tokens=4),
                parts=parts,
                **further,
            )

    return call


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_evaluation_killed_anywhere_ends_the_same(evaluate, tmp_path):
    whole = evaluate()
    write_report(tmp_path / "whole", whole, kl_coef=0.1)
    for made in range(1, 100):
        try:
            resumed = evaluate(tmp_path / "parts", stop=1)  # one more part each time
            break
        except Killed:
            assert len(list((tmp_path / "parts").iterdir())) == made
    assert made > 12  # the candidates, and their comparisons
    assert json.dumps(resumed.metrics) == json.dumps(whole.metrics)
    assert same(resumed.sampled, whole.sampled)
    assert same(resumed.greedy, whole.greedy)
    write_report(tmp_path / "resumed", resumed, kl_coef=0.1)
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")


def test_what_was_made_under_other_conditions_is_not_taken(evaluate, start, prompts, tmp_path):
    evaluate(tmp_path / "parts")
    evaluate(tmp_path / "parts", stop=0)  # all is there
    for further in (
        {"seed": 1},
        {"policies": {"trained": start}},
        {"rows": prompts[:4]},
        {"judge": lambda prompts, first, second: [0.5] * len(prompts)},
    ):
        with pytest.raises(Killed):
            evaluate(tmp_path / "parts", stop=0, **further)
