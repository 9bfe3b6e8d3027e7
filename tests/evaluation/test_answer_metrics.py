"""What a written answer is worth, on answers whose worth is known."""

import pytest

from prefgym.evaluation.benchmarks.answer_metrics import ANSWER_METRICS


@pytest.mark.parametrize("metric", ANSWER_METRICS)
def test_the_best_of_the_right_answers_counts(metric):
    value = ANSWER_METRICS[metric]
    if metric == "bleu":
        pytest.importorskip("sacrebleu")
    text = "the cat sat on the mat"
    assert value(text, [text]) == pytest.approx(1)
    assert value(text, ["no", text, "other words"]) == pytest.approx(1)
    assert value("nothing of it", [text]) == pytest.approx(0, abs=1e-6)
    assert value("", [text]) == 0


def test_rouge_of_a_half_right_answer():
    """3 of the 4 words of the answer stand in the 5 of the right one, in order: 2 · 3 / (4 + 5)."""
    text, right = "a blue cat sat", ["a cat sat down there"]
    for metric in ("rouge_l", "rougeL", "rouge1", "rougeLsum"):
        assert ANSWER_METRICS[metric](text, right) == pytest.approx(6 / 9)
    assert ANSWER_METRICS["rouge2"](text, right) == pytest.approx(2 / 7)  # one pair of words of 3 and 4


def test_exact_matches_differ_in_strictness():
    assert ANSWER_METRICS["exact_match"]("The Cat!", ["the cat"]) == 1
    assert ANSWER_METRICS["exact_str_match"]("The Cat!", ["the cat"]) == 0
    assert ANSWER_METRICS["exact_str_match"](" the cat\n", ["the cat"]) == 1


def test_bleu_of_a_known_sentence():
    """4-gram precisions 1, 1, 1, 1 and the brevity penalty exp(1 - 6/5)."""
    pytest.importorskip("sacrebleu")
    assert ANSWER_METRICS["bleu"]("the cat sat on the", ["the cat sat on the mat"]) == pytest.approx(0.8187, abs=1e-4)
