"""Readers of benchmark files: small files with known answers, byte for byte, and what is wrong with broken ones."""

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from prefgym.data import hub
from prefgym.data.benchmarks import READERS, Example, Task, read_suites
from prefgym.data.benchmarks import task as task_module
from prefgym.data.benchmarks.bbh import read_bbh
from prefgym.data.benchmarks.bigbench import read_bigbench
from prefgym.data.benchmarks.mmlu import read_mmlu
from prefgym.data.benchmarks.natural_instructions import read_natural_instructions
from prefgym.errors import InputError

ART = "   /\\_/\\\n  ( o.o )\n\n   > ^ <  \n\tWhat is it? "
"""A question in which white space means something."""


def write(path: Path, text: str | dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((text if isinstance(text, str) else json.dumps(text)).encode())
    return path


def the_task(folder: Path, **changes: Any) -> Task:
    """The one task of a BIG-bench folder whose ``task.json`` has these keys."""
    write(folder / "animals" / "task.json", bigbench(**changes))
    (task,) = read_bigbench(str(folder)).tasks
    return task


def bigbench(**changes: Any) -> dict[str, Any]:
    task: dict[str, Any] = {
        "name": "animals",
        "metrics": ["multiple_choice_grade"],
        "preferred_score": "multiple_choice_grade",
        "append_choices_to_input": False,
        "examples": [
            {"input": ART, "target_scores": {"cat": 1, "dog": 0}},
            {"input": "Pick both.", "target_scores": {"a": 1, "b": 1, "c": 0, "d": 0}},
            {"input": "How much?", "target_scores": {"all": 0.5, "some": 1, "none": 0}},
        ],
    }
    return {key: value for key, value in {**task, **changes}.items() if value is not None}


WRITTEN = {"metrics": ["exact_str_match", "bleu", "rouge"], "preferred_score": "exact_str_match"}


# MMLU


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    """Windows line ends, no last one, quoted new lines and commas, white space around a question."""
    write(tmp_path / "dev" / "fine_arts_dev.csv", 'One?,1,2,3,4,A\r\n"Two,\r\nor more? ",1,2,3,4,B')
    write(tmp_path / "dev" / "law_dev.csv", "Alone?,1,2,3,4,C")
    write(tmp_path / "test" / "fine_arts_test.csv", '"  What\n\n  is ""it""?\n",a,"b, c",d,e,D\r\nNext?,f,g,h,i,B')
    return tmp_path


def test_mmlu_prompts_are_the_files_bytes_between_the_ends_of_a_question(mmlu):
    (task,) = read_mmlu(str(mmlu)).tasks
    assert task.name == "mmlu/fine_arts"
    assert task.suite == "mmlu"
    about = "The following are multiple choice questions (with answers) about fine arts.\n\n"
    question = 'What\n\n  is "it"?\nA. a\nB. b, c\nC. d\nD. e\nAnswer:'
    assert task.context(0) == about + question
    shown = "One?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: A\n\n", "Two,\r\nor more?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: B\n\n"
    assert task.context(0, shots=1) == about + shown[0] + question
    assert task.context(0, shots=9) == about + "".join(shown) + question
    assert [task.shots_available(shots) for shots in (0, 1, 9)] == [0, 1, 2]
    assert [one.best for one in task.examples] == ["D", "B"]
    assert {one.chance for one in task.examples} == {0.25}


def test_mmlu_in_its_cloze_form_lists_no_option(mmlu):
    (task,) = read_suites({"mmlu": str(mmlu)}, None, "cloze").tasks
    assert (task.name, task.suite) == ("mmlu (cloze)/fine_arts", "mmlu (cloze)")
    about = "The following are questions (with answers) about fine arts.\n\n"
    question = 'Question: What\n\n  is "it"?\nAnswer:'
    assert task.context(0) == about + question
    assert task.context(0, shots=1) == f"{about}Question: One?\nAnswer: 1\n\n{question}"
    assert task.messages(0, shots=1) == [
        {"role": "system", "content": about},
        {"role": "user", "content": "Question: One?\nAnswer:"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": question},
    ]
    assert task.examples[0].options == ("a", "b, c", "d", "e")
    assert task.examples[0].worth == (0.0, 0.0, 0.0, 1.0)
    assert [(one.chance, one.longest) for one in task.examples] == [(0.25, 0.0), (0.25, 0.25)]


def test_both_forms_stand_next_to_each_other(mmlu):
    names = [task.name for task in read_suites({"mmlu": str(mmlu)}, None, "both").tasks]
    assert names == ["mmlu/fine_arts", "mmlu (cloze)/fine_arts"]
    assert [task.name for task in read_suites({"mmlu": str(mmlu)}).tasks] == names[:1]


def test_a_cloze_form_that_no_task_has_is_refused(tmp_path):
    write(tmp_path / "sums.json", {"examples": [{"input": "1 + 1", "target": "2"}]})
    for formulation in ("cloze", "both"):
        with pytest.raises(InputError, match=f"^formulation is {formulation}, but none of these tasks lists options"):
            read_suites({"bbh": str(tmp_path)}, None, formulation)


def test_a_subject_without_questions_is_named(mmlu):
    assert read_mmlu(str(mmlu)).unscored == {"mmlu/law": "it has demonstrations (dev) and no questions (test)"}


def test_mmlu_below_a_folder_called_data_and_without_demonstrations(tmp_path):
    write(tmp_path / "data" / "test" / "law_test.csv", "Q?,1,2,3,4,C")
    (task,) = read_mmlu(str(tmp_path)).tasks
    assert task.context(0, shots=5).endswith("law.\n\nQ?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:")
    assert task.shots_available(5) == 0


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("Next?,1,2,4,D", "Line 3 of {file} has 5 values, not 6: question, options A to D, answer."),
        ("Next?,1,2,,4,D", "Line 3 of {file} has no option C."),
        ("Next?,1,2,3,4,E", 'Line 3 of {file} has the answer "E", not one of A, B, C, D.'),
        ("Next?,1,2,3,4,", 'Line 3 of {file} has the answer "", not one of A, B, C, D.'),
        ('Next?,1,2,3,4,"A', "Broken CSV at line 3 of {file}: unexpected end of data."),
    ],
)
def test_a_broken_mmlu_row_is_named_by_its_line(tmp_path, row, told):
    file = write(tmp_path / "test" / "law_test.csv", f'"Two\nlines?",1,2,3,4,A\n{row}\n')
    with pytest.raises(InputError) as error:
        read_mmlu(str(tmp_path))
    assert str(error.value) == told.format(file=file)


def hub_row(**changes: Any) -> dict[str, Any]:
    return {"question": " Q?\n", "subject": "law", "choices": ["1", "2", "3", "4"], "answer": 2, **changes}


def test_mmlu_of_the_hub_reads_as_the_files_do(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.HubDataset, "read", lambda self, split: [hub_row(), hub_row(subject="art")])
    law, art = read_mmlu("cais/mmlu").tasks
    assert (law.name, art.name) == ("mmlu/law", "mmlu/art")
    write(tmp_path / "test" / "law_test.csv", '" Q?\n",1,2,3,4,C')
    (task,) = read_mmlu(str(tmp_path)).tasks
    assert law.context(0) == task.context(0)
    assert law.examples == task.examples
    assert law.shots_available(5) == 1


@pytest.mark.parametrize("changes", [{"answer": 4}, {"choices": ["1", "2"]}, {"question": None}])
def test_a_hub_row_that_is_no_question_is_named(monkeypatch, changes):
    monkeypatch.setattr(hub.HubDataset, "read", lambda self, split: [hub_row(), hub_row(**changes)])
    with pytest.raises(InputError, match=r"^Row 2 of cais/mmlu (has the answer 4|is not an MMLU question)"):
        read_mmlu("cais/mmlu")


# BIG-bench


def test_bigbench_prompts_are_the_files_bytes(tmp_path):
    task = the_task(tmp_path, task_prefix="Look.\n\n", example_input_prefix="\nS: ", example_output_prefix="\nIs ")
    assert task.name == "bigbench/animals"
    assert task.context(0) == f"Look.\n\n\nS: {ART}\nIs "
    assert the_task(tmp_path).context(0) == f"\nQ: {ART}\nA: "
    write(tmp_path / "animals" / "task.json", bigbench() | {"task_prefix": None, "choice_prefix": None})
    assert read_bigbench(str(tmp_path)).tasks[0].context(0) == f"\nQ: {ART}\nA: "


def test_the_chance_is_that_of_the_options_there_are(tmp_path):
    task = the_task(tmp_path)
    assert [one.options for one in task.examples] == [("cat", "dog"), ("a", "b", "c", "d"), ("all", "some", "none")]
    assert [one.chance for one in task.examples] == [0.5, 0.5, 0.5]
    assert [one.best for one in task.examples] == ["cat", "a", "some"]


def test_appended_choices_are_shuffled_the_same_way_each_time(tmp_path):
    examples = [{"input": f"{i}", "target_scores": {"right": 1, "wrong": 0, "bad": 0}} for i in range(60)]
    task = the_task(tmp_path, append_choices_to_input=None, examples=examples, choice_prefix="\n- ")
    again = the_task(tmp_path, append_choices_to_input=True, examples=examples, choice_prefix="\n- ")
    prompts = [one.prompt for one in task.examples]
    assert prompts == [one.prompt for one in again.examples]
    assert prompts[0].startswith("\nQ: 0\n- ")
    first = [prompt.split("\n- ")[1] for prompt in prompts]
    assert {"right": 0, "wrong": 0, "bad": 0}.keys() == set(first)
    assert 8 <= first.count("right") <= 32  # 20 expected
    assert all(sorted(prompt[:-4].split("\n- ")[1:]) == ["bad", "right", "wrong"] for prompt in prompts)


def test_demonstrations_never_hold_the_question_itself(tmp_path):
    """Files repeat inputs, with other right answers too."""
    examples = [{"input": f"{i % 3}", "target_scores": {f"yes{i}": 1, "no": 0}} for i in range(9)]
    task = the_task(tmp_path, examples=examples, few_shot_example_separator="|")
    for index in range(9):
        for seed in range(4):
            *shown, question = task.context(index, 6, seed).split("|")
            assert len(shown) == 6
            assert question == f"\nQ: {index % 3}\nA: "
            assert not any(text.startswith(question) for text in shown)
            assert all("A: yes" in text for text in shown)
    assert task.context(0, 2, seed=0) == task.context(0, 2, seed=0)
    assert len({task.context(0, 2, seed) for seed in range(8)}) > 1
    assert (task.shots_available(6), task.shots_available(7), task.shots_available(0)) == (6, 6, 0)
    assert task.context(0, 7).count("|") == 6


def test_written_tasks_have_their_own_metrics_and_ends(tmp_path):
    examples = [{"input": "2 + 2?", "target": "4"}, {"input": "A number?", "target": ["5", "6"]}]
    task = the_task(tmp_path, examples=examples, **WRITTEN)
    assert task.metrics == ("exact_str_match", "bleu", "rougeLsum", "rouge1", "rouge2")
    assert task.unmeasured == ()
    assert [one.answers for one in task.examples] == [("4",), ("5", "6")]
    assert [one.chance for one in task.examples] == [0.0, 0.0]
    assert task.said(" 4\nQ: what else") == "4"
    assert task.said("?!") == ""
    stopped = the_task(tmp_path, examples=examples, **WRITTEN, stop_string="END", output_regex=r"is (\d+)")
    assert stopped.said("It is 4. END of it is 5") == "4"
    assert stopped.said("END It is 4.") == ""


def test_metrics_that_are_not_measured_are_named(tmp_path):
    both = {"metrics": ["exact_str_match", "bleurt", "multiple_choice_grade"], "preferred_score": None}
    task = the_task(tmp_path, examples=[{"input": "a", "target": "b"}], **both)
    assert (task.metrics, task.unmeasured) == (("exact_str_match",), ("bleurt", "multiple_choice_grade"))
    preferred = the_task(tmp_path, examples=[{"input": "a", "target": "b"}], metrics=["bleu"], preferred_score="rouge")
    assert preferred.metrics == ("rougeLsum", "rouge1", "rouge2", "bleu")


def test_the_usual_cut_does_not_cut_a_right_answer(tmp_path):
    examples = [{"input": "Pi?", "target": "3.1"}, {"input": "Two lines?", "target": "a\nb"}]
    task = the_task(tmp_path, examples=examples, stop_string="\n", **WRITTEN)
    assert task.stop == ()
    for one in task.examples:
        assert task.said(one.best) == one.best
    assert the_task(tmp_path, examples=examples, **WRITTEN).said("3.1") == "3.1"


def test_only_examples_with_the_preferred_score_are_scored(tmp_path):
    mixed = [{"input": "a", "target": "b"}, {"input": "c", "target_scores": {"d": 1, "e": 0}, "target": "d"}]
    chosen = the_task(tmp_path, examples=mixed)
    assert (len(chosen.examples), chosen.left_out) == (1, 1)
    written = the_task(tmp_path, examples=mixed, **WRITTEN)
    assert (len(written.examples), written.left_out) == (2, 0)
    assert "choice" not in written.examples[1].prompt
    shown = the_task(tmp_path, examples=mixed, **WRITTEN, append_choices_to_input=True)
    assert "\n  choice: d" in shown.examples[1].prompt


def test_what_cannot_be_scored_is_named(tmp_path):
    write(tmp_path / "good" / "task.json", bigbench())
    write(tmp_path / "learned" / "task.json", bigbench(metrics=["bleurt"], preferred_score="bleurt"))
    write(tmp_path / "games" / "chess" / "task.py", "")
    too_much = [{"input": "a", "target_scores": {"b": 3, "c": 0}}]
    write(tmp_path / "scaled" / "task.json", bigbench(examples=too_much))
    write(tmp_path / "silent" / "task.json", bigbench(examples=[{"input": "a", "target_scores": {"": 1, "c": 0}}]))
    write(tmp_path / "none" / "task.json", bigbench(examples=[{"input": "a", "target": "b"}]))
    suite = read_bigbench(str(tmp_path))
    assert [task.name for task in suite.tasks] == ["bigbench/good"]
    assert suite.unscored == {
        "bigbench/learned": 'its preferred score is "bleurt", which is not computed here',
        "bigbench/games/chess": "it is a program (task.py), and benchmark code is not run",
        "bigbench/scaled": "examples[0].target_scores gives 3, which is not a share of a right answer (0 to 1)",
        "bigbench/silent": "examples[0].target_scores has an empty option, whose likelihood means nothing",
        "bigbench/none": 'its preferred score is "multiple_choice_grade" and no example has "target_scores"',
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"examples": None}, 'the file has no "examples"; its keys are name, metrics'),
        ({"examples": []}, "examples is empty."),
        ({"examples": {}}, "examples must be an array, not an object."),
        ({"examples": ["a"]}, "examples[0] must be an object, not text."),
        (
            {"examples": [{"input": "a", "target_score": {}}]},
            'examples[0] has no "target_scores"; its keys are input, target_score. Did you mean "target_score"?',
        ),
        ({"examples": [{"target_scores": {"a": 1}}]}, 'examples[0] has no "input"'),
        ({"examples": [{"input": 3, "target_scores": {"a": 1}}]}, "examples[0].input must be text, not a number."),
        ({"examples": [{"input": "a", "target_scores": ["b"]}]}, "examples[0].target_scores must be an object, not an"),
        ({"examples": [{"input": "a", "target_scores": {}}]}, "examples[0].target_scores is empty."),
        ({"examples": [{"input": "a", "target_scores": {"b": "1"}}]}, "must give a number for \"b\", not '1'."),
        ({"examples": [{"input": "a", "target": 4}], **WRITTEN}, "examples[0].target must be text, or an array of"),
        ({"examples": [{"input": "a", "target": []}], **WRITTEN}, "examples[0].target is empty."),
        ({"metrics": None}, 'the file has no "metrics"'),
        (
            {"preferred_score": "multiple_choice_grad"},
            'preferred_score names the metric "multiple_choice_grad", which BIG-bench does not have. Did you mean '
            '"multiple_choice_grade"?',
        ),
        ({"metrics": ["exact_match"]}, 'metrics names the metric "exact_match", which BIG-bench does not have.'),
        ({"task_prefix": 1}, "task_prefix must be text, not a number."),
        ({"append_choices_to_input": "no"}, "append_choices_to_input must be true or false, not text."),
        (
            {"examples": [{"input": "a", "target": "b"}], "output_regex": "(", **WRITTEN},
            "output_regex is not a regular expression: ",
        ),
    ],
)
def test_a_malformed_task_is_named_by_its_key(tmp_path, changes, told):
    file = write(tmp_path / "animals" / "task.json", bigbench(**changes))
    with pytest.raises(InputError) as error:
        read_bigbench(str(tmp_path))
    assert str(error.value).startswith(f"{file}: ")
    assert told in str(error.value)


# BIG-Bench-Hard


def test_bbh(tmp_path):
    examples = [{"input": ART, "target": "(A)"}, {"input": "Sort: b a", "target": "a b"}]
    write(tmp_path / "bbh" / "sorting.json", {"canary": "", "examples": examples})
    (task,) = read_bbh(str(tmp_path)).tasks
    assert task.name == "bbh/sorting"
    assert task.context(0) == f"Q: {ART}\nA:"
    assert task.context(0, shots=1) == f"Q: Sort: b a\nA: a b\n\nQ: {ART}\nA:"
    assert task.said(" (A)\n\nQ: and then") == "(A)"
    assert task.said(" (A) Q: and then") == "(A)"
    assert task.metrics == ("exact_str_match",)
    assert read_bbh(str(tmp_path / "bbh")).tasks == (task,)


LISTED = "Which?\nOptions:\n(A) a cat\n(B) Yes, (A) dog"


@pytest.mark.parametrize(
    ("rows", "options", "right"),
    [
        ([(LISTED, "(B)")], ("a cat", "Yes, (A) dog"), (0.0, 1.0)),
        ([("Which?\nOptions:\n- Yes\n- No", "Yes")], ("Yes", "No"), (1.0, 0.0)),
        ([("Which?\nOptions:\n- Yes\n- No\n", "No")], ("Yes", "No"), (0.0, 1.0)),
    ],
)
def test_bbh_in_its_cloze_form(tmp_path, rows, options, right):
    write(tmp_path / "a.json", {"examples": [{"input": text, "target": target} for text, target in rows]})
    (task,) = read_suites({"bbh": str(tmp_path)}, None, "cloze").tasks
    assert task.name == "bbh (cloze)/a"
    assert task.context(0) == "Q: Which?\nA:"
    assert (task.examples[0].options, task.examples[0].worth) == (options, right)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Which?", "(A)"),
        (LISTED, "(C)"),
        (LISTED, "a cat"),
        ("Which?\nOptions:\n(A) a cat\nor a dog", "(A)"),
        ("Which?\nOptions:\n(A) a cat\n\nTell me.", "(A)"),
    ],
)
def test_a_bbh_task_with_a_question_that_lists_no_options_has_no_cloze_form(tmp_path, text, target):
    rows = [{"input": LISTED, "target": "(A)"}, {"input": text, "target": target}]
    write(tmp_path / "a.json", {"examples": rows})
    assert read_bbh(str(tmp_path)).tasks[0].cloze is None
    write(tmp_path / "a.json", {"examples": rows[:1]})
    assert read_bbh(str(tmp_path)).tasks[0].cloze is not None


def test_bigbench_in_its_cloze_form_appends_no_choices(tmp_path):
    task = the_task(tmp_path, append_choices_to_input=True)
    assert "\n  choice: cat" in task.context(0)
    assert task.cloze is not None
    assert task.cloze.name == "bigbench (cloze)/animals"
    assert task.cloze.context(0) == f"\nQ: {ART}\nA: "
    assert [one.options for one in task.cloze.examples] == [one.options for one in task.examples]
    assert the_task(tmp_path, examples=[{"input": "a", "target": "b"}], **WRITTEN).cloze is None


def test_an_end_that_stands_in_an_answer_is_none(tmp_path):
    write(tmp_path / "a.json", {"examples": [{"input": "?", "target": "Q: is a letter"}]})
    (task,) = read_bbh(str(tmp_path)).tasks
    assert task.said("Q: is a letter\n\nand more") == "Q: is a letter"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"examples": [{"input": "a"}]}', 'examples[0] has no "target"; its keys are input.'),
        ('{"examples": [{"input": "a", "target": true}]}', "examples[0].target must be text, or an array of texts."),
        ('{"examples": [\n{"input": "a", "target": "b"},]}', "Broken JSON at line 2 of"),
        ("[1]", "the file must be an object, not an array."),
        ("", "is empty."),
    ],
)
def test_a_malformed_bbh_file_is_named(tmp_path, text, told):
    file = write(tmp_path / "a.json", text)
    with pytest.raises(InputError) as error:
        read_bbh(str(tmp_path))
    assert str(file) in str(error.value)
    assert told in str(error.value)


# Super-NaturalInstructions


def instructions(**changes: Any) -> dict[str, Any]:
    task = {
        "Definition": ["Name the capital."],
        "Positive Examples": [{"input": "France", "output": "Paris", "explanation": "It is."}],
        "Negative Examples": [],
        "Instances": [{"id": "1", "input": ART, "output": ["Rome", "Roma"]}, {"id": "2", "input": "UK", "output": "L"}],
    }
    return {key: value for key, value in {**task, **changes}.items() if value is not None}


def test_natural_instructions_and_the_draft_format(tmp_path):
    write(tmp_path / "tasks" / "task1_capitals.json", instructions())
    draft = instructions(**{"Definition": "Name the capital.", "Positive Examples": None, "Categories": ["Misc."]})
    write(tmp_path / "drafts" / "task2_capitals.json", draft)
    second, first = read_natural_instructions(str(tmp_path)).tasks
    assert (first.name, second.name) == (
        "natural-instructions/task1_capitals",
        "natural-instructions/task2_capitals",
    )
    question = f"Input: {ART}\nOutput:"
    assert first.context(0) == second.context(0) == f"Definition: Name the capital.\n\n{question}"
    shown = "Input: France\nOutput: Paris\n\n"
    assert first.context(0, shots=2) == f"Definition: Name the capital.\n\n{shown}{question}"
    assert second.context(0, shots=2) == second.context(0)
    assert [one.answers for one in first.examples] == [("Rome", "Roma"), ("L",)]
    assert first.metrics == ("rouge_l", "exact_match")
    assert first.said(" Rome\nInput: Spain") == "Rome"


def test_two_files_of_one_name_are_two_tasks(tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder / "task1.json", instructions())
    write(tmp_path / "b" / "task2.json", instructions())
    names = [task.name for task in read_natural_instructions(str(tmp_path)).tasks]
    assert names == [f"natural-instructions/{name}" for name in ("a/task1", "b/task1", "task2")]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Definition": None}, 'No key "Definition" in {file}'),
        ({"Definition": []}, 'Key "Definition" of {file} is empty'),
        ({"Instances": None}, 'No key "Instances" in {file}'),
        ({"Instances": [{"input": "a"}]}, 'No key "output" in entry 1 of "Instances" in {file}; its keys are input.'),
        ({"Instances": [{"input": "a", "output": [1]}]}, 'Key "output" of entry 1 of "Instances" in {file} holds'),
        ({"Positive Examples": [{"input": "a"}]}, 'No key "output" in entry 1 of "Positive Examples" in {file}'),
    ],
)
def test_a_malformed_instruction_file_is_named_by_its_key(tmp_path, changes, told):
    file = write(tmp_path / "task1.json", instructions(**changes))
    with pytest.raises(InputError) as error:
        read_natural_instructions(str(tmp_path))
    assert str(error.value).startswith(told.format(file=file))


# all


@pytest.mark.parametrize("suite", READERS)
def test_a_folder_that_is_not_there_or_holds_nothing_is_named(tmp_path, suite):
    (tmp_path / "bench").mkdir()
    with pytest.raises(InputError, match=r'There is no folder .*benhc\. Did you mean "bench"\?'):
        READERS[suite](str(tmp_path / "benhc"))
    with pytest.raises(InputError, match="bench holds no benchmark file"):
        READERS[suite](str(tmp_path / "bench"))


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(task_module)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_stop_in_the_middle_of_an_answer_ends_it():
    task = Task("a/b", ("exact_str_match",), (Example("?", answers=("x",)),), stop=("\n\n", "Q:"))
    assert task.said("  x y \n\n z") == "x y"


REAL = {
    "mmlu": ("mmlu", 4, 25, 478),
    "bigbench": ("bigbench", 4, 0, 1859),
    "bbh": ("bigbench/bbh", 8, 0, 1937),
    "natural-instructions": ("natural-instructions", 11, 0, 2028),
}


@pytest.mark.parametrize("suite", REAL)
def test_the_real_files(real_data, suite):
    folder, tasks, unscored, examples = REAL[suite]
    read = READERS[suite](str(real_data / folder))
    assert len(read.tasks) == tasks
    assert len(read.unscored) == unscored
    assert sum(len(task.examples) for task in read.tasks) == examples
    for task in read.tasks:
        for one in task.examples:
            assert task.said(one.best) == one.best.strip() or one.options
            assert 0 <= one.chance < 1


def test_real_options_vary_in_number(real_data):
    tasks = {task.name: task for task in read_bigbench(str(real_data / "bigbench")).tasks}
    dates = tasks["bigbench/task_json/date_understanding"]
    assert {len(one.options) for one in dates.examples} == {5, 6}
    objects = tasks["bigbench/task_json/logical_deduction_three_objects"]
    assert len({one.prompt for one in objects.examples}) == 100 < len(objects.examples) == 300
