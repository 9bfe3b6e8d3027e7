import torch

from prefgym.models.cache import RowCache, last_columns


def layer_of(cache, num_rows, num_columns):
    """A cache of one layer, one head and head size 1 whose entry (row, column) is 10 * row + column."""
    cache.begin(torch.arange(num_rows).view(-1, 1), 0, num_columns)
    states = (10 * torch.arange(num_rows).view(-1, 1) + torch.arange(num_columns)).float()
    cache.update(states[:, None, :, None], states[:, None, :, None], 0)
    return cache.layers[0]


def test_rows_write_at_columns_of_their_own():
    cache = RowCache(3, 5)
    layer = layer_of(cache, 3, 2)
    cache.extend(torch.tensor([2, 4, 1]), slice(1, 5))
    keys, values = cache.update(torch.full((3, 1, 1, 1), 99.0), torch.full((3, 1, 1, 1), 77.0), 0)
    assert layer.keys[:, 0, :, 0].tolist() == [[0, 1, 99, 0, 0], [10, 11, 0, 0, 99], [20, 99, 0, 0, 0]]
    assert keys[:, 0, :, 0].tolist() == [[1, 99, 0, 0], [11, 0, 0, 99], [99, 0, 0, 0]]
    assert values[1, 0, -1, 0] == 77
    assert cache.get_mask_sizes(1) == (4, 0)
    assert cache.get_seq_length() == 3


def test_a_text_is_copied_to_all_its_rows():
    cache = RowCache(4, 3)
    cache.begin(torch.arange(4).view(2, 2), 1, 3)
    states = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, None, :, None]
    attended, _ = cache.update(states, states, 0)
    assert attended is states
    assert cache.layers[0].keys[:, 0, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [0, 3, 4], [0, 3, 4]]


def test_dropping_rows_moves_the_last_into_the_holes():
    cache = RowCache(6, 2)
    layer = layer_of(cache, 6, 2)
    order = cache.keep(torch.tensor([True, False, True, False, True, True]))
    assert sorted(order.tolist()) == [0, 2, 4, 5]
    assert order[0] == 0
    assert order[2] == 2
    assert layer.keys[:4, 0, 0, 0].tolist() == [10.0 * row for row in order]
    assert layer.values[:4, 0, 1, 0].tolist() == [10.0 * row + 1 for row in order]
    again = cache.keep(torch.tensor([False, True, True, False]))
    assert sorted(order[again].tolist()) == sorted(order[1:3].tolist())
    assert layer.keys[:2, 0, 0, 0].tolist() == [10.0 * row for row in order[again]]


def test_dropping_from_the_end_copies_nothing():
    cache = RowCache(3, 2)
    layer = layer_of(cache, 3, 2)
    before = layer.keys.clone()
    assert cache.keep(torch.tensor([True, True, False])).tolist() == [0, 1]
    assert torch.equal(layer.keys, before)


def test_a_model_gets_a_mask_of_whole_numbers_as_from_a_tokenizer(make_model, prompts):
    model, given = make_model("gpt2"), []
    model.register_forward_pre_hook(lambda module, args, named: given.append(named["attention_mask"]), with_kwargs=True)
    tokens, mask = prompts
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits, hidden = last_columns(model, tokens, mask, positions, None, 2)
    assert (logits.shape[:2], hidden.shape[:2]) == ((5, 2), (5, 2))
    assert mask.dtype == torch.bool
    assert given[0].dtype == torch.int64
    assert torch.equal(given[0], mask.long())
