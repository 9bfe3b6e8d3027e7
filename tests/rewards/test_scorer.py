"""Reading texts for their score."""

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from prefgym.rewards.scorer import Scorer


def test_a_prompt_that_texts_share_is_read_once_with_the_same_score():
    """Three texts of a prompt of eight tokens and two more: 30 tokens, or 8 and a few for each text."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=1, initializer_range=0.3,
    )  # fmt: skip
    scorer, read = Scorer(LlamaForSequenceClassification(config).eval()), []
    scorer.model.get_input_embeddings().register_forward_pre_hook(lambda module, args: read.append(args[0].numel()))
    tokens = torch.cat([torch.arange(8).expand(3, 8), torch.tensor([[9, 10], [11, 12], [13, 14]])], 1)
    plain = scorer(tokens, torch.ones_like(tokens))
    assert sum(read) == 30
    read.clear()
    shared = scorer(
        tokens, torch.ones_like(tokens), prompt_of=torch.zeros(3).long(), prompt_lengths=torch.tensor([8] * 3)
    )
    assert sum(read) <= 8 + 3 * 3
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=0)
    read.clear()
    scorer(tokens, torch.ones_like(tokens), prompt_lengths=torch.tensor([8] * 3))
    assert sum(read) == 30
