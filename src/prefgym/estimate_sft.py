"""What ``prefgym sft`` would take, from forward and backward passes of a few random examples of the data's lengths."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .agents.memory import LEAST, WORK, peak_bytes, resident_bytes, without_gradients
from .data.splits import spaced
from .estimate import SAMPLE, SECONDS, ladder, optimiser_seconds
from .models.attention import plain_attention
from .models.finetune import Collator, batch_loss_sum
from .models.low_rank import low_rank
from .models.tensor_memory import TensorMemory
from .trial import Budget, timed

if TYPE_CHECKING:
    from .data.pairs import Pair
    from .models.language_model import LanguageModel
    from .models.supervised import TrainingOptions
    from .pair_data import PairData


@dataclass(frozen=True)
class FinetuningEstimate:
    """Seconds of an optimiser step and of one evaluation, how many there are of both, and bytes at the peak.

    ``timed`` of the ``wanted`` examples of a forward pass were timed, of ``prompt`` and ``response`` tokens.
    """

    step: float
    evaluation: float
    steps: int
    evaluations: int
    peak: float
    timed: int
    wanted: int
    prompt: int
    response: int

    def told(self) -> str:
        """The line that says what was timed, and how it was scaled."""
        return (
            f"Timed on {self.timed} of the {self.wanted} examples of a forward pass and scaled to all; examples "
            f"are taken to have {self.prompt} + {self.response} tokens."
        )


def estimate_finetuning(
    model: LanguageModel, data: PairData, options: TrainingOptions, epoch: int, packed: bool
) -> FinetuningEstimate:
    """Measure; the model is not to be used afterwards. ``epoch`` is the number of pairs in an epoch."""
    allowed = Budget(SECONDS, {"learn": 0.75, "read": 0.25})
    resident, lengths = resident_bytes(model.device), [_lengths(data, pair) for pair in spaced(data.train, SAMPLE)]
    prompt, response = (max(1, round(sum(row[side] for row in lengths) / len(lengths))) for side in (0, 1))
    longest, steps = max(map(sum, lengths)), options.steps(epoch)
    model.unfreeze()
    with ExitStack() as stack:
        stack.enter_context(low_rank(model.model, options.lora, seed=options.seed, name=model.name))
        stack.enter_context(plain_attention(model.model, wanted=options.bf16))
        stack.enter_context(torch.autocast(model.device.type, torch.bfloat16, enabled=options.bf16))
        trained = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
        work, measured = _bytes(model, prompt, response, packed)
        count = min(options.batch_size, epoch)
        learnt = timed(ladder(count), lambda rows: _learn(model, rows, prompt, response, packed), allowed.of("learn"))
        read = timed(ladder(count), lambda rows: _read(model, rows, prompt, response, packed), allowed.of("read"))
        optimiser, _ = optimiser_seconds(torch.optim.AdamW(trained), trained)
    batches = min(options.gradient_accumulation, -(-epoch // options.batch_size))
    weights = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    copies = 2 + bool(data.held_out) + (batches > 1)  # two moments, the best evaluation's weights, earlier gradients
    work_peak = work[0] + work[1] * count * longest / measured
    every = options.eval_every or max(1, steps // 10)
    return FinetuningEstimate(
        step=batches * learnt.at(count) + optimiser,
        evaluation=read.at(count) / count * len(data.held_out),
        steps=steps,
        evaluations=-(-steps // every) if data.held_out else 0,
        peak=max(resident + copies * weights + max(weights, work_peak), peak_bytes()),
        timed=learnt.size,
        wanted=count,
        prompt=prompt,
        response=response,
    )


def _lengths(data: PairData, pair: Pair) -> tuple[int, int]:
    asked, answer = data.tokens(pair.prompt, pair.response)
    return len(asked), len(answer) + 1  # EOS


def _batch(model: LanguageModel, rows: int, prompt: int, response: int, packed: bool) -> dict[str, Any]:
    """So many different examples of random tokens."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.vocab_size, (rows, prompt + response), generator=draw).tolist()
    examples = [
        {"prompt": row[:prompt], "response": row[prompt:], "group": number} for number, row in enumerate(tokens)
    ]
    batch = Collator(model.pad_token_id, packed)(examples)
    return {name: part.to(model.device) if isinstance(part, torch.Tensor) else part for name, part in batch.items()}


def _learn(model: LanguageModel, rows: int, prompt: int, response: int, packed: bool) -> None:
    with without_gradients(model.model):
        batch_loss_sum(model.model, _batch(model, rows, prompt, response, packed))[0].backward()


def _read(model: LanguageModel, rows: int, prompt: int, response: int, packed: bool) -> None:
    with torch.no_grad():
        batch_loss_sum(model.model, _batch(model, rows, prompt, response, packed))


def _bytes(model: LanguageModel, prompt: int, response: int, packed: bool) -> tuple[tuple[float, float], int]:
    """Bytes of a forward and backward pass: a constant and those of each example, and the tokens of these examples."""
    times = min(1.0, WORK / model.num_parameters / (2 * (prompt + response)))
    shape = [max(round(part * times), min(part, least)) for part, least in zip((prompt, response), LEAST, strict=True)]
    kept, added = [], []
    apart = [parameter.shape for parameter in model.model.parameters()]
    for rows in (1, 2):
        batch = _batch(model, rows, shape[0], shape[1], packed)
        with without_gradients(model.model), TensorMemory(apart) as memory:
            loss, _ = batch_loss_sum(model.model, batch)
            kept.append(float(memory.alive))
            memory.peak = memory.alive
            loss.backward()
        added.append(float(memory.peak) - kept[-1])
    each = max(0.0, kept[1] - kept[0])
    more = max(0.0, added[1] - added[0])
    return (max(0.0, kept[0] - each) + max(0.0, added[0] - more), each + more), sum(shape)
