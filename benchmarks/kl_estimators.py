"""The quality of KL estimators: bias and noise of their values and gradients, in the reward and as a loss.

    python benchmarks/kl_estimators.py --output benchmarks/kl_estimators              a few seconds on one core
    python benchmarks/kl_estimators.py --quick --output /tmp/kl_estimators            fewer responses

On Enumerable-v0 every response is listed, so expectations and variances are sums: no figure here is sampled. Writes
results.json and README.md.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from kl_expectations import ESTIMATORS, LEVELS, KLExpectations, Moments

from prefgym.agents import LMPolicy
from prefgym.envs import Enumerable
from prefgym.evaluation.checking.check_agent import make_world, move
from prefgym.evaluation.checking.enumeration import Enumeration
from prefgym.files import write_json, write_text

STEP = 0.05  # KL(π ‖ μ) of the update by which off-policy data lag behind, in nats


def combinations(off_policy: bool) -> Iterator[tuple[str, str, str]]:
    """The rows of the tables: estimator, level, importance weight."""
    for estimator in ESTIMATORS:
        for level in LEVELS if estimator != "exact" else ("token",):
            yield estimator, level, "none"
            if off_policy:
                yield estimator, level, "response"
                if level == "token":
                    yield estimator, level, "token"


def value_rows(data: KLExpectations, off_policy: bool) -> list[dict[str, Any]]:
    """Bias and standard deviation of one response's estimate of the KL, as shares of the KL."""
    rows = []
    for estimator, level, weights in combinations(off_policy):
        moments = data.estimate(estimator, level, weights)
        bias, noise = float(moments.mean) / data.value - 1, moments.std / data.value
        rows.append({"estimator": estimator, "level": level, "weights": weights, "bias": bias, "noise": noise})
    return rows


def gradient_rows(data: KLExpectations, off_policy: bool) -> list[dict[str, Any]]:
    """Bias and noise of one response's estimate of the KL's gradient, as shares of that gradient's length."""
    rows = []
    for estimator, level, weights in combinations(off_policy):
        where = {"estimator": estimator, "level": level, "weights": weights}
        rows.append(where | {"use": "reward"} | errors(data, data.in_reward(estimator, level, weights)))
        rows.append(where | {"use": "loss"} | errors(data, data.as_loss(estimator, level, weights)))
        if estimator == "exact":
            rows.append(where | {"use": "both"} | errors(data, data.in_both(estimator, level, weights)))
        for weight in sorted({level, "response"} if not off_policy else {weights} - {"none"}):
            # on-policy every weight is 1, but still has a gradient
            carried = data.as_loss(estimator, level, weight, through_weights=True)
            rows.append(where | {"use": "loss, through weights", "weights": weight} | errors(data, carried))
    return rows


def errors(data: KLExpectations, moments: Moments) -> dict[str, Any]:
    """An estimated gradient compared with the exact one."""
    exact, mean = data.gradient, moments.mean
    zero = mean.norm() < 1e-6 * exact.norm()
    return {
        "cosine": None if zero else float(torch.cosine_similarity(mean, exact, dim=0)),
        "bias": float((mean - exact).norm() / exact.norm()),
        "noise": moments.std / float(exact.norm()),
        "is": data.name_of(mean),
    }


def one_update_earlier(world: Enumerable, policy: LMPolicy) -> LMPolicy:
    """The policy one step down the objective's gradient: far enough back that KL(π ‖ μ) is ``STEP`` nats."""
    gradient = world.exact_gradient(policy)
    low, high = 0.0, 100.0
    for _ in range(40):
        middle = (low + high) / 2
        earlier = copy.deepcopy(policy)
        with torch.no_grad():
            for name, parameter in earlier.named_parameters():
                parameter.sub_(middle * gradient[name])
        low, high = (middle, high) if distance(world, policy, earlier) < STEP else (low, middle)
    return earlier


def distance(world: Enumerable, policy: LMPolicy, other: LMPolicy) -> float:
    """KL(policy ‖ other) of whole responses."""
    with torch.no_grad():
        every, log_other = Enumeration(world, policy), world.log_probs(other).flatten()
    return float(every.mean(world.log_probs(policy).detach().flatten() - log_other))


def page(results: dict[str, Any]) -> str:
    """The tables in words."""
    parts = [HEAD.format(**results)]
    for name, title in (("on_policy", "On-policy"), ("off_policy", "One update off")):
        parts.append(f"\n## {title}: the value\n\n{VALUE_HEAD}")
        parts += [value_line(row) for row in results[name]["value"]]
        parts.append(f"\n## {title}: the gradient\n\n{GRADIENT_HEAD}")
        for use in ("reward", "loss", "both", "loss, through weights"):
            parts += [gradient_line(row) for row in results[name]["gradient"] if row["use"] == use]
    return "\n".join([*parts, TRAPS])


def value_line(row: dict[str, Any]) -> str:
    """A row of the values' table."""
    weights = WEIGHT[row["weights"]]
    return f"| {row['estimator']} | {row['level']} | {weights} | {row['bias']:+.1%} | {row['noise']:.2f} |"


def gradient_line(row: dict[str, Any]) -> str:
    """A row of the gradients' table."""
    cosine = "none" if row["cosine"] is None else f"{row['cosine']:.3f}"
    return (
        f"| {row['use']} | {row['estimator']} | {row['level']} | {WEIGHT[row['weights']]} | {cosine} | "
        f"{row['bias']:.1%} | {row['noise']:.2f} | {row['is'] or 'something else'} |"
    )


WEIGHT = {"none": "none", "token": "each token's", "response": "the response's"}
VALUE_HEAD = """| estimator | per | importance weight | bias | noise |
| --- | --- | --- | --- | --- |"""
GRADIENT_HEAD = """| used in the | estimator | per | importance weight | cosine | bias | noise | its expectation is |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
HEAD = """# KL estimators: value and gradient

`python benchmarks/kl_estimators.py --output benchmarks/kl_estimators`

`Enumerable-v0`: {responses} responses to {prompts} prompts, at most {steps} tokens each. The policy is a table moved
away from its reference by seeded noise: KL(policy || reference) = {kl:.3f} nats. Every expectation and variance is a
sum over all responses; nothing is sampled. Off-policy, responses come from the policy one gradient step earlier, with
KL(policy || earlier) = {step:.3f} nats.

k1 = log r, k2 = (log r)^2 / 2, k3 = 1 / r - 1 + log r with r = policy / reference: of each token, and summed (per
*token*), or once for the whole response (per *response*). *exact* sums over the vocabulary in each state visited. The
*bias* of a value is its mean divided by the exact KL, minus 1; that of a gradient is the length of mean minus exact
over the length of the exact gradient. *noise* is the standard deviation of one response's estimate, over the same.

Used in the *reward*, the estimate is a number, and the gradient is that of the log-probabilities of the tokens up to
it. Used as a *loss*, the estimate itself is differentiated. *loss, through weights*: it is multiplied by an importance
weight, which is differentiated too (on-policy the weight is 1 and its gradient is not 0)."""
TRAPS = """
## What to take from it

- In the reward, k1 is right, per token or per response. k2 and k3 are not: their values may be close, but their
  gradients are those of something else. Exact KL in the reward has no bias as a value; but the KL of a state does not
  depend on the token chosen there, so the gradient has only a token's effect on the KL of *later* states. Exact KL in
  both the reward and the loss is right, with the least noise of all that are.
- As a loss, k1 has zero expected gradient and adds noise. k3 follows the gradient of the forward KL. k2 per response
  is the right gradient; k2 and exact per token are right for each state and give no credit for the KL of later ones.
- An unbiased value is not an unbiased gradient. It becomes one as a loss whose importance weight, that of the whole
  response, is differentiated, also on-policy. With each token's own weight, credit for later states is missing.
- Off-policy, weights of whole responses remove the bias of the data but add noise. Without weights even k1 is biased as
  a value, and as a loss its expected gradient is no longer zero.
"""


def main() -> None:
    """Compute both tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    world = make_world(0.5, max_new_tokens=2 if options.quick else 3)
    policy = LMPolicy(world.language_model.copy(), decoding=world.decoding, value_head=False)
    move(policy)
    earlier = one_update_earlier(world, policy)
    on, off = KLExpectations(world, policy), KLExpectations(world, policy, earlier)
    results = {
        "responses": world.scores().numel(),
        "prompts": len(world.prompts),
        "steps": world.max_new_tokens,
        "kl": on.value,
        "step": distance(world, policy, earlier),
        "on_policy": {"value": value_rows(on, False), "gradient": gradient_rows(on, False)},
        "off_policy": {"value": value_rows(off, True), "gradient": gradient_rows(off, True)},
    }
    write_json(options.output / "results.json", results)
    write_text(options.output / "README.md", page(results))
    print(page(results))


if __name__ == "__main__":
    main()
