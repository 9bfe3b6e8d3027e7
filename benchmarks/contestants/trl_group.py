"""Iterations of TRL's RLOOTrainer or GRPOTrainer, which need their own virtual environment."""

from __future__ import annotations

import time
from typing import Any

import torch
from datasets import Dataset
from memory import Peak
from settings import KL_COEF, LEARNING_RATE, answer, arguments, prompts
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer


class Clock(TrainerCallback):
    """Records when each iteration ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """An iteration is over."""
        self.ends.append(time.perf_counter())


def main() -> None:
    """Train, and report the time of each iteration."""
    options = arguments(__doc__ or "")
    config_type, trainer_type = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}[options.method]
    tokenizer = AutoTokenizer.from_pretrained(options.workload / "model", padding_side="left")
    load = {"dtype": torch.float32}
    policy = AutoModelForCausalLM.from_pretrained(options.workload / "model", **load)
    reward = AutoModelForSequenceClassification.from_pretrained(options.workload / "reward", num_labels=1, **load)
    config = config_type(
        output_dir=str(options.result.with_suffix(".out")),
        learning_rate=LEARNING_RATE,
        per_device_train_batch_size=options.minibatch,
        gradient_accumulation_steps=options.episodes // options.minibatch,
        num_generations=options.samples,
        num_iterations=1,
        max_completion_length=options.new_tokens,
        max_steps=options.iterations + 1,
        temperature=1.0,
        beta=KL_COEF,
        bf16=options.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=options.device == "cpu",
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = trainer_type(
        model=policy,
        reward_funcs=reward,
        reward_processing_classes=AutoTokenizer.from_pretrained(options.workload / "reward"),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompts(options.workload)]),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    peak = Peak()
    trainer.train()
    lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "completions/mean_length" in row]
    answer(
        options.result,
        {
            "seconds": [later - earlier for earlier, later in zip(clock.ends, clock.ends[1:], strict=False)],
            "peak_bytes": peak.above(),
            "mean_length": sum(lengths) / max(len(lengths), 1),
        },
    )


if __name__ == "__main__":
    main()
