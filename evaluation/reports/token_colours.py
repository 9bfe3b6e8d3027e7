"""One response token by token, coloured by reward: each token's cost of leaving the reference, and the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..policies.responses import Responses
from .document import escaped

BLUE, RED = (31, 111, 178), (205, 72, 52)


@dataclass(frozen=True)
class TokenReward:
    """A token of a response.

    text: the token; empty for EOS.
    kl_reward: -β (log π - log π_ref).
    score: the score, only on the last token.
    """

    text: str
    kl_reward: float
    score: float = 0.0

    @property
    def reward(self) -> float:
        """r_t = -β (log π(y_t) - log π_ref(y_t)) + [t = T] score."""
        return self.kl_reward + self.score


def token_rewards(
    responses: Responses, row: int, decode: Callable[[list[int]], str], kl_coef: float, score: float
) -> list[TokenReward]:
    """The rewards of response ``row``; they sum to score - β · KL.

    Args:
        responses: with log-probabilities of a reference.
        row: which response.
        decode: token ids to text, without special tokens.
        kl_coef: β.
        score: everything paid at the end besides KL.
    """
    if responses.ref_log_probs is None:
        raise ValueError("rewards of tokens need the log-probabilities of a reference")
    real = responses.mask[row]
    log_ratio = (responses.log_probs[row] - responses.ref_log_probs[row])[real].tolist()
    texts = [decode([token]) for token in responses.tokens[row][real].tolist()]
    last = len(texts) - 1
    pairs = enumerate(zip(texts, log_ratio, strict=True))
    return [TokenReward(text, -kl_coef * ratio, score if t == last else 0.0) for t, (text, ratio) in pairs]


def colours(rewards: Sequence[float]) -> list[str]:
    """A CSS colour per reward: blue above 0, red below, deeper for larger; full depth at the 90th percentile.

    The scale depends on the given rewards, so that the many small ones stay visible next to the one large score.
    """
    sizes = np.abs(np.asarray(rewards, dtype=np.float64))
    scale = float(np.quantile(sizes, 0.9)) if len(sizes) and sizes.any() else 1.0
    result = []
    for reward in rewards:
        red, green, blue = BLUE if reward > 0 else RED
        depth = min(1.0, abs(reward) / scale) if scale > 0 else float(reward != 0)
        result.append(f"rgba({red},{green},{blue},{0.7 * depth:.2f})")
    return result


def to_html(tokens: Sequence[TokenReward]) -> str:
    """The response as a line of coloured tokens; hovering over one shows its reward. The text is escaped."""
    spans = []
    for token, colour in zip(tokens, colours([token.reward for token in tokens]), strict=True):
        text = escaped(token.text) or '<span class="end">end</span>'
        spans.append(f'<span class="token" style="background:{colour}" title="{_explain(token)}">{text}</span>')
    return f'<p class="tokens">{"".join(spans)}</p>'


def to_markdown(tokens: Sequence[TokenReward]) -> str:
    """The same without colours: each token with its reward below it."""
    texts = [repr(token.text)[1:-1].replace(" ", "·") or "<end>" for token in tokens]
    paid = [f"{token.reward:+.2f}" for token in tokens]
    widths = [max(len(text), len(value)) for text, value in zip(texts, paid, strict=True)]
    lines: list[str] = []
    for start in range(0, len(tokens), 12):
        group = range(start, min(start + 12, len(tokens)))
        lines += [" ".join(texts[i].ljust(widths[i]) for i in group), " ".join(paid[i].ljust(widths[i]) for i in group)]
    return "```\n" + "\n".join(line.replace("`", "'").rstrip() for line in lines) + "\n```"


def _explain(token: TokenReward) -> str:
    paid = f"reward {token.reward:+.3f}"
    return f"{paid} = KL part {token.kl_reward:+.3f} + score {token.score:+.3f}" if token.score else paid
