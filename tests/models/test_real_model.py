"""A real chat model, as a user has it: SmolLM2-135M-Instruct in the folder that PREFGYM_REAL_MODEL names."""

import importlib.util
import os
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import REINFORCE
from prefgym.evaluation.policies.decode import decode
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.models.distribution import Decoding
from prefgym.models.forward import token_log_probs
from prefgym.models.language_model import LanguageModel

ROOM = 96
ASKED = [
    *("What is the capital of France?", "Name three colours.", "Write a sentence about the sea.", "What is 2 + 3?"),
    *("Why is the sky blue?", "Give me a word that rhymes with cat.", "Who wrote Hamlet?", "Say hello in Spanish."),
    *("Tell me a short joke.", "What do bees make?", "How many legs has a spider?", "Translate 'dog' to German."),
    *("What is ice made of?", "Name a fruit that is yellow.", "Is fire hot?", "What comes after Monday?"),
    *("Write one line of a poem.", "What is a noun?", "Where do penguins live?", "How do I boil an egg?"),
]


@pytest.fixture(scope="module")
def path():
    named = os.environ.get("PREFGYM_REAL_MODEL")
    if not named:
        pytest.skip("set PREFGYM_REAL_MODEL to the folder of SmolLM2-135M-Instruct.Q4_1.gguf")
    if importlib.util.find_spec("gguf") is None:
        pytest.skip('the package gguf is not installed (pip install "prefgym[gguf]")')
    return Path(named)


@pytest.fixture(scope="module")
def lm(path):
    return LanguageModel.load(path)


def test_greedy_answers_are_those_of_transformers_with_the_chat_template(lm):
    template = gym.make(
        "Summarize-v0", model=lm, prompts=["a"], reward="length", instruction="{prompt}", max_prompt_tokens=ROOM
    ).unwrapped.template
    settings = DecodeSettings(template=template, max_prompt_tokens=ROOM, max_new_tokens=16, batch_size=20)
    found = decode(lm, [{"prompt": text} for text in ASKED], settings, Decoding(greedy=True), seed=0)
    for row, text in enumerate(ASKED):
        ids = lm.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            whole = lm.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16, pad_token_id=0
            )[0]
        theirs, ours = whole[ids.shape[1] :], found.tokens[row][found.mask[row]]
        same = min(len(theirs), len(ours))
        differs = (theirs[:same] != ours[:same]).nonzero()
        if len(differs):  # then the two best must be as good as equal
            at = ids.shape[1] + int(differs[0])
            with torch.no_grad():
                best = lm.model(whole[None, :at]).logits[0, -1].log_softmax(-1).topk(2).values
            assert best[0] - best[1] < 1e-4
        else:
            assert len(theirs) == len(ours)


def test_log_probs_are_those_of_a_plain_forward_pass(lm):
    rows = [lm.encode_prompt(text) for text in ASKED[:3]]
    answers = [lm.encode_response(text, " I do not know.") for text in ASKED[:3]]
    width, most = max(map(len, rows)), max(map(len, answers))
    tokens = torch.zeros(3, width + most, dtype=torch.long)
    mask = torch.zeros(3, width + most, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(zip(rows, answers, strict=True)):
        tokens[row, width - len(prompt) : width + len(answer)] = torch.tensor([*prompt, *answer])
        mask[row, width - len(prompt) : width + len(answer)] = True
    with torch.no_grad():
        found = token_log_probs(lm.model, tokens, mask, most, lm.vocab_size)
        for row, (prompt, answer) in enumerate(zip(rows, answers, strict=True)):
            logits = lm.model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1, : lm.vocab_size]
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None])[:, 0]
            torch.testing.assert_close(found[row, : len(answer)], expected, atol=1e-4, rtol=0)


def test_a_run_goes_on_in_transformers_as_here(path, tmp_path):
    env = gym.make("Summarize-v0", model=path, prompts=ASKED[:2], reward="length", max_new_tokens=8)
    agent = REINFORCE("default", env, episodes_per_iteration=4, samples_per_prompt=2, learning_rate=1e-5)
    agent.learn(4).save(tmp_path / "run")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    instruction = env.unwrapped.template.instruction.format(prompt=ASKED[0])
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": instruction}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    observation, _ = env.reset(options={"index": 0})
    assert observation["tokens"][observation["attention_mask"] == 1].tolist() == ids[0].tolist()
    with torch.no_grad():
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8)
    for token in theirs[0, ids.shape[1] :].tolist():
        action, _ = agent.predict(observation, deterministic=True)
        assert int(action) == token
        observation, *_ = env.step(action)
