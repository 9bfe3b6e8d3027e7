"""A step that a GPU records: played here on a device that only says it is one."""

from contextlib import nullcontext
from unittest.mock import MagicMock

import torch

from prefgym.models.static_reader import WARM_UP, StaticReader


class OnGPU(torch.Tensor):
    """Tokens that say that they are on a GPU."""

    @property
    def device(self):
        return torch.device("cuda")


def test_a_step_is_recorded_once_after_it_has_run_and_then_replayed(make_model, prompts, monkeypatch):
    reader, happened = StaticReader(make_model("llama"), *prompts, 1, 4), []
    graph = MagicMock()
    graph.return_value.replay.side_effect = lambda: happened.append("replay")
    fakes = {"Stream": MagicMock(), "current_stream": MagicMock(), "stream": nullcontext, "CUDAGraph": graph}
    for name, fake in {**fakes, "graph": nullcontext}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(reader, "_run", lambda: happened.append("run") or "result")
    tokens = torch.arange(5).as_subclass(OnGPU)
    assert [reader.read(tokens) for _ in range(3)] == ["result"] * 3
    assert happened == ["run"] * (WARM_UP + 1) + ["replay"] * 3
    assert WARM_UP > 0
    assert reader._tokens.tolist() == list(range(5))
