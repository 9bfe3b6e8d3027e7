"""Decoding: order, seeds, ends, and the KL against a full forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prefgym.errors import InputError
from prefgym.evaluation.policies import decode as module
from prefgym.evaluation.policies.decode import best_of_n, choose_temperature, decode, decode_both, generate, prepare
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.models.distribution import Decoding
from prefgym.models.language_model import LanguageModel

GREEDY = Decoding(greedy=True)


@torch.no_grad()
def own_log_probs(lm: LanguageModel, prompt: list[int], response: list[int], temperature: float = 1.0) -> float:
    """Σ log π of one response by a plain forward pass: no padding, no cache, no batch."""
    logits = lm.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1, : lm.vocab_size]
    return float(torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(response)[:, None]).sum())


def test_responses_come_in_the_order_of_their_prompts(start, prompts, settings):
    together = decode(start, prompts, settings, GREEDY)
    alone = [decode(start, [row], settings, GREEDY).texts[0] for row in prompts]
    assert together.texts == alone
    assert [prompt.row["prompt"] for prompt in together.prompts] == [row["prompt"] for row in prompts]


def test_the_batch_size_changes_no_greedy_response(start, prompts, settings):
    assert (
        decode(start, prompts, settings, GREEDY).texts
        == decode(start, prompts, replace(settings, batch_size=64), GREEDY).texts
    )


def test_the_seed_decides(start, prompts, settings):
    first = decode(start, prompts, settings, seed=1)
    assert torch.equal(first.tokens, decode(start, prompts, settings, seed=1).tokens)
    assert not torch.equal(first.tokens, decode(start, prompts, settings, seed=2).tokens)


def test_masks_ends_and_lengths_agree(start, prompts, settings):
    responses = decode(start, prompts * 8, replace(settings, max_new_tokens=40), seed=0)
    assert responses.ended.any(), "no response ended, so this shows nothing"
    assert not responses.ended.all(), "every response ended, so this shows nothing"
    for tokens, mask, ended, length in zip(
        responses.tokens, responses.mask, responses.ended, responses.lengths, strict=True
    ):
        written = tokens[mask].tolist()
        assert mask[: len(written)].all()  # no gap
        assert (start.eos_token_id in written) == ended
        assert length == len(written) - ended
        assert ended or len(written) == 40
        assert (tokens[~mask] == start.pad_token_id).all()


def test_kl_is_that_of_a_plain_forward_pass(start, trained, prompts, settings):
    responses = decode(trained, prompts, settings, seed=3, reference=start)
    assert responses.kl is not None
    for i, prompt in enumerate(responses.prompts):
        written = responses.tokens[i][responses.mask[i]].tolist()
        expected = own_log_probs(trained, prompt.ids, written) - own_log_probs(start, prompt.ids, written)
        assert responses.kl[i] == pytest.approx(expected, abs=1e-3)
    assert np.abs(responses.kl).max() > 0.1


def test_kl_is_measured_at_the_temperature_of_training(start, trained, prompts, settings):
    responses = decode(trained, prompts, replace(settings, temperature=0.5), seed=3, reference=start)
    assert responses.kl is not None
    written = responses.tokens[0][responses.mask[0]].tolist()
    ids = responses.prompts[0].ids
    expected = own_log_probs(trained, ids, written, 0.5) - own_log_probs(start, ids, written, 0.5)
    assert responses.kl[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("decoding", [None, GREEDY])
def test_a_policy_has_no_kl_from_itself(start, prompts, settings, decoding):
    kl = decode(start, prompts, settings, decoding, reference=start).kl
    assert kl is not None
    assert (kl == 0).all()


def test_a_lower_temperature_costs_kl(start, prompts, settings):
    kl = decode(start, prompts * 8, settings, Decoding(temperature=0.3), reference=start).kl
    assert kl is not None
    assert kl.mean() > 0.5


def test_a_sampled_and_a_greedy_response_are_written_in_one_reading(start, trained, prompts, settings, monkeypatch):
    many = prompts * 4
    apart = [decode(trained, many, settings, way, seed=3, reference=start) for way in (None, GREEDY)]
    read = []
    monkeypatch.setattr(
        module,
        "generate",
        lambda model, ids, *rest, **more: (read.append(len(ids)), generate(model, ids, *rest, **more))[1],
    )
    together = decode_both(trained, many, settings, seed=3, reference=start)
    assert sum(read) == len(many)
    assert apart[0].texts != apart[1].texts
    for one, other in zip(apart, together, strict=True):
        assert one.texts == other.texts
        assert torch.equal(one.tokens, other.tokens)
        assert (one.ended == other.ended).all()
        np.testing.assert_allclose(one.kl, other.kl, atol=1e-3)


def test_a_policy_equal_to_the_reference_is_not_read_again(start, prompts, settings, monkeypatch):
    monkeypatch.setattr(module, "_log_probs", lambda *_: pytest.fail("read again"))
    for reference in (start, start.view(), start.copy()):
        for responses in decode_both(start, prompts, settings, reference=reference):
            assert (responses.kl == 0).all()


def test_without_a_reference_there_is_no_kl(start, prompts, settings):
    assert decode(start, prompts, settings).kl is None


def test_best_of_n_keeps_the_best_of_its_samples(start, prompts, settings):
    seen: list[tuple[list[str], list[str]]] = []

    def shortest(prompts, texts):
        seen.append(([prompt.row["prompt"] for prompt in prompts], list(texts)))
        return np.array([-float(len(text)) for text in texts])

    best = best_of_n(start, prompts, shortest, 4, settings, seed=5)
    (asked, texts), *more = seen
    assert not more
    assert asked == [row["prompt"] for row in prompts for _ in range(4)]
    assert best.texts == [min(texts[4 * i : 4 * i + 4], key=len) for i in range(len(prompts))]
    assert [start.decode(row[real]) for row, real in zip(best.tokens, best.mask, strict=True)] == best.texts


def test_the_temperature_with_the_best_mean_score_is_chosen(start, prompts, settings):
    asked = iter([[0.0, 1.0], [3.0, 1.0], [2.0, 1.0]])

    best, means = choose_temperature(
        start, prompts[:2], lambda prompts, texts: np.array(next(asked)), settings, temperatures=(0.5, 0.7, 1.0)
    )
    assert best == 0.7
    assert means == {0.5: 0.5, 0.7: 2.0, 1.0: 1.5}


def test_long_prompts_are_cut_and_counted(start, prompts, settings):
    prepared, cut = prepare(start, prompts, replace(settings, max_prompt_tokens=24))
    assert cut == sum(len(start.encode(settings.template.render(row["prompt"]))) > 24 for row in prompts) > 0
    assert all(len(prompt.ids) <= 24 for prompt in prepared)
    assert all(prompt.text.endswith("TL;DR:") for prompt in prepared)


def test_an_empty_prompt_is_refused(start):
    with pytest.raises(InputError, match="Empty prompt"):
        decode(start, [{"prompt": " "}], DecodeSettings())
