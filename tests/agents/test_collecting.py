"""The reference's pass over responses."""

import pytest
import torch

from prefgym.agents import collecting
from prefgym.models.distribution import Decoding, log_distribution


def test_slots_are_judged_a_few_at_a_time_and_each_by_its_own_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven slots of five logits, of which ten are processed at once."""
    logits, own = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    chosen, plain, sizes = torch.tensor([0, 1, 2, 3, 0, 1, 2]), Decoding(), []

    def counted(rows: torch.Tensor, *given: object) -> torch.Tensor:
        sizes.append(len(rows))
        return log_distribution(rows, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(collecting, "LOGITS_IN_CACHE", {"cpu": 10})
    monkeypatch.setattr(collecting, "log_distribution", counted)
    log_probs, kl = collecting._judge_slots(4, (plain, plain), logits, own, chosen)
    assert sizes == [2, 2, 2, 2, 2, 2, 1, 1]  # of the reference and the policy
    ref, pi = (log_distribution(x, 4) for x in (logits, own))
    assert torch.allclose(log_probs, ref[torch.arange(7), chosen])
    assert torch.allclose(kl, (pi.exp() * (pi - ref)).sum(-1), atol=1e-6)
