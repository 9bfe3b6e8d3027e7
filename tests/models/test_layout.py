"""Slots: every token has one, little is padding, and values come back to where they belong."""

import pytest
import torch

from prefgym.models.layout import CALL_COST, every_slot, lay_out, slots_of


def test_texts_of_a_prompt_share_a_row_by_hand():
    (chunk,) = lay_out(torch.tensor([1, 0, 1]), torch.tensor([2, 4, 1]))
    assert chunk.prompts.tolist() == [0, 1]
    assert chunk.text.tolist() == [[1, 1, 1, 1], [0, 0, 2, -1]]
    assert chunk.column.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0]]
    assert not chunk.single


def test_a_row_becomes_longer_than_the_longest_text_only_where_looking_is_cheap(monkeypatch):
    """Eight texts of 6 slots and one of 10: 9 x 10 slots in rows of 10, 58 in one row, which look at 58 each."""
    monkeypatch.setitem(CALL_COST, "cpu", 1000.0)
    lengths = torch.tensor([10] + [6] * 8)
    (long,) = lay_out(torch.zeros(9, dtype=torch.int64), lengths, pair_cost=0.0)
    assert long.text.shape == (1, 58)
    (short,) = lay_out(torch.zeros(9, dtype=torch.int64), lengths, pair_cost=1.0)
    assert short.text.shape == (9, 10)


def test_texts_may_have_rows_of_their_own():
    (chunk,) = lay_out(torch.tensor([1, 0, 1]), torch.tensor([2, 1, 3]), together=False)
    assert chunk.prompts.tolist() == [0, 1, 1]
    assert chunk.text.tolist() == [[1, -1, -1], [0, 0, -1], [2, 2, 2]]
    assert chunk.single


def test_rows_are_read_in_chunks_where_that_saves_more_than_it_costs(monkeypatch):
    """Rows of 1, 1, 9 and 10 tokens: two chunks hold 2 + 20 slots, one 40, four 21."""
    lengths = torch.tensor([9, 1, 10, 1])
    for cost, widths in ((0, [1, 9, 10]), (2, [1, 10]), (17, [1, 10]), (19, [10])):
        monkeypatch.setitem(CALL_COST, "cpu", cost)
        chunks = lay_out(torch.arange(4), lengths)
        assert [chunk.text.shape[1] for chunk in chunks] == widths
        assert sorted(row for chunk in chunks for row in chunk.prompts.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("cost", [0, 5, 1000])
@pytest.mark.parametrize("together", [True, False])
def test_every_token_has_one_slot_and_comes_back(monkeypatch, cost, together):
    monkeypatch.setitem(CALL_COST, "cpu", cost)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (20,), generator=generator)
    mask = torch.arange(9) < lengths[:, None]
    prompt_of = torch.randint(0, 6, (20,), generator=generator)
    chunks = lay_out(prompt_of, lengths, together=together)
    slots = slots_of(chunks, mask)
    assert int(slots.real.sum()) == int(lengths.sum())
    values = torch.randn(20, 9, 3, generator=generator, requires_grad=True)
    back = slots.spread(slots.gather(values))
    assert torch.equal(back, values.masked_fill(~mask[..., None], 0))
    back.sum().backward()
    assert torch.equal(values.grad, mask[..., None].expand(-1, -1, 3).float())
    for chunk in chunks:
        for row, prompt in enumerate(chunk.prompts.tolist()):
            texts = chunk.text[row][chunk.text[row] >= 0]
            assert (prompt_of[texts] == prompt).all()


def test_without_packing_a_slot_is_a_place():
    mask = torch.tensor([[True, False], [True, True]])
    slots = every_slot(mask)
    assert slots.spread(torch.arange(1.0, 5.0)).tolist() == [[1, 0], [3, 4]]
    assert slots.gather(torch.tensor([[5, 6], [7, 8]])).tolist() == [5, 6, 7, 8]
