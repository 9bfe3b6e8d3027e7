"""The time of decoding and of one PPO iteration for a model of 135M parameters, beside transformers' ``generate``.

    python benchmarks/real_size.py --device cuda --output benchmarks/real_size     some minutes on one GPU
    python benchmarks/real_size.py --quick --output /tmp/real_size                 shows that it runs

The shape is that of SmolLM2-135M (30 layers of width 576, 49,152 tokens) with random weights, so responses run to the
budget. Medians of REPEATS runs after one that is not counted. Writes results.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import PPO, REINFORCE
from prefgym.agents.base import PolicyGradient
from prefgym.models.check import confirm
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel
from prefgym.models.paths import paths_of

SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
SHAPE |= {"num_key_value_heads": 3, "max_position_embeddings": 2048, "vocab_size": 49_152}
QUICK = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
QUICK |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "vocab_size": 300}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Measure, and write both files."""
    options = arguments(__doc__ or "", "cpu")
    rows = [row for dtype in DTYPES for row in measure(options, dtype)]
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    found = {"device": where, "torch": torch.__version__, "transformers": transformers.__version__, "rows": rows}
    (options.output / "results.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    (options.output / "README.md").write_text(page(options, found), encoding="utf-8")


def arguments(description: str, device: str) -> argparse.Namespace:
    """Parse the command line, and make the folder of the output."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default=device)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 8], help="responses to each prompt")
    parser.add_argument("--prompt-tokens", type=int, default=192)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(prompts=2, samples=[2], prompt_tokens=12, new_tokens=4, repeats=1)
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def measure(options: argparse.Namespace, dtype: str) -> list[dict[str, Any]]:
    """The figures of one type of weights."""
    shape = QUICK if options.quick else SHAPE
    lm = language_model(shape, options.device, DTYPES[dtype])
    began = time.perf_counter()
    confirm(lm.model, "this model")
    rows = [row("check at loading", dtype, 1, time.perf_counter() - began)]
    for samples in options.samples:
        rows += decoding(options, lm, dtype, samples)
    if dtype == "fp32":  # weights that learn are stored in fp32
        for precision in DTYPES:
            seconds = iteration(options, lm, precision)
            rows.append(row(f"PPO iteration, matrix products in {precision}", dtype, max(options.samples), seconds))
    return rows


def decoding(options: argparse.Namespace, lm: LanguageModel, dtype: str, samples: int) -> list[dict[str, Any]]:
    """Writing responses: here, recorded as a CUDA graph, and by transformers."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.prompts, options.prompt_tokens)
    prompts = torch.randint(10, lm.vocab_size, shape, generator=generator).to(lm.device)
    mask = torch.ones_like(prompts)
    paths_of(lm.model, options.prompt_tokens + samples * options.new_tokens)  # tried before the clock starts

    def ours(static: bool) -> None:
        given = {"max_new_tokens": options.new_tokens, "eos_token_id": lm.eos_token_id, "pad_token_id": 0}
        generate(lm.model, prompts, mask, vocab_size=lm.vocab_size, samples_per_prompt=samples, static=static, **given)

    def theirs() -> None:
        lm.model.generate(
            prompts,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=options.new_tokens,
            min_new_tokens=options.new_tokens,
            num_return_sequences=samples,
            pad_token_id=0,
        )

    contestants: dict[str, Callable[[], None]] = {"decoding": lambda: ours(False), "decoding by transformers": theirs}
    if lm.device.type == "cuda":
        contestants["decoding, CUDA graph"] = lambda: ours(True)
    timed = {name: median(run, options.repeats, lm.device) for name, run in contestants.items()}
    return [row(name, dtype, samples, seconds) for name, seconds in timed.items()]


def iteration(options: argparse.Namespace, lm: LanguageModel, precision: str, method: str = "PPO") -> float:
    """Seconds of one iteration of an agent with all its parts; reward by length."""
    agent = make_agent(options, lm, method, precision)
    agent.learn((options.repeats + 1) * agent.hyperparameters.episodes_per_iteration)
    return statistics.median(
        scalars["time/rollout_seconds"] + scalars["time/update_seconds"] for scalars in agent.history[1:]
    )


def make_agent(options: argparse.Namespace, lm: LanguageModel, method: str, precision: str) -> PolicyGradient:
    """A PPO or REINFORCE agent that answers each prompt so many times in an iteration."""
    words = " ".join(f"w{i}" for i in range(20, 20 + options.prompt_tokens - 4))
    episodes = options.prompts * max(options.samples)
    env = gym.make(
        "Summarize-v0",
        **{"model": lm, "prompts": [words] * options.prompts, "reward": "length", "template": "{prompt}"},
        **{"max_prompt_tokens": options.prompt_tokens, "max_new_tokens": options.new_tokens},
    )
    common: dict[str, Any] = {"episodes_per_iteration": episodes, "samples_per_prompt": max(options.samples)}
    common |= {"precision": precision, "learning_rate": 1e-6}
    if method == "PPO":
        return PPO("default", env, **common, n_epochs=2, batch_size=min(16, episodes))
    pieces = options.prompts if episodes > 16 else 1
    return REINFORCE("default", env, **common, baseline="leave_one_out", gradient_accumulation=pieces)


def language_model(shape: dict[str, int], device: str, dtype: torch.dtype) -> LanguageModel:
    """A random model of a shape, and a tokenizer with a word for each of its tokens."""
    words = {"<end>": 0} | {f"w{i}": i for i in range(1, shape["vocab_size"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="w1"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", unk_token="w1")
    torch.manual_seed(0)
    config = LlamaConfig(**shape, eos_token_id=0, bos_token_id=0, tie_word_embeddings=True)
    model = LlamaForCausalLM(config).to(device=device, dtype=dtype)
    return LanguageModel(model, tokenizer, "random")


def median(run: Callable[[], None], repeats: int, device: torch.device) -> float:
    """Seconds of a run, the first not counted."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def row(what: str, dtype: str, samples: int, seconds: float) -> dict[str, Any]:
    """One figure."""
    return {"what": what, "weights": dtype, "samples": samples, "seconds": round(seconds, 4)}


def page(options: argparse.Namespace, found: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        "# A model of 135M parameters",
        "",
        f"Made by `python benchmarks/real_size.py --device {options.device}`.",
        f"{found['device']}, torch {found['torch']}, transformers {found['transformers']}.",
        f"The shape of SmolLM2-135M with random weights; {options.prompts} prompts of {options.prompt_tokens} tokens,",
        f"{options.new_tokens} new tokens; median of {options.repeats} runs, seed 0.",
        "",
        "| | weights | samples a prompt | seconds |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {r['what']} | {r['weights']} | {r['samples']} | {r['seconds']:.3f} |" for r in found["rows"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
