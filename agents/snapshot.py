"""The last complete training state, kept while the next iteration changes it, so that a stop can save it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import RewardError
from .checkpoint import restore, training_state

if TYPE_CHECKING:
    from .base import PolicyGradient


class Snapshot:
    """The state of an agent between two iterations.

    Random states and counters are copied on creation; weights and optimiser only by :meth:`keep`, before they change.
    With AdamW they are three numbers per trained parameter.
    """

    def __init__(self, agent: PolicyGradient) -> None:
        agent.settings.ask()
        tensors, state = training_state(agent)
        self.state: dict[str, Any] = {**state, "history": list(state["history"])}
        self.tensors = {**tensors, "generator": tensors["generator"].clone()}
        self.weights: dict[str, Tensor] | None = None

    def keep(self, agent: PolicyGradient) -> None:
        """Copy what an update changes."""
        self.tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        trained = {name: p for name, p in agent.policy.named_parameters() if p.requires_grad}
        self.weights = {name: p.detach().clone() for name, p in trained.items()}

    def put_back(self, agent: PolicyGradient) -> None:
        """Restore the agent."""
        if self.weights is not None:
            parameters = dict(agent.policy.named_parameters())
            with torch.no_grad():
                for name, weight in self.weights.items():
                    parameters[name].copy_(weight)
        restore(agent, dict(self.tensors), self.state)


@contextmanager
def whole_when_stopped(agent: PolicyGradient, wanted: bool) -> Iterator[Snapshot | None]:
    """Around an iteration: a stop in it restores the agent to the end of the previous one, if ``wanted``.

    So does a reward that fails after the update, in a validation. Gives the snapshot, whose ``keep`` comes before the
    update.
    """
    before = agent.iteration
    snapshot = Snapshot(agent) if wanted else None
    try:
        yield snapshot
    except KeyboardInterrupt:
        agent.settings.freeze()
        if snapshot is not None and agent.iteration == before:
            snapshot.put_back(agent)
        raise
    except RewardError:
        if snapshot is not None and snapshot.weights is not None:
            snapshot.put_back(agent)
        raise
