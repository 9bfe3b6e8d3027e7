"""A table as a language model: the same answers through every cache, and every policy can be represented."""

import pytest
import torch

from prefgym.envs import Enumerable
from prefgym.errors import InputError
from prefgym.models.forward import response_logits
from prefgym.models.generation import generate
from prefgym.models.language_model import LanguageModel
from prefgym.models.stepper import Stepper
from prefgym.models.tabular import NOWHERE, TabularLM


@pytest.fixture
def model() -> TabularLM:
    """States: 0 nowhere, 1 the empty text, 2 "0", 3 "0 1", 4 "0 1 1", 5 "0 0"; row s holds s, s, s, ..."""
    model = TabularLM.of([(0, 1, 1), (0, 0)], vocab_size=4)
    with torch.no_grad():
        model.table.weight.copy_(torch.arange(6.0)[:, None].expand(6, 4))
    return model


def test_every_text_has_its_own_row(model):
    logits = model(torch.tensor([[0, 1, 1], [0, 0, 1]])).logits
    assert logits[..., 0].tolist() == [[2, 3, 4], [2, 5, NOWHERE]]
    assert logits.shape == (2, 3, 4)
    assert model(torch.tensor([[0, 1, 1]]), logits_to_keep=1).logits[0, :, 0].tolist() == [4]


def test_padding_is_not_read(model):
    tokens, mask = torch.tensor([[3, 0, 1, 3]]), torch.tensor([[0, 1, 1, 0]])
    assert model(tokens, mask).logits[0, 1:, 0].tolist() == [2, 3, 3]


def test_generation_stepping_and_shared_prompts_read_the_same_rows():
    env = Enumerable(model="tabular", num_prompts=3)
    model, prompts = env.language_model.model, env.encode_prompts(range(3))
    written = generate(
        model,
        prompts.tokens,
        prompts.mask,
        max_new_tokens=3,
        eos_token_id=3,
        pad_token_id=3,
        vocab_size=4,
        samples_per_prompt=8,
        generator=torch.Generator().manual_seed(0),
    )
    every = prompts.repeat(8)
    tokens, mask = torch.cat([every.tokens, written.tokens], 1), torch.cat([every.mask, written.mask], 1)
    plain = response_logits(model, tokens, mask, 3)
    shared = response_logits(model, tokens, mask, 3, prompt_of=torch.arange(3).repeat_interleave(8))
    assert torch.equal(plain[written.mask], shared[written.mask])
    chosen = torch.log_softmax(plain[..., :4], -1).gather(-1, written.tokens[..., None])[..., 0]
    torch.testing.assert_close(chosen[written.mask], written.log_probs[written.mask])
    stepper = Stepper(model)
    for read in range(3):
        seen = mask.clone()
        seen[:, 3 + read :] = False
        alive = written.mask[:, read]
        assert torch.equal(stepper.next_logits(tokens, seen)[alive], plain[alive, read])


def test_saved_and_loaded(tmp_path):
    model = Enumerable(model="tabular").language_model
    model.save(tmp_path)
    loaded = LanguageModel.load(tmp_path)
    assert loaded.checksum() == model.checksum()
    assert torch.equal(loaded.model.transitions.weight, model.model.transitions.weight)


def test_the_optimum_can_be_written_into_the_table():
    """Row by row log Σ π*(y) over the responses y that begin with the row's text and the token."""
    env = Enumerable(model="tabular", num_prompts=2, kl_coef=0.3)
    policy, responses, optimal = env.language_model.copy(), env.responses(), env.optimal_policy()
    mass = torch.zeros(policy.model.table.weight.shape, dtype=torch.float64)
    for row, prompt in enumerate(env.encode_prompts(range(2)).prompts):
        for column, (tokens, mask) in enumerate(zip(responses.tokens, responses.mask, strict=True)):
            text = [*prompt.ids, *tokens[mask].tolist()]
            states = policy.model.transitions(torch.tensor([text]), torch.ones(1, len(text)))[0]
            for place in range(len(prompt.ids), len(text)):
                mass[states[place - 1], text[place]] += optimal[row, column]
    with torch.no_grad():
        policy.model.table.weight.copy_((mass + 1e-30).log())
    assert env.kl_to_optimum(policy) == pytest.approx(0, abs=1e-6)
    assert float(env.objective(policy).detach()) == pytest.approx(env.optimal_objective(), abs=1e-6)
    assert all(gradient.abs().max() < 1e-6 for gradient in env.exact_gradient(policy).values())


def test_an_unknown_model_is_told_its_nearest():
    with pytest.raises(InputError, match='Did you mean "tabular"'):
        Enumerable(model="tabula")
