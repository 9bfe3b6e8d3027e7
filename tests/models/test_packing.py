"""Several examples in a row give the logits, the loss and the gradients of each by itself."""

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models import layout as packing
from prefgym.models.finetune import Collator, LanguageModelTrainer, examples, finetune
from prefgym.models.forward import read_responses
from prefgym.models.packing import check_packable

PAIRS = [
    ("my brother", " broke the window"),
    ("the window of our neighbour, of my brother", " our"),
    ("our", " my brother broke the window of our neighbour"),
    ("my brother", " the"),
    ("neighbour", " window"),
    ("the", " our"),
    ("my", " my"),
    ("of", " brother"),
]


@pytest.fixture(autouse=True)
def long_rows(monkeypatch):
    """A call costs so much that rows are filled."""
    monkeypatch.setitem(packing.CALL_COST, "cpu", 1e6)


@pytest.fixture
def rows_read(language_model):
    """The shapes of what the embedding is given."""
    shapes = []
    language_model.model.get_input_embeddings().register_forward_hook(
        lambda module, given, out: shapes.append(tuple(given[0].shape))
    )
    return shapes


def loss_and_gradient(model, batches):
    model.zero_grad()
    losses = [LanguageModelTrainer.eval_loss_sum(None, model, batch)[0] for batch in batches]
    sum(losses).backward()
    return sum(loss.item() for loss in losses), torch.cat([p.grad.flatten() for p in model.parameters()])


def test_loss_and_gradient_are_those_of_the_examples_one_by_one(language_model, rows_read):
    data = examples(language_model, PAIRS)
    alone, alone_gradient = loss_and_gradient(language_model.model, [Collator(0)([row]) for row in data])
    rows_read.clear()
    packed, packed_gradient = loss_and_gradient(language_model.model, [Collator(0, packed=True)(data)])
    ((rows, width),) = rows_read
    assert rows < len(data)
    tokens = sum(len(row["prompt"]) + len(row["response"]) - 1 for row in data)
    longest = max(len(row["prompt"]) + len(row["response"]) - 1 for row in data)
    assert tokens <= rows * width < 0.7 * len(data) * longest
    assert packed == pytest.approx(alone, rel=1e-5)
    torch.testing.assert_close(packed_gradient, alone_gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
@pytest.mark.parametrize("call_cost", [0.0, 1e6])
def test_logits_and_hidden_states_are_those_of_plain_reading(make_model, prompts, monkeypatch, kind, call_cost):
    monkeypatch.setitem(packing.CALL_COST, "cpu", call_cost)
    model = make_model(kind)
    tokens, mask = prompts
    real = torch.arange(4) < torch.tensor([4, 1, 3, 2, 4])[:, None]
    responses = torch.randint(1, 40, (5, 4), generator=torch.Generator().manual_seed(2)).masked_fill(~real, 0)
    batch = torch.cat([tokens, responses], 1), torch.cat([mask, real], 1)
    plain, packed = (read_responses(model, *batch, 4, packed=packed) for packed in (False, True))
    for name in ("logits", "hidden"):
        one, other = (reading.slots.spread(getattr(reading, name))[real] for reading in (plain, packed))
        torch.testing.assert_close(other, one, atol=2e-5, rtol=1e-4)


def test_an_example_sees_nothing_of_its_neighbours(language_model):
    """Other tokens in one example change its own loss alone."""

    def losses(pairs):
        batch = Collator(0, packed=True)(examples(language_model, pairs))
        reading = read_responses(
            language_model.model, batch["input_ids"], batch["attention_mask"], batch["num_response"], packed=True
        )
        chosen = reading.slots.gather(batch["labels"][:, -batch["num_response"] :]).clamp(min=0)
        log_probs = reading.logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
        return reading.slots.spread(log_probs).sum(dim=1)

    changed = [PAIRS[0], ("our neighbour", " broke the window of my brother, our"), *PAIRS[2:]]
    with torch.no_grad():
        before, after = losses(PAIRS), losses(changed)
    same = torch.isclose(before, after, atol=1e-4)
    assert same.tolist() == [True, False, *[True] * 6]


def test_training_with_packing_ends_with_the_same_weights(language_model):
    packed = language_model.copy()
    for model, packing_wanted in ((language_model, False), (packed, True)):
        finetune(model, PAIRS, max_steps=5, batch_size=4, learning_rate=1e-2, packing=packing_wanted)
    for one, other in zip(language_model.model.parameters(), packed.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_a_model_with_sliding_windows_is_refused(make_model):
    with pytest.raises(InputError, match=r"MistralForCausalLM.*train without packing"):
        check_packable(make_model("mistral"))
