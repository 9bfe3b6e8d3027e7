"""By which paths models are read: found by trying, right for each, and refused where none is right."""

import copy

import gymnasium as gym
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput

import prefgym
from prefgym.agents.policy import LMPolicy
from prefgym.errors import InputError
from prefgym.models import examination
from prefgym.models.check import check_model, confirm
from prefgym.models.examination import examine, find_twin
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel
from prefgym.models.paths import EVERY, Paths, is_ours, paths_of, reading_by
from prefgym.models.twin import randomise

SMALL = {"vocab_size": 48, "bos_token_id": 0, "eos_token_id": 0}
LLAMA = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA |= {"intermediate_size": 48, "max_position_embeddings": 128}
KINDS = {
    "gpt_neo": {
        **{"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16, "max_position_embeddings": 64},
        "attention_types": [[["global", "local"], 1]],
    },
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2, "pad_token_id": 0},
    "lfm2": {**LLAMA, "layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "pad_token_id": None},
    "roberta": {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
        **{"is_decoder": True, "pad_token_id": 1, "max_position_embeddings": 100, "type_vocab_size": 1},
    },
    "bart": {
        **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "pad_token_id": 1},
        **{"decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64},
        **{"is_decoder": True, "is_encoder_decoder": False},
    },
    "opt": {
        **{"hidden_size": 32, "word_embed_proj_dim": 16, "num_hidden_layers": 2, "ffn_dim": 48, "pad_token_id": 1},
        **{"num_attention_heads": 4, "max_position_embeddings": 64, "do_layer_norm_before": False},
    },
}
SERVED = {  # what each must be read by at least, so that nothing is served slowly without need
    "gpt_neo": {"rows", "behind"},
    "mpt": {"rows", "behind"},
    "bloom": {"rows", "behind", "steps"},
    "mamba": {"own"},
    "lfm2": {"own"},
    "roberta": {"grouped", "together", "packed", "steps"},
    "bart": {"own"},
    "opt": {"grouped", "together", "packed", "steps"},
}


def make(kind):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **KINDS[kind])).eval()
    randomise(model)
    return model


def batch(lengths, width, seed=1):
    tokens = torch.randint(2, 48, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
    return tokens.masked_fill(~mask, 1), mask


def truth(model, prompt, response):
    """Log-probs of a response by one plain forward pass of one text."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0].float()
    log_dist = logits.log_softmax(-1)
    return torch.stack([log_dist[len(prompt) - 1 + i, token] for i, token in enumerate(response)])


class Tokenizer:
    """As much of a tokenizer as a policy needs."""

    eos_token_id, pad_token_id, model_max_length = 0, 1, 64

    def get_vocab(self):
        return {str(i): i for i in range(48)}


@pytest.mark.parametrize("samples", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_sampling_and_update_give_the_log_probs_of_a_plain_forward_pass(kind, samples):
    model = make(kind)
    policy = LMPolicy(LanguageModel(model, Tokenizer(), kind), value_head=True, max_prompt_tokens=30)
    tokens, mask = batch([30, 21, 9], 30)
    written, values = policy.generate(tokens, mask, 12, samples, torch.Generator().manual_seed(3))
    prompt_of = torch.arange(3).repeat_interleave(samples)
    both = torch.cat([tokens[prompt_of], written.tokens], 1), torch.cat([mask[prompt_of], written.mask], 1)
    read = policy.evaluate_actions(*both, written.tokens.shape[1], prompt_of=prompt_of)
    assert values.shape == written.tokens.shape
    for row, prompt in enumerate(prompt_of.tolist()):
        kept = written.mask[row]
        expected = truth(model, tokens[prompt][mask[prompt]].tolist(), written.tokens[row][kept].tolist())
        torch.testing.assert_close(written.log_probs[row][kept], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(read.log_probs[row][kept], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_rows_at_different_columns_give_the_log_probs_of_a_plain_forward_pass(kind):
    model = make(kind)
    policy = LMPolicy(LanguageModel(model, Tokenizer(), kind), value_head=False, max_prompt_tokens=30)
    tokens, mask = batch([30, 21], 30)
    answer = torch.randint(2, 48, (2, 10), generator=torch.Generator().manual_seed(2))
    whole = torch.cat([tokens, answer], 1)
    for step in range(8):
        ends = torch.tensor([30 + step, 30 + min(step + 2, 9)])[:, None]
        seen = torch.cat([mask, torch.ones_like(answer, dtype=torch.bool)], 1) & (torch.arange(40) < ends)
        found = policy.log_probs({"tokens": whole.numpy(), "attention_mask": seen.numpy()})
        for row in range(2):
            prompt = whole[row][seen[row]].tolist()
            token = int(whole[row, ends[row]])
            assert found[row][token] == pytest.approx(float(truth(model, prompt, [token])), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_served_by_its_fastest_right_paths(kind):
    model = make(kind)
    paths = paths_of(model, 42)
    assert {name for name in SERVED[kind] if getattr(paths, name)} == SERVED[kind]


def test_a_window_counts_where_texts_are_longer_than_it(make_model):
    mistral = make_model("mistral")
    assert not paths_of(mistral, 40).grouped
    wide = copy.deepcopy(mistral)
    wide.config.sliding_window = 1000
    for layer in wide.model.layers:
        layer.self_attn.sliding_window = 1000
    del wide.__dict__["_prefgym_paths"]
    assert paths_of(wide, 40).grouped, "shorter texts are read as if it had none"


@pytest.mark.parametrize("fault", ["positions", "mask"])
def test_a_planted_fault_is_seen(make_model, fault, monkeypatch):
    """Texts counted from their padding, and padding attended to: no path may pass."""
    model = find_twin(make_model("llama"))
    forward = type(model).forward

    def faulty(self, input_ids=None, attention_mask=None, position_ids=None, **rest):
        if fault == "positions" and position_ids is not None:
            position_ids = position_ids * (1 + torch.arange(len(position_ids))[:, None] % 2)
        if fault == "mask" and attention_mask is not None and attention_mask.dim() == 2:
            attention_mask = torch.ones_like(attention_mask)
        return forward(self, input_ids, attention_mask, position_ids, **rest)

    monkeypatch.setattr(type(model), "forward", faulty)
    found = examine(model, 40)
    assert (found.paths.batch, found.paths.positions) != ("left", 0)
    assert not any((found.paths.behind, found.paths.rows, found.paths.steps))


def test_a_model_that_looks_ahead_is_refused():
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert", **SMALL, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    randomise(model)
    with pytest.raises(InputError, match=r"differently when others follow it.*from left to right"):
        paths_of(model, 40)


def test_the_real_weights_are_tried_too(make_model, monkeypatch):
    """A model whose class behaves in its twin and not with its own weights is read by the plain path, or refused."""
    model = make_model("llama")
    monkeypatch.setattr(examination, "SHORT", 20)
    confirm(model, "mine")
    real = type(model).forward

    def cached_is_wrong(self, *args, past_key_values=None, **rest):
        output = real(self, *args, past_key_values=past_key_values, **rest)
        if past_key_values is not None:
            output.logits[..., 7] += 2
        return output

    monkeypatch.setattr(type(model), "forward", cached_is_wrong)
    with pytest.warns(UserWarning, match=r'"mine" reads short texts .* plain path'):
        confirm(model, "mine")
    assert paths_of(model, 20) == Paths().only_plain().__class__(**{**vars(EVERY.only_plain()), "own": False})

    def wrong(self, *args, attention_mask=None, **rest):
        output = real(self, *args, attention_mask=attention_mask, **rest)
        logits = output.logits.clone()
        logits[..., 7] += 0 if attention_mask is None else 2
        return CausalLMOutput(logits=logits)

    monkeypatch.setattr(type(model), "forward", wrong)
    with pytest.raises(InputError, match=r'"mine" reads short texts .* where 0 is right'):
        confirm(model, "mine")


def test_own_cache_and_reading_again_write_the_same_tokens(make_model, prompts):
    model = make_model("llama")

    def write():
        return generate(
            model,
            *prompts,
            max_new_tokens=8,
            eos_token_id=3,
            pad_token_id=0,
            vocab_size=40,
            samples_per_prompt=3,
            with_hidden=True,
            generator=torch.Generator().manual_seed(0),
        )

    expected = write()
    plain = paths_of(model, 64).only_plain()
    for batch_kind, own in (("left", True), ("equal", True), ("alone", True), ("left", False), ("right", False)):
        paths = Paths(**{**vars(plain), "batch": batch_kind, "own": own})
        with reading_by(model, paths):
            found = write()
        assert torch.equal(found.tokens, expected.tokens)
        torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-3, rtol=1e-3)


def test_check_model_says_what_it_found(make_model, capsys):
    found = check_model(make_model("mistral"), columns=40)
    told = capsys.readouterr().out
    assert "written together after their prompt" in told
    assert "does not serve" in told
    assert found.trials["rows"].agrees
    assert prefgym.check_model is check_model


def test_embedded_models_are_not_tried_again():
    assert is_ours(LanguageModel.load("embedded").model)
    assert is_ours(LanguageModel.load("embedded").copy().model)


def test_a_preference_model_with_another_counting_scores_as_its_maker_does():
    from prefgym.rewards.scorer import Scorer

    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt_neo", **SMALL, **KINDS["gpt_neo"], num_labels=1, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    randomise(model)
    tokens, mask = batch([50, 50, 30, 30], 50)
    left = mask.flip(1)  # right padded, as scorers get them
    ids = torch.stack([torch.cat([row[real], row[~real]]) for row, real in zip(tokens, mask, strict=True)])
    ids[1, :45], ids[3, :25] = ids[0, :45], ids[2, :25]
    prompt_of, lengths = torch.tensor([0, 0, 1, 1]), torch.tensor([45, 45, 25, 25])
    with torch.no_grad():
        alone = [model(input_ids=row[real][None]).logits[0, 0] for row, real in zip(ids, left, strict=True)]
        together = Scorer(model)(ids, left.long(), prompt_of=prompt_of, prompt_lengths=lengths)
        apart = Scorer(model)(ids, left.long())
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=0)
    torch.testing.assert_close(apart, torch.stack(alone), atol=1e-4, rtol=0)


def test_encoder_decoders_have_a_context_each(tmp_path):
    from transformers import BartConfig, BartForConditionalGeneration

    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4}
    config = BartConfig(
        **{**shape, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 2048},
        **{"max_position_embeddings": 64, "pad_token_id": 1, "eos_token_id": 0, "decoder_start_token_id": 2},
    )
    torch.manual_seed(0)
    lm = LanguageModel(BartForConditionalGeneration(config), LanguageModel.load("embedded").tokenizer, "bart")
    env = gym.make("Summarize-v0", model=lm, reward="length", max_prompt_tokens=64, max_new_tokens=32)
    assert env.observation_space["tokens"].shape == (96,)
    with pytest.raises(InputError, match="encoder and decoder have each"):
        gym.make("Summarize-v0", model=lm, reward="length", max_prompt_tokens=64, max_new_tokens=65)


class Recurrent(PreTrainedModel):
    """A GRU that reads padding like text, and forgets it behind a long prompt."""

    config_class = PreTrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, 32)
        self.gru = torch.nn.GRU(32, 32, batch_first=True)
        self.head = torch.nn.Linear(32, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None, **_):
        return CausalLMOutput(logits=self.head(self.gru(self.embed(input_ids))[0]))


def test_padding_that_a_state_forgets_behind_a_long_prompt_is_seen():
    torch.manual_seed(0)
    model = Recurrent(PreTrainedConfig(vocab_size=48, hidden_size=32)).eval()
    with torch.no_grad():
        model.embed.weight.normal_()
        model.head.weight.normal_()
    texts = examination.texts_with_truth(model, 300)
    behind = examination._try(examination._read, model, EVERY.only_plain(), texts)
    assert behind.difference < 1e-5
    found = examine(model, 300)
    assert found.trials["left"].difference > 1e-3
    assert found.paths.batch == "right"
    assert found.trials["right"].agrees


def test_the_check_can_be_left_out(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("prefgym.models.check.confirm", lambda model, name: asked.append(name))
    model = LanguageModel.load("embedded")
    shape = {**KINDS["opt"], "vocab_size": 2048, "max_position_embeddings": 256, "eos_token_id": 0}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model("opt", **shape))
    LanguageModel(made, model.tokenizer).save(tmp_path)
    for check in (True, False):
        gym.make("Summarize-v0", model=tmp_path, reference=tmp_path, reward="length", check_model=check)
    assert asked == [str(tmp_path)] * 2


def test_positions_that_change_with_the_length_are_refused_where_they_do():
    """LongRoPE: the factors of a text follow its length, so those of its beginning change when it grows."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "rope_theta": 10000.0}
    shape = {**LLAMA, "max_position_embeddings": 256, "original_max_position_embeddings": 32, "pad_token_id": 0}
    rope["original_max_position_embeddings"] = 32
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("phi3", **SMALL, **shape, rope_parameters=rope))
    assert paths_of(model, 24).rows
    with pytest.raises(
        InputError, match=r"a text of 256 tokens otherwise .* position embeddings change with the length"
    ):
        paths_of(model, 200)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_bounds_of_layers_count_nothing(kind, tmp_path):
    tokenizer = LanguageModel.load("embedded").tokenizer
    config = AutoConfig.for_model(kind, **{**LLAMA, "vocab_size": 2048}, head_dim=8, max_window_layers=28)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert LanguageModel.load(tmp_path).model.config.num_hidden_layers == 2
