"""Prompts as one batch."""

import torch

from prefgym.envs.prompt_source import Prompt, PromptBatch


def test_a_batch_tells_the_columns_and_places_of_its_prompts():
    prompts = [
        Prompt("read: a", [1], {"prompt": "a", "reference": "b"}, 3),
        Prompt("read: c", [2], {"prompt": "c"}, None),  # given by hand
    ]
    batch = PromptBatch(torch.tensor([[1], [2]]), torch.ones(2, 1, dtype=torch.bool), prompts)
    assert len(batch) == 2
    assert batch.texts == ["read: a", "read: c"]
    assert batch.rows == [{"prompt": "a", "reference": "b"}, {"prompt": "c"}]
    assert batch.references == ["b", None]
    assert batch.indices == [3, -1]
    assert batch.repeat(2).indices == [3, 3, -1, -1]
