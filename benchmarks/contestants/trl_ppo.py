"""Iterations of TRL's PPOTrainer, which needs its own virtual environment."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import Any

import torch
from datasets import Dataset
from memory import Peak
from settings import KL_COEF, LEARNING_RATE, answer, arguments, prompts
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


class Clock(TrainerCallback):
    """Records when each iteration ends, and the time of its parts."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]
        self.parts: dict[str, float] = defaultdict(float)
        self.generating = False
        self.lengths: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """An iteration is over."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == 2:
            self.parts.clear()  # the first one warms up

    def around(self, name: str, function: Any) -> Any:
        """Let a function's seconds count as part ``name``."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.parts[name] += time.perf_counter() - began

        return timed

    def watch(self, name: str, model: torch.nn.Module) -> None:
        """Count the forward passes of a trunk, separately from those of generation."""

        def before(*_: Any) -> None:
            self.began = time.perf_counter()

        def after(*_: Any) -> None:
            if not self.generating:
                phase = "update" if torch.is_grad_enabled() else "rollout"
                self.parts[f"{name} forward ({phase})"] += time.perf_counter() - self.began

        model.base_model.register_forward_pre_hook(before)
        model.base_model.register_forward_hook(after)


def main() -> None:
    """Train, and report the time of each iteration."""
    options = arguments(__doc__ or "")
    tokenizer = AutoTokenizer.from_pretrained(options.workload / "model", padding_side="left")
    load = {"dtype": torch.float32}
    policy, reference = (AutoModelForCausalLM.from_pretrained(options.workload / "model", **load) for _ in range(2))
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(options.workload / "reward", num_labels=1, **load)
        for _ in range(2)
    )
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in prompts(options.workload)]
    config = PPOConfig(
        output_dir=str(options.result.with_suffix(".out")),
        learning_rate=LEARNING_RATE,
        per_device_train_batch_size=options.minibatch,
        gradient_accumulation_steps=options.episodes // options.minibatch,
        num_mini_batches=options.episodes // options.minibatch,
        num_ppo_epochs=options.epochs,
        total_episodes=options.episodes * (options.iterations + 1),
        local_rollout_forward_batch_size=options.episodes,
        response_length=options.new_tokens,
        stop_token="eos",
        temperature=1.0,
        kl_coef=KL_COEF,
        num_sample_generations=0,
        bf16=options.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=options.device == "cpu",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[clock],
    )
    generate = ppo_trainer.batch_generation

    def generation(model: Any, queries: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        clock.generating = True
        try:
            texts, logits = generate(model, queries, *args, **kwargs)
        finally:
            clock.generating = False
        before_eos = (texts[:, queries.shape[1] :] != tokenizer.eos_token_id).cumprod(1).sum(1)
        clock.lengths.append(float((before_eos + 1).clamp(max=options.new_tokens).float().mean()))
        return texts, logits

    ppo_trainer.batch_generation = clock.around("generate", generation)
    trainer.accelerator.backward = clock.around("backward", trainer.accelerator.backward)
    for name, model in (("policy", policy), ("reference", reference), ("reward", reward), ("value", value)):
        clock.watch(name, model)
    peak = Peak()
    clock.ends = [time.perf_counter()]
    trainer.train()
    seconds = [later - earlier for earlier, later in zip(clock.ends[1:], clock.ends[2:], strict=False)]
    answer(
        options.result,
        {
            "seconds": seconds,
            "parts": {name: value / len(seconds) for name, value in clock.parts.items()},
            "peak_bytes": peak.above(),
            "mean_length": statistics.mean(clock.lengths[1:]),
        },
    )


if __name__ == "__main__":
    main()
