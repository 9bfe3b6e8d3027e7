"""Families of transformers, made small from their default configurations: read as by transformers itself, or refused.

Every run takes one family for each way to read and a tenth of the rest, another one each week.
``PREFGYM_FAMILIES=llama,gpt_neo`` names families instead, ``PREFGYM_FAMILIES=all`` takes every one. The long form is
``benchmarks/families.py``. A family that transformers adds later is among them by itself.
"""

import json
import os
import sys
import zlib
from datetime import date
from pathlib import Path

import pytest
import torch
import transformers

from prefgym.errors import InputError
from prefgym.models import accepts
from prefgym.models.encoder_decoder import is_encoder_decoder
from prefgym.models.examination import TOLERANCE, examine
from prefgym.models.forward import response_logits
from prefgym.models.paths import FAST, trust
from prefgym.models.trial_texts import make_texts
from prefgym.models.twin import NoTwin

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BATCH = {"llama": "left", "mamba": "left", "bart": "right", "gpt_neo": "left", "t5": "right"}
"""Every path; a state of its own; positions it counts itself; a window; an encoder."""
SEEN = {
    "shifted positions": {"llama", "gpt_neo"},
    "dropped mask": {"llama", "gpt_neo", "mamba", "t5"},
    "ignored window": {"gpt_neo"},
}
"""Where a fault makes a difference: some models count by themselves, and padding after a text is never attended to."""
PARTS, COLUMNS = 4, 32

pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="module")
def studied():
    """What the benchmark knows of families: makers of twins, and planted faults."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(BENCHMARKS)
        import families_faults
        import families_twins

        transformers.logging.set_verbosity_error()
        yield families_twins, families_faults


def turn(family):
    """In which of ten weeks a family is taken; a release of transformers mixes them anew."""
    return zlib.crc32(f"{family} {transformers.__version__}".encode()) % 10


def taken(every):
    """The families of this run, without ``BATCH``."""
    wanted = os.environ.get("PREFGYM_FAMILIES", "")
    if wanted:
        return list(every) if wanted == "all" else wanted.split(",")
    year, week, _ = date.today().isocalendar()
    return [family for family in every if turn(family) == (53 * year + week) % 10 and family not in BATCH]


def reads_alone(model, texts, row):
    """Log-probs (r, V) by a plain forward pass of one text."""
    options = accepts.taken(model, use_cache=False)
    prompt = texts.prompts[row // texts.samples][texts.prompt_mask[row // texts.samples]]
    response = texts.responses[row][texts.mask[row]]
    if is_encoder_decoder(model):
        start = torch.tensor([model.config.decoder_start_token_id])
        given = {"input_ids": prompt[None], "decoder_input_ids": torch.cat([start, response[:-1]])[None]}
        return model(**given, **options).logits[0].log_softmax(-1)
    logits = model(torch.cat([prompt, response])[None], **options).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)


def largest_difference(model):
    """Between what users get and a plain forward pass of each text alone, in nats."""
    texts = make_texts(model, COLUMNS)
    with torch.no_grad():
        tokens, mask = texts.rows
        found = response_logits(model, tokens, mask, texts.responses.shape[1], prompt_of=texts.prompt_of).log_softmax(
            -1
        )
        expected = [reads_alone(model, texts, row) for row in range(len(tokens))]
    return max(float((found[row, : len(each)] - each).abs().max()) for row, each in enumerate(expected))


def wrong_with(family, twins, faults):
    """What is wrong with how a family is read; empty if nothing is."""
    try:
        model = twins.make_family(family)
    except NoTwin as error:
        return "" if str(error).strip() else "it is not said why it cannot be built"
    found = examine(model, COLUMNS)
    if not faults.is_served(found):
        return ""  # users are told so
    trust(model, found.paths)
    try:
        difference = largest_difference(model)
    except InputError as error:
        return f"it is refused after all: {error}"
    return "" if difference <= TOLERANCE else f"it is off by {difference:.1e} nats"


@pytest.mark.parametrize("part", range(PARTS))
def test_families_of_the_week_are_read_as_by_transformers(part, studied):
    twins, faults = studied
    mine = taken(twins.every_family())[part::PARTS]
    wrong = {family: said for family in mine if (said := wrong_with(family, twins, faults))}
    assert not wrong


@pytest.fixture(scope="module")
def quick(studied, tmp_path_factory):
    """The quick form of the benchmark: what it says of each family, and its page."""
    import families

    folder = tmp_path_factory.mktemp("families")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["families.py", "--quick", "--output", str(folder)])
        families.main()
        before = (folder / "results.jsonl").read_text()
        families.main()  # nothing is left to do
    assert (folder / "results.jsonl").read_text() == before
    return {told["family"]: told for told in map(json.loads, before.splitlines())}, (folder / "README.md").read_text()


def test_one_family_of_each_path_is_served(quick):
    results, page = quick
    assert set(results) == set(BATCH)
    for family, told in results.items():
        figures = told["lengths"][str(COLUMNS)]
        assert figures["agrees"]
        assert figures["paths"]["batch"] == BATCH[family]
        assert figures["log_probs"] <= TOLERANCE
        assert f"| {family} | {BATCH[family]}" in page
    paths = {family: told["lengths"][str(COLUMNS)]["paths"] for family, told in results.items()}
    assert all(paths["llama"][name] for name in FAST if name != "own")
    assert paths["mamba"]["own"]
    assert not paths["mamba"]["rows"]


def test_planted_faults_are_seen_in_one_family_of_each_path(quick):
    results, _ = quick
    for fault, families in SEEN.items():
        for family, told in results.items():
            verdicts = set(told["planted"][fault].values())
            assert "missed" not in verdicts
            assert ("seen" in verdicts) == (family in families)


def test_every_tenth_is_taken_once_in_ten_weeks(studied, monkeypatch):
    twins, _ = studied
    monkeypatch.delenv("PREFGYM_FAMILIES", raising=False)
    every = twins.every_family()
    assert len(every) > 200
    assert {turn(family) for family in every} == set(range(10))
    assert 5 < len(taken(every)) < 45
    monkeypatch.setenv("PREFGYM_FAMILIES", "llama,mamba")
    assert taken(every) == ["llama", "mamba"]
