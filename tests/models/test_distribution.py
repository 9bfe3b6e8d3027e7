import math

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.distribution import Decoding, draw, log_distribution, restrict, sample

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def probabilities(decoding, logits=LOGITS):
    return log_distribution(logits, logits.shape[-1], decoding).exp()[0].tolist()


def test_plain_distribution_is_the_softmax():
    assert probabilities(Decoding()) == pytest.approx([0.5, 0.3, 0.15, 0.05])


def test_temperature_by_hand():
    """At temperature 1/2 probabilities are squared and normalised: 0.25, 0.09, 0.0225, 0.0025 over 0.365."""
    assert probabilities(Decoding(temperature=0.5)) == pytest.approx(
        [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]
    )


def test_top_k_by_hand():
    assert probabilities(Decoding(top_k=2)) == pytest.approx([0.625, 0.375, 0, 0])
    assert probabilities(Decoding(top_k=9)) == pytest.approx([0.5, 0.3, 0.15, 0.05])


def test_restricted_by_hand():
    """Of 0.5, 0.3, 0.15, 0.05 the second and the last are left: 0.3 and 0.05 over 0.35."""
    logits = LOGITS.clone().requires_grad_(True)
    restricted = restrict(log_distribution(logits, 4), torch.tensor([[False, True, False, True]]))
    assert restricted.exp()[0].tolist() == pytest.approx([0, 6 / 7, 0, 1 / 7])
    restricted[0, 1].backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0, 1 / 7, 0, -1 / 7], abs=1e-6), "of the restricted softmax"


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.4, [1, 0, 0, 0]), (0.6, [0.625, 0.375, 0, 0]), (0.9, [10 / 19, 6 / 19, 3 / 19, 0]), (1e-9, [1, 0, 0, 0])],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, expected):
    assert probabilities(Decoding(top_p=top_p)) == pytest.approx(expected)


def test_top_p_that_is_reached_exactly_needs_no_further_token():
    for p, kept in ((0.25, 1), (0.5, 2), (0.75, 3)):
        assert sum(x > 0 for x in probabilities(Decoding(top_p=p), torch.zeros(1, 4))) == kept


def test_top_p_does_not_need_sorted_logits():
    shuffled = LOGITS[:, [2, 0, 3, 1]]
    assert probabilities(Decoding(top_p=0.6), shuffled) == pytest.approx([0, 0.625, 0, 0.375])


def test_padded_rows_are_cut_before_the_softmax():
    padded = torch.cat([LOGITS, torch.full((1, 3), 100.0)], dim=-1)
    for decoding in (Decoding(), Decoding(temperature=0.7), Decoding(top_k=2), Decoding(top_p=0.6)):
        assert torch.equal(log_distribution(padded, 4, decoding), log_distribution(LOGITS, 4, decoding))


def test_half_precision_logits_give_an_fp32_distribution():
    result = log_distribution(LOGITS.bfloat16(), 4)
    assert result.dtype == torch.float32
    assert result.exp().sum().item() == pytest.approx(1.0, abs=1e-6)


def test_excluded_tokens_get_no_gradient_and_no_nan():
    logits = LOGITS.clone().requires_grad_()
    log_distribution(logits, 4, Decoding(top_k=2))[0, 0].backward()
    assert logits.grad[0].tolist() == pytest.approx([0.375, -0.375, 0, 0])


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
    ],
)
def test_impossible_decoding_is_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Decoding(**options)


def test_sampling_inverts_the_cumulative_distribution():
    uniforms = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81, 0.949, 0.951, 1 - 2**-24])
    assert sample(LOGITS.expand(8, 4), uniforms).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("uniform", [0.0, 1e-45, 0.5, 1 - 2**-24, 1.0])
@pytest.mark.parametrize("allowed", [[0], [7], [3], [0, 7], [2, 5]])
def test_impossible_tokens_are_never_drawn(uniform, allowed):
    log_probs = torch.full((1, 8), -torch.inf)
    log_probs[0, allowed] = torch.linspace(-3, 0, len(allowed))
    assert sample(log_probs, torch.tensor([uniform])).item() in allowed


def test_a_uniform_of_zero_draws_the_first_possible_token():
    log_probs = torch.log(torch.tensor([[0.0, 0.2, 0.0, 0.8]]))
    assert sample(log_probs, torch.tensor([0.0])).item() == 1


def test_impossible_tokens_are_never_drawn_from_a_large_vocabulary():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(200, 50_000, generator=generator)
    logits[:, 30_000:] = -torch.inf  # rounding at the end of the cumulative sum must not reach these
    log_probs = log_distribution(logits, 50_000)
    tokens = sample(log_probs, torch.full((200,), 1 - 2**-24))
    assert log_probs.gather(-1, tokens.unsqueeze(-1)).isfinite().all()


def test_samples_follow_the_distribution():
    """Chi-square over four tokens; 16.27 is the 0.1 % point at 3 degrees of freedom."""
    count = 20_000
    uniforms = torch.rand(count, generator=torch.Generator().manual_seed(0))
    observed = sample(LOGITS.expand(count, 4), uniforms).bincount(minlength=4)
    expected = count * LOGITS[0].exp()
    assert ((observed - expected) ** 2 / expected).sum() < 16.27


def test_greedy_changes_the_draw_and_not_the_distribution():
    greedy = Decoding(greedy=True)
    assert torch.equal(log_distribution(LOGITS, 4, greedy), log_distribution(LOGITS, 4))
    assert draw(LOGITS, torch.tensor([0.99]), greedy).item() == 0
    assert draw(LOGITS, torch.tensor([0.99]), Decoding()).item() == 3
