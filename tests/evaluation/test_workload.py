"""The counts of an evaluation's work are those of an evaluation."""

import pytest

from prefgym.evaluation.policies import decode, evaluate
from prefgym.evaluation.policies.workload import workload


@pytest.mark.parametrize("validation", [0, 2])
def test_the_counts_are_those_of_an_evaluation(validation, start, trained, prompts, settings, monkeypatch):
    counts = {"asked": 0, "written": 0, "read": 0, "scored": 0}
    generate, log_probs = decode.generate, decode._log_probs

    def counting(model, tokens, mask, **options):
        written = generate(model, tokens, mask, **options)
        counts["asked"] += len(tokens)
        counts["written"] += len(written.tokens)
        return written

    def reading(responses, *rest):
        counts["read"] += len(responses)
        return log_probs(responses, *rest)

    def length(prompts, completions, **_):
        counts["scored"] += len(completions)
        return [float(len(text)) for text in completions]

    monkeypatch.setattr(decode, "generate", counting)
    monkeypatch.setattr(decode, "_log_probs", reading)
    given = prompts[:3]
    evaluate.evaluate_policies(
        {"trained": trained},
        start,
        given,
        reference=start.view(),
        rewards={"length": length},
        validation=prompts[3 : 3 + validation] if validation else None,
        settings=settings,
    )
    expected = workload(policies=1, prompts=len(given), validation=validation)
    assert counts["scored"] <= expected.scored
    assert (counts["asked"], counts["written"], counts["read"]) == (expected.asked, expected.written, expected.read)
