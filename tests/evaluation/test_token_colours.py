"""Rewards token by token."""

import html
import re

import pytest
import torch

from prefgym.evaluation.policies.decode import decode
from prefgym.evaluation.policies.responses import Responses
from prefgym.evaluation.reports.token_colours import TokenReward, colours, to_html, to_markdown, token_rewards


@pytest.fixture
def responses() -> Responses:
    """Two responses: tokens 5 6 EOS(0), and 7 with padding behind it."""
    return Responses(
        texts=["ab", "c"],
        prompts=[],
        tokens=torch.tensor([[5, 6, 0], [7, 1, 1]]),
        mask=torch.tensor([[True, True, True], [True, False, False]]),
        ended=torch.tensor([True, False]).numpy(),
        log_probs=torch.tensor([[-1.0, -0.5, -2.0], [-3.0, 9.0, 9.0]]),
        ref_log_probs=torch.tensor([[-2.0, -0.5, -1.0], [-1.0, 8.0, 7.0]]),
    )


def letters(ids):
    return "".join({5: "a", 6: "b", 7: "<c>"}.get(i, "") for i in ids)


def test_rewards_by_hand(responses):
    """-β (log π - log π_ref) with β = 0.1, and the score 2 on EOS."""
    tokens = token_rewards(responses, 0, letters, 0.1, 2.0)
    assert [token.text for token in tokens] == ["a", "b", ""]
    assert [token.reward for token in tokens] == pytest.approx([-0.1, 0.0, 0.1 + 2.0])


def test_padding_pays_nothing_and_the_last_real_token_carries_the_score(responses):
    (token,) = token_rewards(responses, 1, letters, 0.5, -1.0)
    assert token.reward == pytest.approx(-0.5 * (-3 - -1) - 1)


def test_rewards_sum_to_score_minus_kl(start, trained, prompts, settings):
    written = decode(trained, prompts, settings, reference=start)
    for row in range(len(prompts)):
        tokens = token_rewards(written, row, start.decode, 0.05, 1.5)
        assert sum(token.reward for token in tokens) == pytest.approx(1.5 - 0.05 * written.kl[row], abs=1e-6)
        assert "".join(token.text for token in tokens).isascii() or "\ufffd" in "".join(t.text for t in tokens)


def test_a_reference_is_needed(start, prompts, settings):
    with pytest.raises(ValueError, match="reference"):
        token_rewards(decode(start, prompts, settings), 0, start.decode, 0.05, 1.0)


def test_colours_tell_sign_and_size():
    shown = colours([0.1, -0.1, 0.05, 0.0, 5.0])
    alpha = [float(re.search(r"([\d.]+)\)$", colour).group(1)) for colour in shown]
    assert shown[0].startswith("rgba(31,111,178")
    assert shown[1].startswith("rgba(205,72,52")
    assert alpha[4] == 0.7
    assert alpha[0] > alpha[2] > alpha[3] == 0
    assert colours([]) == []
    assert colours([0.0, 0.0]) == ["rgba(205,72,52,0.00)"] * 2


def test_html_is_escaped_and_shows_the_end():
    page = to_html([TokenReward("<script>", 0.1), TokenReward("", -0.1, 2.0)])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert ">end<" in page
    assert "reward +1.900 = KL part -0.100 + score +2.000" in html.unescape(page)


def test_markdown_cannot_be_broken_out_of():
    text = to_markdown([TokenReward("```\n", 0.1)] * 30)
    assert text.count("```") == 2
    assert text.count("+0.10") == 30
