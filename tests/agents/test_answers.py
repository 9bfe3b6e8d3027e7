"""What an agent's own methods may return: the rest is told at once, and in whose method."""

from typing import Any

import pytest
import torch

from prefgym.agents.answers import advantages_of, loss_of
from prefgym.errors import AgentError

ROWS = torch.zeros(2, 3)


class Agent:
    """Answers whatever it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def advantages(self, rollout: Any) -> Any:
        return self.answer

    def loss(self, piece: Any) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [(ROWS, ROWS, ROWS), [ROWS, ROWS], (ROWS,), (ROWS[:1], None), (ROWS, ROWS[0])])
def test_advantages_are_a_pair_of_tensors_with_a_row_per_episode(answer: Any) -> None:
    rollout: Any = [None, None]
    assert advantages_of(Agent((ROWS, None)), rollout) == (ROWS, None)  # type: ignore[arg-type]
    with pytest.raises(AgentError, match=r"Agent\.advantages .* must return"):
        advantages_of(Agent(answer), rollout)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["0.5", torch.zeros(2), None])
def test_what_a_loss_logs_is_a_number(value: Any) -> None:
    _, scalars = loss_of(Agent((ROWS.sum(), {"one": 1, "two": torch.ones(1)})), None)  # type: ignore[arg-type]
    assert {name: float(scalar) for name, scalar in scalars.items()} == {"one": 1.0, "two": 1.0}
    with pytest.raises(AgentError, match='scalar tensor as "odd"'):
        loss_of(Agent((ROWS.sum(), {"one": 1, "odd": value})), None)  # type: ignore[arg-type]
