"""Following instructions, judged on models whose answers are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prefgym.data.prompts import PromptSet, instruction_prompts
from prefgym.data.templates import INSTRUCT
from prefgym.errors import InputError
from prefgym.evaluation.policies import instructions
from prefgym.evaluation.policies.instructions import follow, likeliest
from prefgym.models.forward import token_log_probs
from prefgym.models.language_model import LanguageModel, embedded_path


@pytest.fixture(scope="module")
def lm():
    try:
        embedded_path("pretrained")
    except InputError as missing:
        pytest.skip(str(missing))
    return LanguageModel.load("embedded/pretrained")


def test_the_likeliest_option_is_that_of_a_plain_reading(lm):
    rows = instruction_prompts("test", 6, families=["where", "yes_no_who"])
    options = [row["options"] for row in rows]
    expected = []
    for row, names in zip(rows, options, strict=True):
        prompt = lm.encode(INSTRUCT.render(row["prompt"]))
        scores = []
        for name in names:
            ids = torch.tensor([[*prompt, *lm.encode(f" {name}")]])
            mask = torch.ones_like(ids)
            width = ids.shape[1] - len(prompt)
            scores.append(token_log_probs(lm.model, ids, mask, width, lm.vocab_size).sum().item())
        expected.append(int(np.argmax(scores)))
    assert likeliest(lm, rows, options) == expected


def test_a_model_that_knows_the_answers_is_always_right_and_one_that_guesses_is_at_chance(lm, monkeypatch):
    """The log-probability of an option is replaced: by whether it is right, then by nothing."""
    rows = instruction_prompts("test", 40, families=["choose_who"])
    answers = {" " + row["reference"] for row in rows}
    monkeypatch.setattr(
        instructions, "_log_probs", lambda lm, batch: [float(lm.decode(e["response"]) in answers) for e in batch]
    )
    options = [[f"not {row['reference']}", row["reference"]] for row in rows]
    assert likeliest(lm, rows, options) == [1] * 40
    generator = np.random.default_rng(0)
    monkeypatch.setattr(instructions, "decode", lambda lm, rows, *given: SimpleNamespace(texts=[""] * len(rows)))
    monkeypatch.setattr(instructions, "_log_probs", lambda lm, batch: generator.random(len(batch)).tolist())
    found = follow(lm, ["choose_who", "count"], count=100)
    for following, chance in zip(found.values(), (0.5, 0.25), strict=True):
        assert following.chance == chance
        assert abs(following.chosen.mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / 100)


def test_written_answers_are_compared_with_every_accepted_one(lm, monkeypatch):
    written = SimpleNamespace(texts=["At the zoo!", "the gym"])
    rows = [{"prompt": "p", "reference": "at the zoo", "references": ["at the zoo"], "options": []}] * 2
    monkeypatch.setattr(instructions, "decode", lambda *given: written)
    monkeypatch.setattr(instructions, "instruction_prompts", lambda *given, **named: PromptSet(rows))
    (following,) = follow(lm, ["where"]).values()
    assert following.exact.tolist() == [1, 0]
    assert following.rouge_l[0] == 1
    assert following.rouge_l[1] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert following.chosen is following.chance is None


def test_an_unknown_family_names_the_nearest(lm):
    with pytest.raises(InputError, match='Did you mean "where"'):
        follow(lm, ["wher"])
