"""Which columns of a padded batch are real. Masks are True (or 1) on real tokens; token ids do not matter."""

from __future__ import annotations

from torch import Tensor


def position_ids(attention_mask: Tensor) -> Tensor:
    """Number the real tokens of each row from 0: (B, L) mask -> (B, L) int64, 0 on left padding.

    >>> import torch
    >>> position_ids(torch.tensor([[0, 0, 1, 1, 1]]))
    tensor([[0, 0, 0, 1, 2]])
    """
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def first_real_column(attention_mask: Tensor) -> int:
    """Return the first column with a real token in any row: earlier columns are padding in all rows."""
    return int(attention_mask.bool().any(dim=0).int().argmax())
