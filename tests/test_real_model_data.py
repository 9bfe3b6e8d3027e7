"""The data of the benchmark on a real model: divided, spoilt, and how one rater ranks beside the others."""

import pytest


def test_one_rater_is_compared_with_the_mean_of_the_others(benchmarks):
    """Two responses; the third rater ranks them the other way round, and the others of the first two then differ less
    than the gap: of the three comparisons only that of the third rater with the first two counts, and it is wrong."""
    from real_model_page import SIDES, one_rater

    def rows(*responses):
        return [{"id": "1"} | dict.fromkeys(SIDES, given) for given in responses]

    assert one_rater(rows([3, 3, 2], [2, 2, 3])) == "One rater ranks two summaries as the others do in 0.0 %."
    # the others lead by 0.5, 0.5 and 1; the third rater sees a tie
    assert one_rater(rows([3, 3, 3], [2, 2, 3])) == "One rater ranks two summaries as the others do in 83.3 %."


def test_a_spoilt_summary_is_another_text_of_the_kind_that_is_said(benchmarks):
    from spoilt import SPOIL, comparisons

    names = ("Ann", "Bob", "Cid", "Dot", "Eve", "Flo", "Gus", "Hal", "Ida", "Jim")
    rows = [
        {
            "dialogue": f"{a}: I have {n} red apples, do you want one?\n{b}: Yes, thank you very much, my friend.",
            "summary": f"{a} offers {b} one of {n} red apples. {b} takes it and says thanks.",
        }
        for n, (a, b) in enumerate((a, b) for a in names for b in names if a != b)
    ]
    found = comparisons(rows, seed=3, looks=("plain",))
    assert len(found) == len(rows)
    assert {row["kind"] for row in found} == set(SPOIL)
    assert found == comparisons(rows, seed=3, looks=("plain",)) != comparisons(rows, seed=4, looks=("plain",))
    words = {row["kind"]: [] for row in found}
    for row, source in zip(found, rows, strict=True):
        assert row["worse"] != row["better"] == source["summary"]
        words[row["kind"]].append((row["worse"].split(), row["better"].split()))
    for worse, better in words["other names"]:
        assert [w == b or w.strip(".") in names for w, b in zip(worse, better, strict=True)].count(True) == len(better)
    assert all(worse[:-1] == better[: len(worse) - 1] for worse, better in words["half"])
    assert all(worse[: len(better)] == better for worse, better in words["a sentence more"])
    assert all(worse[: len(better) // 2] == better[: len(better) // 2] for worse, better in words["two halves"])
    assert not any(set(worse) - set(better) for worse, better in words["broken"])


def test_how_a_summary_looks_says_nothing_about_which_is_better(benchmarks):
    """Each look is on both sides as often as it is drawn: 2 of 9 in lower case, 2 with spaces, 1 copied."""
    from spoilt import comparisons

    row = {
        "dialogue": "Ann: It is late, Bob.\nBob: I know.\nAnn: Come.\nBob: Soon.",
        "summary": "Ann asks Bob to come, as it is late. He says he will come soon.",
    }
    found = comparisons([row] * 900)
    for side in ("better", "worse"):
        texts = [one[side] for one in found]
        lower = sum(text == text.lower() for text in texts)
        spaced = sum(" ." in text and text != text.lower() for text in texts)
        lines = sum("Ann: " in text or "Bob: " in text for text in texts)
        assert [lower / 900, spaced / 900, lines / 900] == pytest.approx([2 / 9, 2 / 9, 1 / 9], abs=0.04)
    assert "ann asks bob to come , as it is late . he says he will come soon ." in [one["better"] for one in found]
    assert "Ann: It is late, Bob. Bob: I know. Ann: Come." in [one["better"] for one in found]


def test_anonymous_persons_get_one_name_each(benchmarks):
    from spoilt import comparisons

    row = {"dialogue": "#Person1#: Hello.\n#Person2#: Hello, #Person1#.", "summary": "#Person1# greets #Person2#."}
    (found, _) = comparisons([row, row], looks=("plain",))
    first, second = (line.partition(":")[0] for line in found["dialogue"].splitlines())
    assert first != second
    assert found["better"] == f"{first} greets {second}."
    assert found["dialogue"].endswith(f"Hello, {first}.")


def test_no_dialogue_is_on_two_sides_of_the_real_run(benchmarks, tmp_path, real_data):
    from real_model_data import COUNTS, HELD_OUT, check_apart, prepare

    folder = tmp_path / "data"
    prepare(real_data, folder)
    check_apart(folder)
    rows = {file.stem: file.read_text("utf-8").splitlines() for file in folder.rglob("*.jsonl")}
    assert (len(rows["pairs"]), len(rows["validation"])) == (COUNTS["pairs"], HELD_OUT)
    assert len(rows["reward"]) + len(rows["judge"]) == len(rows["ratings"])
    (folder / "judge.jsonl").write_text("\n".join([*rows["judge"], rows["reward"][0]]), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"A dialogue is in reward\.jsonl and in judge\.jsonl"):
        check_apart(folder)
