"""Encoder-decoders by every path the decoders take, each against the plain forward of transformers."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from prefgym.errors import InputError
from prefgym.models.distribution import Decoding
from prefgym.models.finetune import finetune
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel, LoRA
from prefgym.models.paths import paths_of, reading_by
from prefgym.models.shared_prompt import recomputing, shares_prompts
from prefgym.models.stepper import EncoderDecoderStepper, make_stepper

EOS, VOCAB = 0, 288
SIZE = {"vocab_size": VOCAB, "d_model": 32, "pad_token_id": 1, "eos_token_id": EOS, "decoder_start_token_id": 1}


def t5(**options):
    shape = {"d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8}
    return T5ForConditionalGeneration(T5Config(**SIZE, **shape, **options))


KINDS = {
    "t5": t5,
    "flan": lambda: t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(
            **SIZE,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
            bos_token_id=EOS,
            init_std=0.15,
            forced_eos_token_id=None,
        )
    ),
}


@pytest.fixture(params=list(KINDS))
def lm(request, tokenizer):
    torch.manual_seed(0)
    model = KINDS[request.param]()
    with torch.no_grad():
        for parameter in model.parameters():  # transformers' own start is too flat to tell mistakes by
            if parameter.dim() > 1:
                parameter.mul_(1.5)
    return LanguageModel(model.train(), tokenizer, request.param)


@pytest.fixture
def batch(prompts):
    """Rows 0, 2 and 4 answer one prompt; responses of 5, 3, 1, 5 and 2 tokens, right padded."""
    tokens, mask = (part.clone() for part in prompts)
    tokens[[2, 4]], mask[[2, 4]] = tokens[0].clone(), mask[0].clone()
    responses = torch.randint(2, 40, (5, 5), generator=torch.Generator().manual_seed(3))
    real = torch.arange(5) < torch.tensor([5, 3, 1, 5, 2]).unsqueeze(-1)
    return torch.cat([tokens, responses.masked_fill(~real, EOS)], 1), torch.cat([mask, real], 1)


PROMPT_OF = torch.tensor([0, 1, 0, 2, 0])
RESPONSE = 5


def plain_logits(model, tokens, mask):
    """Each row alone, without padding, through transformers with its response as ``labels``; list of (R_row, V)."""
    split = tokens.shape[1] - RESPONSE
    rows = []
    for row, real in zip(tokens, mask, strict=True):
        prompt, response = row[:split][real[:split]], row[split:][real[split:]]
        rows.append(model(input_ids=prompt[None], labels=response[None]).logits[0])
    return rows


def test_logits_and_hidden_states_are_those_of_transformers(lm, batch):
    tokens, mask = batch
    with torch.no_grad():
        logits, hidden = response_logits(lm.model, tokens, mask, RESPONSE, with_hidden=True)
        expected = plain_logits(lm.model, tokens, mask)
    for row, plain in enumerate(expected):
        torch.testing.assert_close(logits[row, : len(plain)], plain, rtol=0, atol=1e-4)
    again = lm.model.get_output_embeddings()(hidden) + getattr(lm.model, "final_logits_bias", 0)
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-5)
    assert torch.isfinite(logits).all()


def test_gradients_are_those_of_the_plain_forward_and_the_encoder_runs_once_a_prompt(lm, batch):
    tokens, mask = batch
    real, weights = mask[:, -RESPONSE:], torch.arange(1.0, 26).view(5, 5)
    sizes = []
    handle = lm.model.get_encoder().register_forward_hook(lambda _m, _i, output: sizes.append(len(output[0])))
    gradients, values = [], []
    for prompt_of in (None, PROMPT_OF):
        lm.model.zero_grad()
        log_probs = token_log_probs(lm.model, tokens, mask, RESPONSE, lm.vocab_size, prompt_of=prompt_of)
        (log_probs * weights).sum().backward()
        gradients.append([p.grad.clone() for p in lm.model.parameters()])
        values.append(log_probs.detach())
    assert sizes == [5, 3]
    handle.remove()
    lm.model.zero_grad()
    log_dists = [plain[:, : lm.vocab_size].log_softmax(-1) for plain in plain_logits(lm.model, tokens, mask)]
    picked = [
        log_dist.gather(-1, row[-RESPONSE:][kept, None])[:, 0]
        for log_dist, row, kept in zip(log_dists, tokens, real, strict=True)
    ]
    sum((p * w[kept]).sum() for p, w, kept in zip(picked, weights, real, strict=True)).backward()
    plain = [p.grad for p in lm.model.parameters()]
    for ours in values:
        torch.testing.assert_close(ours[real], torch.cat(picked).detach(), rtol=0, atol=1e-4)
        assert (ours[~real] == 0).all()
    for ours in gradients:
        for one, other in zip(ours, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max() + 1))


def test_what_stands_on_padding_changes_nothing(lm, batch):
    tokens, mask = batch
    with torch.no_grad():
        one = token_log_probs(lm.model, tokens, mask, RESPONSE, lm.vocab_size)
        other = token_log_probs(lm.model, tokens.masked_fill(~mask, 17), mask, RESPONSE, lm.vocab_size)
        wider = [torch.cat([torch.full((5, 3), fill), part], 1) for fill, part in ((9, tokens), (False, mask))]
        moved = token_log_probs(lm.model, *wider, RESPONSE, lm.vocab_size)
    torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    torch.testing.assert_close(moved, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("look_every", [1, 3])
def test_generation_with_caches_gives_the_log_probs_of_a_full_forward(lm, prompts, batch, look_every):
    with torch.no_grad():
        spread = float(torch.cat(plain_logits(lm.model, *batch))[:, :20].std())
    decoding = Decoding(temperature=spread)  # so that rows end at different times
    sizes = []
    handle = lm.model.get_encoder().register_forward_hook(lambda _m, _i, output: sizes.append(len(output[0])))
    generation = generate(
        lm.model,
        *prompts,
        max_new_tokens=8,
        eos_token_id=EOS,
        pad_token_id=1,
        vocab_size=20,
        decoding=decoding,
        generator=torch.Generator().manual_seed(0),
        samples_per_prompt=4,
        with_hidden=True,
        look_every=look_every,
    )
    assert sizes == [5]  # five prompts, read once
    handle.remove()
    width, real = generation.tokens.shape[1], generation.mask
    assert len(set(generation.lengths.tolist())) > 2
    tokens, mask = (part.repeat_interleave(4, 0) for part in prompts)
    tokens, mask = torch.cat([tokens, generation.tokens], 1), torch.cat([mask, real], 1)
    with torch.no_grad():
        log_probs = token_log_probs(lm.model, tokens, mask, width, 20, decoding)
        _, hidden = response_logits(lm.model, tokens, mask, width, with_hidden=True)
    torch.testing.assert_close(generation.log_probs, log_probs, rtol=0, atol=1e-4)
    torch.testing.assert_close(generation.hidden, hidden * real.unsqueeze(-1), rtol=0, atol=1e-4)


def test_greedy_tokens_are_those_of_transformers_from_the_saved_folder(lm, prompts, tmp_path):
    lm.save(tmp_path)
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    ours = LanguageModel.load(tmp_path)
    assert ours.auto_class is AutoModelForSeq2SeqLM
    assert ours.checksum() == lm.checksum()
    tokens, mask = prompts
    for row in range(len(tokens)):
        prompt = tokens[row][mask[row]][None]
        options = {"eos_token_id": EOS, "pad_token_id": 1, "vocab_size": VOCAB}
        written = generate(
            ours.model, prompt, torch.ones_like(prompt), max_new_tokens=6, decoding=Decoding(greedy=True), **options
        )
        expected = theirs.generate(prompt, max_new_tokens=6, do_sample=False)[0, 1:]
        assert written.tokens[0].tolist() == expected.tolist()[: written.tokens.shape[1]]


def test_stepping_equals_a_full_forward_with_rows_reset_at_different_times(lm, batch):
    tokens, mask = (part.clone() for part in batch)
    split = tokens.shape[1] - RESPONSE
    with torch.no_grad():
        full, states = response_logits(lm.model, tokens, mask, RESPONSE, with_hidden=True)
    stepper = make_stepper(lm.model, split)
    assert isinstance(stepper, EncoderDecoderStepper)
    encoded = []
    handle = lm.model.get_encoder().register_forward_hook(lambda _m, _i, output: encoded.append(len(output[0])))
    starts = torch.tensor([0, 1, 0, 2, 0])  # how many tokens each row is ahead of the first
    for step in range(3):
        seen = mask.clone()
        lengths = (starts + step).clamp(max=RESPONSE - 1)
        seen[:, split:] = torch.arange(RESPONSE) < lengths.unsqueeze(-1)
        logits, hidden = stepper.next_logits(tokens, seen, with_hidden=True)
        rows = torch.arange(5)
        known = mask[:, split:].sum(1) > lengths
        torch.testing.assert_close(logits[known], full[rows, lengths][known], rtol=0, atol=1e-4)
        torch.testing.assert_close(hidden[known], states[rows, lengths][known], rtol=0, atol=1e-4)
    assert encoded == [5]
    handle.remove()
    tokens[1, split - 1] += 1  # another prompt in one row, whose last token alone is different
    seen[1, split:] = False
    logits = stepper.next_logits(tokens, seen)
    with torch.no_grad():
        fresh = response_logits(lm.model, tokens, mask, RESPONSE)
    torch.testing.assert_close(logits[1], fresh[1, 0], rtol=0, atol=1e-4)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight.mul_(1.1)
    assert not torch.allclose(stepper.next_logits(tokens, seen)[1], logits[1], atol=1e-3)  # noticed


def test_a_step_reads_one_token_of_a_response(lm, batch):
    """Also where rows differ in length, one is begun anew, and one is taken back; always as a full forward says."""
    tokens, mask = (part.clone() for part in batch)
    tokens[:, -RESPONSE:] = torch.randint(2, 40, (5, RESPONSE), generator=torch.Generator().manual_seed(5))
    split, rows = tokens.shape[1] - RESPONSE, torch.arange(5)
    stepper, read = make_stepper(lm.model, split), []
    decoder = lm.model.get_decoder()
    handle = decoder.register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(kwargs["input_ids"]), with_kwargs=True
    )

    def step(*lengths):
        """Ask for responses of these lengths; how many rows and tokens each forward pass read."""
        del read[:]
        seen = mask.clone()
        seen[:, split:] = torch.arange(RESPONSE) < torch.tensor(lengths).unsqueeze(-1)
        logits = stepper.next_logits(tokens, seen)
        sizes = sorted(tuple(part.shape) for part in read)
        with torch.no_grad():
            full = response_logits(
                lm.model, tokens, mask.index_fill(1, torch.arange(split, tokens.shape[1]), True), RESPONSE
            )
        torch.testing.assert_close(logits, full[rows, list(lengths)], rtol=0, atol=1e-4)
        return sizes

    assert step(0, 0, 0, 0, 0) == [(5, 1)]
    assert step(1, 1, 1, 1, 1) == [(5, 1)]
    assert step(2, 2, 2, 2, 1) == [(1, 1), (4, 1)]
    assert step(3, 3, 3, 3, 2) == [(1, 1), (4, 1)]
    assert step(3, 3, 3, 3, 2) == [], "nothing is new"
    tokens[1, 0:split] = tokens[3, 0:split].clone()  # another prompt
    mask[1, 0:split] = mask[3, 0:split].clone()
    assert step(4, 0, 4, 4, 3) == [(1, 1), (1, 1), (3, 1)]
    assert step(4, 1, 2, 4, 4) == [(1, 1), (1, 1), (3, 1)], "row 2 is taken back by two tokens"
    tokens[2, split + 2] += 1
    assert step(4, 2, 3, 4, 4) == [(1, 1), (1, 1), (3, 1)], "and goes on otherwise"
    tokens[0, split] += 1  # what was read already
    assert step(4, 3, 4, 4, 4) == [(1, 1), (1, 5), (3, 1)]
    handle.remove()


@pytest.mark.parametrize("kind", ["right", "equal", "alone"])
def test_a_model_that_cannot_be_stepped_is_read_again(lm, batch, kind):
    tokens, mask = batch
    split = tokens.shape[1] - RESPONSE
    stepped, again = make_stepper(lm.model, split), make_stepper(lm.model, split)
    for step in range(4):
        seen = mask & (torch.arange(tokens.shape[1]) < split + step)
        expected = stepped.next_logits(tokens, seen, with_hidden=True)
        with reading_by(lm.model, replace(paths_of(lm.model, 64).only_plain(), batch=kind)):
            found = again.next_logits(tokens, seen, with_hidden=True)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_recomputed_layers_give_the_same_gradients(lm, batch):
    gradients = []
    for wanted in (False, True):
        lm.model.zero_grad()
        with recomputing(lm.model, wanted):
            log_probs = token_log_probs(lm.model, *batch, RESPONSE, lm.vocab_size, prompt_of=PROMPT_OF)
        log_probs.sum().backward()
        gradients.append([p.grad.clone() for p in lm.model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert shares_prompts(lm.model)


def test_fine_tuning_learns_the_responses_by_the_loss_of_transformers(lm):
    pairs = [("my brother", " broke"), ("our neighbour", " the window")]
    metrics = finetune(lm, pairs[:1], max_steps=1, batch_size=1, learning_rate=1e-9, eval_pairs=pairs[1:])
    prompt, labels = lm.encode(pairs[1][0]), [*lm.encode(pairs[1][1]), lm.eos_token_id]
    with torch.no_grad():
        loss = lm.model(input_ids=torch.tensor([prompt]), labels=torch.tensor([labels])).loss
    assert metrics["eval_loss"] == pytest.approx(float(loss), abs=1e-4)
    finetune(lm, pairs, max_steps=30, batch_size=2, learning_rate=1e-2)
    for text, response in pairs:
        ids = torch.tensor([lm.encode(text)])
        written = generate(
            lm.model,
            ids,
            torch.ones_like(ids),
            max_new_tokens=16,
            eos_token_id=lm.eos_token_id,
            pad_token_id=lm.pad_token_id,
            vocab_size=lm.vocab_size,
            decoding=Decoding(greedy=True),
        )
        assert lm.decode(written.tokens[0]) == response


def test_fine_tuning_gives_prompt_and_response_a_context_each(lm):
    prompt, response = "my brother broke of the", " window of the"
    ids = len(lm.encode(prompt)), len(lm.encode(response)) + 1
    lm.model.config.max_position_embeddings = max(ids)
    assert finetune(lm, [(prompt, response)], max_steps=1, batch_size=1)["steps"] == 1
    with pytest.raises(InputError, match="of the model's context"):
        finetune(lm, [("my brother " * 20, response)], max_steps=1)
    with pytest.raises(InputError, match="train without packing"):
        finetune(lm, [(prompt, response)], max_steps=1, packing=True)


def test_an_adapter_works_on_it_too(lm, batch, tmp_path):
    lm.save(tmp_path / "base")
    adapted = AdaptedModel.start(LanguageModel.load(tmp_path / "base"), LoRA(rank=2))
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    adapted.save(tmp_path / "adapter")
    with torch.no_grad():
        expected = response_logits(adapted.model, *batch, RESPONSE)
        merged = response_logits(LanguageModel.load(tmp_path / "adapter").model, *batch, RESPONSE)
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-4)


def test_a_decoder_without_a_start_token_and_a_stepper_without_a_width_are_refused(lm):
    with pytest.raises(InputError, match="max_prompt_tokens"):
        make_stepper(lm.model, None)
    settings = lm.model.generation_config
    lm.model.config.decoder_start_token_id = lm.model.config.bos_token_id = None
    settings.decoder_start_token_id = settings.bos_token_id = None
    with pytest.raises(InputError, match="decoder_start_token_id"):
        LanguageModel(lm.model, lm.tokenizer)


def test_a_decoder_starts_where_generate_starts_it(lm):
    lm.model.config.decoder_start_token_id = None
    lm.model.generation_config.decoder_start_token_id = None
    lm.model.generation_config.bos_token_id = 3
    again = LanguageModel(lm.model, lm.tokenizer)
    written = lm.model.generate(torch.tensor([[4, 5, 6]]), max_new_tokens=1)
    assert again.model.config.decoder_start_token_id == written[0, 0] == 3
