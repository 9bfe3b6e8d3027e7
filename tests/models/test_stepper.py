import pytest
import torch

from prefgym.models.padding import position_ids
from prefgym.models.stepper import Stepper

PROMPT_COLUMNS, COLUMNS = 6, 14


def full_forward(model, tokens, mask):
    """Logits of the next token of each row, read alone and without padding: the definition."""
    with torch.no_grad():
        return torch.cat(
            [model(row[kept].unsqueeze(0)).logits[:, -1] for row, kept in zip(tokens, mask.bool(), strict=True)]
        )


class Texts:
    """Rows of growing text as an environment shows them: prompts left padded, responses from one column on."""

    def __init__(self, num_rows, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.zeros(num_rows, COLUMNS, dtype=torch.long)
        self.mask = torch.zeros(num_rows, COLUMNS, dtype=torch.int8)
        self.length = [0] * num_rows
        for row in range(num_rows):
            self.reset(row)

    def draw(self, *shape):
        return torch.randint(0, 40, shape, generator=self.generator)

    def reset(self, row):
        count = int(torch.randint(1, PROMPT_COLUMNS + 1, (1,), generator=self.generator))
        self.tokens[row], self.mask[row], self.length[row] = 0, 0, 0
        self.tokens[row, PROMPT_COLUMNS - count : PROMPT_COLUMNS] = self.draw(count)
        self.mask[row, PROMPT_COLUMNS - count : PROMPT_COLUMNS] = 1

    def grow(self, row):
        column = PROMPT_COLUMNS + self.length[row]
        self.tokens[row, column], self.mask[row, column] = self.draw(1), 1
        self.length[row] += 1

    @property
    def observation(self):
        return self.tokens.clone(), self.mask.clone()


@pytest.fixture
def counted():
    """Count the tokens a model reads."""

    def count(model):
        read = []
        model.register_forward_pre_hook(
            lambda _module, _arguments, options: read.append(options["input_ids"].numel()), with_kwargs=True
        )
        return read

    return count


def test_staggered_resets_equal_a_full_forward(any_model):
    stepper, texts = Stepper(any_model), Texts(4)
    steps_reset_at = {1: [2], 3: [0, 2], 4: [3], 7: [0, 1, 2, 3], 9: [1]}
    for step in range(12):
        logits = stepper.next_logits(*texts.observation)
        torch.testing.assert_close(logits, full_forward(any_model, *texts.observation), atol=1e-4, rtol=0)
        for row in range(4):
            if row in steps_reset_at.get(step, []) or texts.length[row] == COLUMNS - PROMPT_COLUMNS:
                texts.reset(row)
            else:
                texts.grow(row)


def test_growing_rows_cost_one_token_each(model, counted):
    stepper, texts, read = Stepper(model), Texts(4), counted(model)
    stepper.next_logits(*texts.observation)
    read.clear()
    for row in range(4):
        texts.grow(row)
    stepper.next_logits(*texts.observation)
    assert read == [4]
    texts.reset(1)
    for row in (0, 2, 3):
        texts.grow(row)
    stepper.next_logits(*texts.observation)
    assert read[1] <= PROMPT_COLUMNS, "only the row that was reset is read anew"
    assert read[2] == 4


def test_asking_again_reads_nothing(model, counted):
    stepper, texts, read = Stepper(model), Texts(3), counted(model)
    first = stepper.next_logits(*texts.observation)
    read.clear()
    assert torch.equal(stepper.next_logits(*texts.observation), first)
    assert not read


def test_another_last_token_or_a_step_back_is_answered_right(model):
    stepper, texts = Stepper(model), Texts(3)
    for row in range(3):
        texts.grow(row)
        texts.grow(row)
    longer = texts.observation
    stepper.next_logits(*longer)
    other = longer[0].clone(), longer[1]
    other[0][:, PROMPT_COLUMNS + 1] = (other[0][:, PROMPT_COLUMNS + 1] + 1) % 40
    shorter = longer[0].clone(), longer[1].clone()
    shorter[1][:, PROMPT_COLUMNS + 1] = 0
    for observation in (other, shorter, longer):
        logits = stepper.next_logits(*observation)
        torch.testing.assert_close(logits, full_forward(model, *observation), atol=1e-4, rtol=0)


def test_a_changed_middle_is_noticed(model):
    """The same length and the same last token, one token in the middle another: the row is read anew."""
    stepper, texts = Stepper(model), Texts(2)
    for row in range(2):
        texts.grow(row)
        texts.grow(row)
    tokens, mask = texts.observation
    stepper.next_logits(tokens, mask)
    tokens[0, PROMPT_COLUMNS] = (tokens[0, PROMPT_COLUMNS] + 1) % 40
    torch.testing.assert_close(stepper.next_logits(tokens, mask), full_forward(model, tokens, mask), atol=1e-4, rtol=0)


def test_padding_is_not_compared(model, counted):
    stepper, texts, read = Stepper(model), Texts(3), counted(model)
    tokens, mask = texts.observation
    stepper.next_logits(tokens, mask)
    read.clear()
    stepper.next_logits(tokens.masked_fill(mask == 0, 7), mask)
    assert not read


@pytest.mark.parametrize("change", ["optimizer", "load_state_dict", "assignment"])
def test_changed_parameters_are_noticed(model, make_model, change):
    stepper, texts = Stepper(model), Texts(3)
    before = stepper.next_logits(*texts.observation)
    if change == "optimizer":
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        model(texts.tokens).logits.logsumexp(-1).sum().backward()
        optimizer.step()
    elif change == "load_state_dict":
        model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()})
    else:
        for parameter in model.parameters():
            parameter.data = 2 * parameter.data
    after = stepper.next_logits(*texts.observation)
    assert (after - before).abs().max() > 1e-2
    torch.testing.assert_close(after, full_forward(model, *texts.observation), atol=1e-4, rtol=1e-5)


def test_reset_reads_changes_made_behind_the_back(model):
    stepper, texts = Stepper(model), Texts(3)
    stepper.next_logits(*texts.observation)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    stepper.reset()
    torch.testing.assert_close(
        stepper.next_logits(*texts.observation), full_forward(model, *texts.observation), atol=1e-4, rtol=1e-5
    )


def test_the_number_of_rows_may_change(model):
    stepper, texts = Stepper(model), Texts(5)
    for count in (5, 2, 1, 4):
        tokens, mask = texts.observation
        logits = stepper.next_logits(tokens[:count], mask[:count])
        torch.testing.assert_close(logits, full_forward(model, tokens[:count], mask[:count]), atol=1e-4, rtol=0)
        for row in range(5):
            texts.grow(row)


def test_memory_is_bounded_by_the_observation(model):
    stepper, texts = Stepper(model), Texts(4)
    stepper.next_logits(*texts.observation)
    layers = stepper._cache.layers
    addresses = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in layers]
    for step in range(60):
        for row in range(4):
            if texts.length[row] == COLUMNS - PROMPT_COLUMNS or (step + row) % 5 == 0:
                texts.reset(row)
            else:
                texts.grow(row)
        stepper.next_logits(*texts.observation)
    assert [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in layers] == addresses
    assert all(layer.keys.shape[0] == 4 and layer.keys.shape[2] == COLUMNS for layer in layers)


def test_hidden_is_what_the_head_reads(model):
    stepper, texts = Stepper(model), Texts(3)
    texts.grow(1)
    tokens, mask = texts.observation
    logits, hidden = stepper.next_logits(tokens, mask, with_hidden=True)
    torch.testing.assert_close(model.get_output_embeddings()(hidden), logits)
    states = model(
        tokens, attention_mask=mask.long(), position_ids=position_ids(mask), output_hidden_states=True
    ).hidden_states[-1]
    torch.testing.assert_close(hidden[1], states[1, PROMPT_COLUMNS], atol=1e-4, rtol=1e-4)
    assert not logits.requires_grad


def test_an_interrupted_read_leaves_nothing_that_counts_as_read(model):
    """Row 0 is reset, the read of its new prompt breaks off, and the old text goes on."""
    stepper, texts = Stepper(model), Texts(2)
    stepper.next_logits(*texts.observation)
    old, old_mask = texts.observation
    texts.reset(0)
    handle = model.get_output_embeddings().register_forward_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stepper.next_logits(*texts.observation)
    handle.remove()
    old[:, PROMPT_COLUMNS], old_mask[:, PROMPT_COLUMNS] = 11, 1
    logits = stepper.next_logits(old, old_mask)
    torch.testing.assert_close(logits, full_forward(model, old, old_mask), atol=1e-4, rtol=0)


def test_one_token_prompts_and_gradient_checkpointing(model):
    model.gradient_checkpointing_enable()
    stepper = Stepper(model)
    tokens = torch.tensor([[0, 5, 0, 0], [0, 9, 0, 0]])
    mask = torch.tensor([[0, 1, 0, 0], [0, 1, 0, 0]])
    for column in (2, 3):
        torch.testing.assert_close(
            stepper.next_logits(tokens, mask), full_forward(model, tokens, mask), atol=1e-4, rtol=0
        )
        tokens[:, column], mask[:, column] = 11, 1
    torch.testing.assert_close(stepper.next_logits(tokens, mask), full_forward(model, tokens, mask), atol=1e-4, rtol=0)
