"""A value read from the policy's own trunk."""

from __future__ import annotations

from torch import Tensor, nn


class ValueHead(nn.Module):
    """A linear map from the trunk's last hidden state to the value of the state: (..., d) -> (...).

    It starts at zero, so that before the first update every value is 0 and advantages are returns.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return values (...) in fp32 for hidden states (..., d) of any float type."""
        return self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)
