"""What ``check_agent`` reports about an agent."""

from __future__ import annotations

from dataclasses import dataclass

from .diagnosis import Finding


@dataclass(frozen=True)
class AgentReport:
    """The findings; print it for a readable report.

    Attributes:
        agent: its name.
        estimates: number of gradient estimates.
        cosine: between their mean and the exact gradient.
        chi2: of the deviation of their mean from the exact gradient, over ``components`` directions.
        components: number of directions tested.
        p_value: of that deviation.
        score_part: factor of the exact gradient's score part in the mean, and its standard error; 1 is right.
        kl_part: the same for the KL part; None for β = 0.
        start: J of the start policy.
        objective: J reached by learning.
        optimum: J(π*).
        kl_to_optimum: KL(learned ‖ π*) in nats.
        faults: likely faults, likeliest first; empty for a correct agent.
    """

    agent: str
    estimates: int
    cosine: float
    chi2: float
    components: int
    p_value: float
    score_part: tuple[float, float]
    kl_part: tuple[float, float] | None
    start: float
    objective: float
    optimum: float
    kl_to_optimum: float
    faults: tuple[Finding, ...]

    @property
    def share(self) -> float:
        """The objective reached, as a share of the optimum's."""
        return self.objective / self.optimum

    @property
    def passed(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        parts = {"score": self.score_part, "KL": self.kl_part}
        factors = ", ".join(f"{name} part x {part[0]:.3f} +- {part[1]:.3f}" for name, part in parts.items() if part)
        lines = [
            f"{self.agent} on Enumerable-v0: {verdict}",
            f"  gradient  cosine {self.cosine:.5f} between the exact one and the mean of {self.estimates} estimates",
            f"            chi2 = {self.chi2:.1f} over {self.components} components, p = {self.p_value:.3g}",
            f"            {factors} (1 is right)",
            f"  learning  objective {self.start:.4f} -> {self.objective:.4f}, {self.share:.1%} of the optimum's "
            f"{self.optimum:.4f}; KL(learned || optimal) = {self.kl_to_optimum:.4f} nats",
        ]
        for place, finding in enumerate(self.faults):
            lines.append(f"  {'or' if place else 'likely'}: {finding.sentence} [{finding.fault}]")
        return "\n".join(lines)
