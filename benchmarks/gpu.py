"""Does a GPU compute what a CPU does, and how fast: one script, at most six minutes on one GPU.

    python benchmarks/gpu.py --output benchmarks/gpu                  on a machine with CUDA
    python benchmarks/gpu.py --quick --device cpu --output /tmp/gpu   shows that it runs

The shape is that of SmolLM2-135M with random weights. First parity, with matrix products in full fp32: log-probs and
gradients of a policy-gradient loss against the CPU's, decoding by CUDA graphs against decoding without, and how far an
update's log-probs are from those of sampling, in fp32 and in bf16. Then times: decoding and iterations of PPO and
REINFORCE, beside transformers' ``generate`` and, where it is installed, TRL. Writes results.json and README.md; the
exit code is 1 if a figure is above its bound.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from real_size import DTYPES, QUICK, SHAPE, arguments, decoding, iteration, language_model, make_agent
from throughput import Contestant, measure_here
from workload import SHAPES, make_workload

from prefgym.agents import collect_rollout
from prefgym.models.forward import token_log_probs
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel

SECONDS = 360.0
"""What all may take; a time that is not begun by then is left out, and the page says so."""


class Check(NamedTuple):
    """A largest difference, and what it may be."""

    what: str
    found: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether it is within its bound."""
        return self.found <= self.bound


def main() -> None:
    """Check, time, and write both files."""
    options = arguments(__doc__ or "", "cuda")
    began = time.perf_counter()
    torch.backends.cuda.matmul.allow_tf32 = False
    checks = parity(options)
    times, left_out = timings(options, began)
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    found = {"device": where, "torch": torch.__version__, "transformers": transformers.__version__, "times": times}
    found |= {"checks": [check._asdict() for check in checks], "left_out": left_out}
    (options.output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = page(options, found, checks)
    (options.output / "README.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(0 if all(check.holds for check in checks) else 1)


def parity(options: argparse.Namespace) -> list[Check]:
    """What must be the same on the device, as far as rounding allows."""
    shape = QUICK if options.quick else SHAPE
    here, there = (language_model(shape, device, torch.float32) for device in ("cpu", options.device))
    (expected, gradients), (log_probs, others) = (learned(options, lm) for lm in (here, there))
    off = [float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in zip(gradients, others, strict=True)]
    checks = [
        Check("log-prob of a token, fp32, against the CPU (nats)", float((expected - log_probs).abs().max()), 1e-3),
        Check("gradient of a weight, fp32, against the CPU (relative)", max(off), 1e-2),
        Check("log-prob of a token decoded by a CUDA graph, fp32 (nats)", graph(options, there), 1e-3),
    ]
    for precision, mean_bound, bound in (("fp32", 1e-4, 1e-3), ("bf16", 0.01, 0.05)):
        mean, largest = log_ratio(options, there, precision)
        checks.append(Check(f"abs(log ratio) before a step, {precision}, mean (nats)", mean, mean_bound))
        checks.append(Check(f"abs(log ratio) before a step, {precision}, largest (nats)", largest, bound))
    return checks


def learned(options: argparse.Namespace, lm: LanguageModel) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Log-probs (N, R) of random responses, and gradients of their sum weighted by random advantages; on the CPU."""
    draw, samples = torch.Generator().manual_seed(0), max(options.samples)
    prompt_of = torch.arange(options.prompts).repeat_interleave(samples)
    prompts = torch.randint(10, lm.vocab_size, (options.prompts, options.prompt_tokens), generator=draw)
    responses = torch.randint(10, lm.vocab_size, (len(prompt_of), options.new_tokens), generator=draw)
    advantages = torch.randn(len(prompt_of), 1, generator=draw)
    tokens = torch.cat([prompts[prompt_of], responses], 1).to(lm.device)
    given = (tokens, torch.ones_like(tokens), options.new_tokens, lm.vocab_size)
    lm.unfreeze()
    log_probs = token_log_probs(lm.model, *given, prompt_of=prompt_of.to(lm.device))
    (log_probs * advantages.to(lm.device)).mean().backward()
    gradients = [weight.grad.cpu() for weight in lm.model.parameters() if weight.grad is not None]
    lm.model.zero_grad(set_to_none=True)
    return log_probs.detach().cpu(), gradients


def graph(options: argparse.Namespace, lm: LanguageModel) -> float:
    """The largest difference of log-probs between decoding in steps of fixed shape, a graph on a GPU, and without.

    Infinite if other tokens were written.
    """
    draw = torch.Generator().manual_seed(1)
    shape = (options.prompts, options.prompt_tokens)
    prompts = torch.randint(10, lm.vocab_size, shape, generator=draw).to(lm.device)

    def written(static: bool) -> Any:
        return generate(
            lm.model,
            prompts,
            torch.ones_like(prompts),
            max_new_tokens=options.new_tokens,
            eos_token_id=lm.eos_token_id,
            pad_token_id=0,
            vocab_size=lm.vocab_size,
            samples_per_prompt=max(options.samples),
            generator=torch.Generator(lm.device).manual_seed(0),
            static=static,
        )

    plain, fixed = written(False), written(True)
    if plain.tokens.shape != fixed.tokens.shape or not torch.equal(plain.tokens, fixed.tokens):
        return float("inf")
    return float((plain.log_probs - fixed.log_probs).abs().max())


def log_ratio(options: argparse.Namespace, lm: LanguageModel, precision: str) -> tuple[float, float]:
    """Mean and largest abs(log π of the update - log π of sampling), before any step."""
    agent = make_agent(options, lm, "REINFORCE", precision)
    samples = max(options.samples)
    rollout = collect_rollout(agent.env, agent.policy, options.prompts, samples, agent.generator)
    tokens = torch.cat([rollout.prompt_tokens, rollout.response_tokens], 1)
    mask = torch.cat([rollout.prompt_mask, rollout.response_mask], 1)
    with torch.no_grad():
        again = agent.policy.evaluate_actions(tokens, mask, rollout.response_mask.shape[1], with_entropy=False)
    off = (again.log_probs - rollout.log_probs)[rollout.response_mask].abs()
    return float(off.mean()), float(off.max())


def timings(options: argparse.Namespace, began: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Seconds of everything that is begun in time, and what was not."""
    rows: list[dict[str, Any]] = []
    left_out = []
    for name, run in work(options).items():
        if time.perf_counter() - began > SECONDS:
            left_out.append(name)
        else:
            rows += run()
    return rows, left_out


def work(options: argparse.Namespace) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """What is timed, the most wanted first."""
    shape = QUICK if options.quick else SHAPE
    models: dict[str, LanguageModel] = {}

    def model(dtype: str) -> LanguageModel:
        return models.setdefault(dtype, language_model(shape, options.device, DTYPES[dtype]))

    def iterate(method: str, precision: str) -> list[dict[str, Any]]:
        seconds = iteration(options, model("fp32"), precision, method)
        what = f"{method} iteration, matrix products in {precision}"
        return [{"what": what, "weights": "fp32", "samples": max(options.samples), "seconds": round(seconds, 4)}]

    found: dict[str, Callable[[], list[dict[str, Any]]]] = {}
    for dtype in DTYPES:
        for samples in options.samples:
            found[f"decoding, {dtype}, {samples} a prompt"] = lambda dtype=dtype, samples=samples: decoding(
                options, model(dtype), dtype, samples
            )
    for method in ("REINFORCE", "PPO"):
        for precision in DTYPES:
            found[f"{method}, {precision}"] = lambda method=method, precision=precision: iterate(method, precision)
    if importlib.util.find_spec("trl") is not None:
        for precision in DTYPES:
            found[f"TRL GRPO, {precision}"] = lambda precision=precision: [trl(options, precision)]
    return found


def trl(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """An iteration of TRL's GRPO on the same shape, with a reward model of that shape too."""
    folder, samples = options.output / "runs", max(options.samples)
    shape = SHAPES["tiny" if options.quick else "smollm2-135m"]
    make_workload(folder / "workload", shape, None, options.prompt_tokens)
    told = {"episodes": options.prompts * samples, "minibatch": samples, "new-tokens": options.new_tokens}
    told |= {"prompt-tokens": options.prompt_tokens, "iterations": options.repeats, "device": options.device}
    contestant = Contestant("trl_group", "grpo", samples, options={"precision": precision})
    answer = measure_here(contestant, folder / "workload", told, Path(sys.executable), folder / "result.json")
    seconds = sorted(answer["seconds"])[len(answer["seconds"]) // 2]
    what = f"TRL GRPO iteration with a reward model, matrix products in {precision}"
    return {"what": what, "weights": "fp32", "samples": samples, "seconds": round(seconds, 4)}


def page(options: argparse.Namespace, found: dict[str, Any], checks: list[Check]) -> str:
    """Both tables."""
    lines = [
        "# A GPU beside a CPU",
        "",
        f"Made by `python benchmarks/gpu.py --device {options.device}`: {found['device']}, torch {found['torch']},",
        f"transformers {found['transformers']}. The shape of SmolLM2-135M with random weights;",
        f"{options.prompts} prompts of {options.prompt_tokens} tokens, {options.new_tokens} new tokens; medians of",
        f"{options.repeats} runs, seed 0.",
        "",
        "| largest difference | found | bound | |",
        "| --- | --- | --- | --- |",
        *(f"| {c.what} | {c.found:.1e} | {c.bound:.0e} | {'holds' if c.holds else '**no**'} |" for c in checks),
        "",
        "| | weights | samples a prompt | seconds |",
        "| --- | --- | --- | --- |",
        *(f"| {r['what']} | {r['weights']} | {r['samples']} | {r['seconds']:.3f} |" for r in found["times"]),
    ]
    if found["left_out"]:
        lines += ["", f"Left out, as {SECONDS:.0f} seconds were over: {'; '.join(found['left_out'])}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
