from dataclasses import replace

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.cache import cached_forward
from prefgym.models.distribution import Decoding
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.generation import generate
from prefgym.models.grouped_reader import CROWDED
from prefgym.models.padding import position_ids
from prefgym.models.paths import paths_of, reading_by

VOCAB, EOS, PAD = 40, 3, 0


def write(model, prompts, seed=0, **options):
    tokens, mask = prompts
    options = {"max_new_tokens": 12, "eos_token_id": EOS, "pad_token_id": PAD, "vocab_size": VOCAB} | options
    return generate(model, tokens, mask, generator=torch.Generator().manual_seed(seed), **options)


def join(prompts, generation, samples=1):
    """The full batch a generation stands for: tokens and mask (N, P + R)."""
    tokens, mask = (part.repeat_interleave(samples, dim=0) for part in prompts)
    return torch.cat([tokens, generation.tokens], 1), torch.cat([mask, generation.mask], 1)


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(temperature=0.7), Decoding(top_k=8), Decoding(greedy=True)])
def test_log_probs_kept_from_decoding_are_those_of_a_full_forward(any_model, prompts, decoding):
    generation = write(any_model, prompts, samples_per_prompt=3, decoding=decoding)
    tokens, mask = join(prompts, generation, 3)
    expected = token_log_probs(any_model, tokens, mask, generation.tokens.shape[1], VOCAB, decoding)
    torch.testing.assert_close(generation.log_probs, expected, atol=1e-5, rtol=0)


def test_a_greedy_response_comes_along_and_the_samples_stay_as_they_were(any_model, prompts):
    both = write(any_model, prompts, samples_per_prompt=3, also_greedy=True, with_hidden=True)
    greedy = torch.arange(len(both.tokens)) % 4 == 3
    for rows, options in ((~greedy, {"samples_per_prompt": 3}), (greedy, {"decoding": Decoding(greedy=True)})):
        alone = write(any_model, prompts, with_hidden=True, **options)
        width = alone.tokens.shape[1]
        assert torch.equal(both.tokens[rows][:, :width], alone.tokens)
        assert torch.equal(both.mask[rows][:, :width], alone.mask)
        assert not both.mask[rows][:, width:].any()
        torch.testing.assert_close(both.log_probs[rows][:, :width], alone.log_probs, atol=1e-5, rtol=0)
        torch.testing.assert_close(both.hidden[rows][:, :width], alone.hidden, atol=1e-4, rtol=1e-4)


def test_hidden_states_are_those_each_token_was_predicted_from(model, prompts):
    generation = write(model, prompts, samples_per_prompt=2, with_hidden=True)
    tokens, mask = join(prompts, generation, 2)
    _, expected = response_logits(model, tokens, mask, generation.tokens.shape[1], with_hidden=True)
    torch.testing.assert_close(generation.hidden[generation.mask], expected[generation.mask], atol=1e-4, rtol=1e-4)
    assert (generation.hidden[~generation.mask] == 0).all()
    assert write(model, prompts).hidden is None


def test_every_response_ends_at_eos_or_at_the_budget(model, prompts):
    generation = write(model, prompts, samples_per_prompt=40)
    lengths = generation.lengths
    assert len(set(lengths.tolist())) > 1, "the case must hold rows that end early"
    for tokens, mask, log_probs, length in zip(
        generation.tokens, generation.mask, generation.log_probs, lengths.tolist(), strict=True
    ):
        assert mask.tolist() == [True] * length + [False] * (len(mask) - length)
        assert EOS not in tokens[: length - 1]
        assert tokens[length - 1] == EOS or length == 12
        assert (tokens[length:] == PAD).all()
        assert (log_probs[length:] == 0).all()
        assert (log_probs[:length] < 0).all()


def test_padded_embedding_rows_are_never_drawn(make_model, prompts):
    model = make_model("gpt2")
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    with torch.no_grad():
        model.lm_head.weight[VOCAB:] = 3 * model.lm_head.weight[:8]
    generation = write(model, prompts, samples_per_prompt=40)
    assert generation.tokens.max() < VOCAB


def test_what_a_row_becomes_does_not_depend_on_when_others_end(model, prompts):
    """The same draws with an EOS that is never drawn: the same tokens up to each row's end."""
    generation = write(model, prompts, samples_per_prompt=8)
    endless = write(model, prompts, samples_per_prompt=8, eos_token_id=VOCAB + 1)
    assert (endless.lengths == 12).all()
    assert (generation.lengths < 12).any()
    real, width = generation.mask, generation.tokens.shape[1]
    assert torch.equal(generation.tokens[real], endless.tokens[:, :width][real])
    torch.testing.assert_close(generation.log_probs[real], endless.log_probs[:, :width][real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(greedy=True)])
def test_steps_of_fixed_shape_write_the_same(any_model, prompts, decoding):
    growing = write(any_model, prompts, samples_per_prompt=8, with_hidden=True, decoding=decoding)
    fixed = write(any_model, prompts, samples_per_prompt=8, with_hidden=True, decoding=decoding, static=True)
    assert torch.equal(growing.tokens, fixed.tokens)
    assert torch.equal(growing.mask, fixed.mask)
    torch.testing.assert_close(growing.log_probs, fixed.log_probs, atol=1e-5, rtol=0)
    torch.testing.assert_close(growing.hidden, fixed.hidden, atol=1e-4, rtol=1e-4)


def test_a_step_of_fixed_shape_has_fixed_shapes(make_model, prompts, monkeypatch):
    """What a graph needs: the model is called with the same shapes at every step; a sliding window has none such."""
    shapes = []
    monkeypatch.setattr(
        "prefgym.models.static_reader.cached_forward",
        lambda model, tokens, mask, *rest: (
            shapes.append((tuple(tokens.shape), tuple(mask.shape))),
            cached_forward(model, tokens, mask, *rest),
        )[1],
    )
    write(make_model("llama"), prompts, samples_per_prompt=2, static=True)
    assert set(shapes) == {((10, 1), (10, 1, 1, shapes[0][1][-1]))}
    assert paths_of(make_model("llama"), 20).static
    assert not paths_of(make_model("mistral"), 20).static


@pytest.mark.parametrize("look_every", [2, 5, 100])
def test_looking_less_often_at_which_rows_have_ended_changes_nothing(model, prompts, look_every):
    always = write(model, prompts, samples_per_prompt=8, with_hidden=True)
    seldom = write(model, prompts, samples_per_prompt=8, with_hidden=True, look_every=look_every)
    assert (always.lengths < 12).any()
    assert torch.equal(seldom.tokens, always.tokens)
    assert torch.equal(seldom.mask, always.mask)
    torch.testing.assert_close(seldom.log_probs, always.log_probs, atol=1e-5, rtol=0)
    assert seldom.hidden is not None
    torch.testing.assert_close(seldom.hidden, always.hidden, atol=1e-5, rtol=0)


def test_a_batch_equals_its_rows_one_by_one(any_model, prompts):
    tokens, mask = prompts
    batch = write(any_model, prompts, decoding=Decoding(greedy=True))
    for row in range(5):
        alone = write(any_model, (tokens[row : row + 1], mask[row : row + 1]), decoding=Decoding(greedy=True))
        length = int(alone.lengths)
        assert batch.lengths[row] == length
        assert torch.equal(batch.tokens[row, :length], alone.tokens[0])
        torch.testing.assert_close(batch.log_probs[row, :length], alone.log_probs[0], atol=1e-4, rtol=0)


def test_greedy_is_the_argmax_of_a_full_forward(model, prompts):
    generation = write(model, prompts, decoding=Decoding(greedy=True))
    tokens, mask = join(prompts, generation)
    logits = response_logits(model, tokens, mask, generation.tokens.shape[1])[..., :VOCAB]
    assert torch.equal(generation.tokens[generation.mask], logits.argmax(-1)[generation.mask])


def test_samples_of_a_prompt_read_it_once_and_differ(model, prompts):
    reads = []
    handle = model.register_forward_pre_hook(
        lambda _module, _arguments, options: reads.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    generation = write(model, prompts, samples_per_prompt=4, max_new_tokens=50)
    handle.remove()
    assert reads[0] == (5, 7), "the column that is padding for all prompts is not read"
    running = [int((generation.lengths > step).sum()) for step in range(1, len(reads))]
    together = sum(count >= CROWDED * 20 for count in running)
    assert reads[1 : together + 1] == [(5, 4)] * together, "while most are written, in the row of their prompt"
    assert reads[together + 1 :] == [(count, 1) for count in running[together:]], "rows that ended leave the batch"
    assert 0 < together < len(running)
    assert len(torch.unique(generation.tokens[:4], dim=0)) > 1


@pytest.mark.parametrize("crowded", [0.0, 0.5, 2.0])
def test_reading_samples_together_changes_nothing(any_model, prompts, monkeypatch, crowded):
    """Together to the end, to the middle, and row by row from the first sample that ends."""
    monkeypatch.setattr("prefgym.models.grouped_reader.CROWDED", crowded)
    found = write(any_model, prompts, samples_per_prompt=6, with_hidden=True)
    with reading_by(any_model, replace(paths_of(any_model, 100), grouped=False)):
        expected = write(any_model, prompts, samples_per_prompt=6, with_hidden=True)
    assert (expected.lengths < 12).any()
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-4, rtol=1e-4)


def test_rows_are_prompt_major(model, prompts):
    greedy = Decoding(greedy=True)
    once, thrice = (write(model, prompts, decoding=greedy, samples_per_prompt=samples) for samples in (1, 3))
    assert torch.equal(once.tokens.repeat_interleave(3, dim=0), thrice.tokens)


def test_the_seed_decides(model, prompts):
    first, again, other = (write(model, prompts, seed=seed, samples_per_prompt=4) for seed in (0, 0, 1))
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.log_probs, again.log_probs)
    assert first.tokens.shape != other.tokens.shape or not torch.equal(first.tokens, other.tokens)


def test_without_a_generator_the_global_seed_decides(model, prompts):
    def run():
        torch.manual_seed(5)
        tokens, mask = prompts
        return generate(model, tokens, mask, max_new_tokens=6, eos_token_id=EOS, pad_token_id=PAD, vocab_size=VOCAB)

    assert torch.equal(run().tokens, run().tokens)


def test_eos_and_padding_ids_in_a_prompt_change_nothing(model, prompts):
    """A prompt that contains EOS is continued; EOS on padding is not read."""
    tokens, mask = prompts
    tokens = tokens.clone()
    tokens[:, 6] = EOS
    reference = write(model, (tokens, mask))
    other_padding = write(model, (tokens.masked_fill(~mask, EOS), mask))
    assert torch.equal(reference.tokens, other_padding.tokens)
    joined, joined_mask = join((tokens, mask), reference)
    expected = token_log_probs(model, joined, joined_mask, reference.tokens.shape[1], VOCAB)
    torch.testing.assert_close(reference.log_probs, expected, atol=1e-5, rtol=0)


def test_pad_equal_to_eos_changes_only_the_filling(model, prompts):
    apart, equal = (write(model, prompts, pad_token_id=pad, samples_per_prompt=8) for pad in (PAD, EOS))
    assert torch.equal(apart.mask, equal.mask)
    assert torch.equal(apart.tokens[apart.mask], equal.tokens[apart.mask])


@pytest.mark.parametrize("mode", [True, False])
def test_mode_and_gradient_checkpointing_change_nothing(model, prompts, mode):
    expected = write(model.eval(), prompts, samples_per_prompt=4)
    model.gradient_checkpointing_enable()
    model.train(mode)
    result = write(model, prompts, samples_per_prompt=4)
    assert torch.equal(result.tokens, expected.tokens)
    assert torch.equal(result.log_probs, expected.log_probs)
    assert all(module.training is mode for module in model.modules())


def test_nothing_is_recorded_for_gradients(model, prompts):
    generation = write(model, prompts, with_hidden=True)
    assert not generation.log_probs.requires_grad
    assert not generation.hidden.requires_grad


def test_budget_of_one_token(model, prompts):
    generation = write(model, prompts, max_new_tokens=1)
    assert generation.tokens.shape == (5, 1)
    assert generation.mask.all()


@pytest.mark.parametrize(("budget", "message"), [(0, "at least 1"), (58, "context of 64")])
def test_impossible_budgets_are_refused(model, prompts, budget, message):
    with pytest.raises(InputError, match=message):
        write(model, prompts, max_new_tokens=budget)


def test_the_whole_context_can_be_used(make_model, prompts):
    """Position ids come from the mask: the longest prompt has 7 tokens, so 57 more fit into 64."""
    generation = write(make_model("gpt2"), prompts, max_new_tokens=57, eos_token_id=VOCAB + 1)
    assert generation.tokens.shape == (5, 57)
    assert position_ids(join(prompts, generation)[1]).max() == 63
