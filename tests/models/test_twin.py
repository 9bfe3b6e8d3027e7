"""A twin is small, random but the same each time, and keeps what decides how texts are read."""

import copy
from fractions import Fraction
from functools import cache

import pytest
import torch
from accelerate import Accelerator
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    DeepseekV3Config,
    Gemma3TextConfig,
    Gemma4TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MT5Config,
    MT5ForConditionalGeneration,
    OPTConfig,
    Qwen2Config,
    T5Config,
    T5ForConditionalGeneration,
)

from prefgym.models.shrinking import VOCABULARY, Scale, scales, shrink
from prefgym.models.twin import (
    MOST_ROUNDING,
    SPREAD,
    NoTwin,
    _build,
    _rounding,
    _scaled,
    kinds,
    make_twin,
    randomise,
    twin_of,
)

SMOL = LlamaConfig(
    **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152},
    **{"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True, "eos_token_id": [2, 49000]},
)
QWEN2 = Qwen2Config(
    **{"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24},
    **{"num_attention_heads": 14, "num_key_value_heads": 2},
)
OPT = OPTConfig(
    **{"hidden_size": 1024, "word_embed_proj_dim": 512, "ffn_dim": 4096, "num_hidden_layers": 24},
    **{"num_attention_heads": 16, "do_layer_norm_before": False},
)
GEMMA = Gemma3TextConfig(
    **{"hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26, "head_dim": 256},
    **{"num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 512},
)
EVERY = {
    **{"smollm2": SMOL, "gpt2": GPT2Config(), "opt": OPT, "qwen2": QWEN2, "gemma3": GEMMA, "mistral": MistralConfig()},
    "gpt_neo": GPTNeoConfig(),
}


def large(config):
    """A model of full size that holds no weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@cache
def twin_named(name):
    """A twin of what people have, which tests do not change."""
    return make_twin(large(EVERY[name]))


def log_probs(model, ids, **options):
    with torch.no_grad():
        return model(input_ids=ids, **options).logits.log_softmax(-1)


@pytest.mark.parametrize("name", EVERY)
def test_a_twin_of_what_people_have_is_small_and_sure_of_itself(name):
    model = large(EVERY[name])
    before = copy.deepcopy(model.config.to_dict())
    twin = twin_named(name)
    assert model.config.to_dict() == before
    assert kinds(model) <= kinds(twin)
    assert sum(parameter.numel() for parameter in twin.parameters()) < 400_000
    assert not twin.training
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
    found = log_probs(twin, torch.arange(4, 16)[None])
    spread = (found.amax(-1) - found.amin(-1)).mean()
    assert SPREAD[0] <= spread <= SPREAD[1]


@pytest.mark.parametrize("name", EVERY)
def test_positions_and_masks_matter_to_a_twin(name):
    twin = twin_named(name)
    ids = torch.arange(4, 24)[None]
    mask = torch.ones_like(ids)
    plain = log_probs(twin, ids)
    hidden = log_probs(twin, ids, attention_mask=mask.index_fill(1, torch.tensor([3, 4]), 0))
    assert (plain - hidden)[0, -1].abs().max() > 1e-2
    moved = ids[:, [*range(5, 10), *range(5), *range(10, 20)]]  # the same tokens in another order
    assert (plain - log_probs(twin, moved))[0, -1].abs().max() > 1e-3


def test_what_shows_at_length_stays():
    neo = twin_named("gpt_neo")
    assert (neo.config.window_size, neo.config.max_position_embeddings) == (256, 2048)
    gemma = twin_named("gemma3")
    assert gemma.config.sliding_window == 512
    assert set(gemma.config.layer_types) == {"sliding_attention", "full_attention"}
    assert len(gemma.config.layer_types) == gemma.config.num_hidden_layers == 6


def test_relations_between_sizes_survive():
    scale = next(iter(scales(SMOL)))
    small = shrink(SMOL, scale)
    assert small.hidden_size == small.num_attention_heads * small.head_dim
    assert small.num_attention_heads == 3 * small.num_key_value_heads
    latent = DeepseekV3Config()
    small = shrink(latent, next(iter(scales(latent))))
    assert small.qk_head_dim == small.qk_nope_head_dim + small.qk_rope_head_dim
    assert small.num_experts_per_tok * small.n_group <= small.n_routed_experts


@pytest.mark.parametrize(
    ("name", "value"),
    [("index_topk", 2048), ("sliding_window", 512), ("conv_kernel", 40), ("max_position_embeddings", 9999)],
)
def test_some_sizes_are_never_changed(name, value):
    config = LlamaConfig(**{name: value})
    assert getattr(shrink(config, next(iter(scales(config)))), name) == value


def test_lists_are_as_long_as_there_are_layers_and_indices_point_at_them():
    config = LlamaConfig(num_hidden_layers=12, kinds_of_block=list("ababababcccc"), attn_layer_indices=[1, 3, 9])
    small = shrink(config, Scale(4))
    assert small.num_hidden_layers == 4
    assert small.kinds_of_block == list("abab")
    assert small.attn_layer_indices == [1, 3]
    assert small.hidden_size == config.hidden_size


def test_settings_of_single_layers_follow():
    config = Gemma4TextConfig()
    small = shrink(config, Scale(6, Fraction(2), 8))
    sizes = [small.per_layer_config[layer].head_dim for layer in range(6)]
    assert sizes == [config.per_layer_config[layer].head_dim // 8 for layer in range(6)]
    assert len(set(sizes)) == 2
    assert type(config)(**small.to_dict()).per_layer_config[5].head_dim == small.per_layer_config[5].head_dim


def test_special_tokens_move_into_the_small_vocabulary():
    small = shrink(SMOL, Scale(2))
    assert small.vocab_size == VOCABULARY
    assert small.eos_token_id == [2, 49000 % VOCABULARY]


def test_a_seed_gives_the_same_weights_and_leaves_other_random_numbers_alone():
    model = large(SMOL)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = make_twin(model), make_twin(model), make_twin(model, seed=1)
    assert torch.equal(torch.rand(3), expected)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_an_encoder_decoder_has_a_twin():
    twin = twin_of(T5ForConditionalGeneration, T5Config(decoder_start_token_id=0))
    found = log_probs(twin, torch.arange(4, 9)[None], decoder_input_ids=torch.arange(4, 9)[None])
    assert (found.amax(-1) - found.amin(-1)).mean() > 1


class Broken(LlamaForCausalLM):
    """Cannot be built."""

    def __init__(self, config):
        raise ValueError("needs a camera")


def test_how_a_model_runs_now_does_not_change_its_twin():
    config = LlamaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    model = LlamaForCausalLM(config)
    expected = make_twin(model).state_dict()
    model.train().requires_grad_(False)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model = Accelerator(cpu=True).prepare(model)
    twin = make_twin(model)
    assert all(torch.equal(value, expected[name]) for name, value in twin.state_dict().items())
    assert not any(getattr(module, "gradient_checkpointing", False) for module in twin.modules())


def test_why_there_is_no_twin_is_said():
    with pytest.raises(NoTwin, match="ValueError: needs a camera"):
        twin_of(Broken, LlamaConfig())
    with pytest.raises(NoTwin, match=r"Recurrence.* is not in a small one"):
        twin_of(GPT2LMHeadModel, GPT2Config(n_layer=2, n_embd=64, n_head=2), {("Recurrence",)})


def test_what_is_read_shows_in_a_deep_twin_whose_layers_are_normalised_last():
    shape = {"hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=96, is_decoder=True, **shape)
    model = _build(BertLMHeadModel, config, seed=0)
    ids = torch.arange(4, 20)[None]
    places = torch.arange(16)[None]
    with torch.no_grad():
        read = [model(input_ids=ids, position_ids=some).logits.log_softmax(-1) for some in (places, places + 1)]
    assert (read[0] - read[1]).abs().max() > 0.1
    torch.manual_seed(0)
    drowned = BertLMHeadModel(config).eval()
    randomise(drowned)
    assert _scaled(drowned) < 0.1 < 1 <= _scaled(model)


def test_a_twin_does_not_make_much_of_rounding():
    config = MT5Config(d_model=32, d_ff=64, num_layers=2, num_heads=4, vocab_size=96, decoder_start_token_id=0)
    model = _build(MT5ForConditionalGeneration, config, seed=0)
    torch.manual_seed(0)
    chaotic = MT5ForConditionalGeneration(config).eval()
    randomise(chaotic)
    assert _rounding(model) <= MOST_ROUNDING < _rounding(chaotic)
    assert _scaled(model) >= 1
