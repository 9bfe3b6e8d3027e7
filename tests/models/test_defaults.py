"""What an argument is when nobody gives it."""

import torch

from prefgym.models.lora import AdaptedModel, LoRA


def test_a_new_adapter_is_drawn_by_seed_0(language_model):
    def drawn(**seed):
        model = AdaptedModel.start(language_model, LoRA(rank=3), **seed).model
        return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(drawn(), drawn(seed=0))
    assert not torch.equal(drawn(), drawn(seed=1))
