"""Code of a user's that changes the process: it does what it does, and nothing around it notices."""

import os
import signal
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from prefgym.evaluation.policies.judge import PairwiseJudge
from prefgym.rewards.calling import called, undisturbed
from prefgym.rewards.importing import import_function
from prefgym.rewards.reward import Reward, resolve_reward

CHANGES = {
    "folder": "os.chdir('/')",
    "gradients": "torch.set_grad_enabled(not torch.is_grad_enabled())",
    "inference": "kept.append(torch.inference_mode(not torch.is_inference_mode_enabled())); kept[-1].__enter__()",
    "precision": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "matmul": "torch.set_float32_matmul_precision('medium')",
    "overflow": "np.seterr(all='raise')",
    "Ctrl-C": "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "SIGTERM": "signal.signal(signal.SIGTERM, lambda *a: None)",
}
HEAD = "import os, signal, numpy as np, torch\nkept = []\n"


def process() -> list[object]:
    return [
        *(Path.cwd(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        *(torch.get_default_device(), torch.get_num_threads(), torch.get_float32_matmul_precision(), np.geterr()),
        *(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)),
    ]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("around", [nullcontext, torch.no_grad, torch.inference_mode])
def test_what_code_changes_for_the_whole_process_is_put_back(change, fails, around, tmp_path):
    body = f"{change}\n    {'raise KeyError' if fails else 'return [1.0]'}"
    (tmp_path / "at_import.py").write_text(f"{HEAD}{change}\n{'1 / 0' if fails else ''}\ndef f(): pass\n")
    (tmp_path / "in_call.py").write_text(f"{HEAD}def f(prompts, completions=0, first=0, second=0):\n    {body}\n")
    with around():
        before = process()
        expected = pytest.raises(Exception, match=r"KeyError|ZeroDivisionError")
        with expected if fails else nullcontext():
            import_function(f"{tmp_path}/at_import.py:f")
        assert process() == before
        function = import_function(f"{tmp_path}/in_call.py:f")
        with expected if fails else nullcontext():
            Reward({"mine": (function, 1.0)})(["p"], ["a"])
        assert process() == before
        with expected if fails else nullcontext():
            PairwiseJudge("mine", function).compare(["p"], ["a"], ["b"])
        assert process() == before


@pytest.mark.parametrize("around", [nullcontext, torch.no_grad, torch.inference_mode])
def test_code_meets_the_process_as_it_is(around):
    with around():
        before = process()
        with undisturbed():
            assert process() == before


def test_a_working_folder_that_is_gone_is_no_trouble(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import os\ndef f(prompts, completions):\n    os.chdir('/')\n    return [1.0]\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    assert called(lambda prompts: [gone.rmdir()], prompts=["p"]) == [None]  # removed by the code itself
    assert resolve_reward(f"{tmp_path}/mine.py:f")(["p"], ["a"])[0] == [1.0]
    assert import_function("os.path:basename") is os.path.basename


def test_in_a_thread_handlers_are_left_alone():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(called(lambda prompts: [1.0], prompts=["p"])))
    thread.start()
    thread.join()
    assert answers == [[1.0]]


def test_each_function_has_lists_of_its_own():
    def greedy(prompts, completions, **columns):
        for values in (prompts, completions, *columns.values()):
            values.clear()
        return [1.0, 1.0]

    def modest(prompts, completions, *, target):
        return [float(text == wanted) for text, wanted in zip(completions, target, strict=True)]

    prompts, completions, columns = ["p", "q"], ["a", "b"], {"target": ["a", "c"]}
    _, parts = Reward({"greedy": (greedy, 1.0), "modest": (modest, 1.0)})(prompts, completions, columns=columns)
    assert parts["modest"].tolist() == [1, 0]
    assert (prompts, completions, columns) == (["p", "q"], ["a", "b"], {"target": ["a", "c"]})
