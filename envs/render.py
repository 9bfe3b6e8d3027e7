"""An episode as text for a terminal: prompt, response so far, and the reward of each token."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from .episode import Episode


def render_episode(episode: Episode | None, tokenizer: PreTrainedTokenizerBase) -> str:
    """Show an episode; log π is shown only if a policy is attached. Special tokens are shown by name."""
    if episode is None:
        return "(no episode yet)"
    with_policy = len(episode.log_probs) == len(episode.response) > 0
    lines = [
        episode.prompt.text,
        f"> {tokenizer.decode(episode.response)}",
        "",
        f"{'token':<16}{'log π':>10}{'log π_ref':>11}{'reward':>10}",
    ]
    for t, token in enumerate(episode.response):
        log_prob = f"{episode.log_probs[t]:.3f}" if with_policy else "-"
        text = repr(tokenizer.decode([token]))
        lines.append(f"{text:<16}{log_prob:>10}{episode.ref_log_probs[t]:>11.3f}{episode.rewards[t]:>10.3f}")
    if episode.finish_reason:
        lines.append(f"ended by {episode.finish_reason}, paid {sum(episode.rewards):.3f} in all")
    return "\n".join(lines)
