"""Data handed over in Python: every kind of object gives the rows it holds, or one sentence."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from prefgym.data.comparisons import load_comparisons
from prefgym.data.given import is_missing, read_given
from prefgym.data.pairs import load_pairs
from prefgym.data.prompts import PromptSet, load_prompts, resolve_prompts
from prefgym.data.tables import read_table
from prefgym.data.text_pairs import load_text_pairs
from prefgym.errors import InputError

ROWS = [{"prompt": f"post {i}", "reference": f"short {i}", "n": i} for i in range(3)]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
DATA = datasets.Dataset.from_list(ROWS)
OTHER = datasets.Dataset.from_list([{"prompt": "other", "reference": "o", "n": 9}])
TALK = [{"role": "user", "content": "Why?"}]
ANSWER = [{"role": "assistant", "content": "So."}]


class FakeFrame:
    """What is asked of a Polars ``DataFrame``."""

    def iter_rows(self, named):
        assert named
        return iter(ROWS)


FakeFrame.__module__, FakeFrame.__name__ = "polars.dataframe.frame", "DataFrame"


class FakeLazy:
    def collect(self):
        return FakeFrame()


FakeLazy.__module__, FakeLazy.__name__ = "polars.lazyframe.frame", "LazyFrame"

SAME = {
    "list": ROWS,
    "tuple": tuple(ROWS),
    "generator": lambda: (row for row in ROWS),
    "columns": COLUMNS,
    "columns of arrays": {name: np.array(column) for name, column in COLUMNS.items()},
    "columns of Series": {name: pd.Series(column) for name, column in COLUMNS.items()},
    "DataFrame": pd.DataFrame(ROWS),
    "DataFrame with an index": pd.DataFrame(ROWS, index=["x", "y", "z"]),
    "DataFrame of Arrow": pd.DataFrame(ROWS).convert_dtypes(dtype_backend="pyarrow"),
    "Dataset": DATA,
    "Dataset as torch": DATA.with_format("torch"),
    "Dataset as pandas": DATA.with_format("pandas"),
    "shuffled Dataset": DATA.select([2, 1, 0]).select([2, 1, 0]),
    "DatasetDict": datasets.DatasetDict(train=DATA, test=OTHER),
    "dict of Datasets": {"train": DATA, "test": OTHER},
    "dict of DataFrames": {"training": pd.DataFrame(ROWS), "dev": pd.DataFrame(ROWS[:1])},
    "Arrow table": pa.Table.from_pylist(ROWS),
    "record batch": pa.RecordBatch.from_pylist(ROWS),
    "Polars": FakeFrame(),
    "lazy Polars": FakeLazy(),
}


@pytest.mark.parametrize("kind", SAME)
def test_every_kind_gives_the_same_rows(kind):
    given = SAME[kind]() if kind == "generator" else SAME[kind]
    assert [dict(row) for row in read_given(given, "the prompts given").rows] == ROWS
    given = SAME[kind]() if kind == "generator" else SAME[kind]
    rows = list(resolve_prompts(given, None))
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    assert {type(row["n"]) for row in rows} == {int}


@pytest.mark.parametrize(
    "given",
    [["a", "b"], ("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"], index=[5, 6]), iter(["a", "b"])],
)
def test_texts_are_prompts(given):
    prompts = resolve_prompts(given)
    assert [(type(row["prompt"]), row["prompt"], row["reference"]) for row in prompts] == [
        (str, "a", None),
        (str, "b", None),
    ]


def test_a_dataset_of_several_tables_gives_its_split():
    given = datasets.DatasetDict(train=DATA, dev=OTHER)
    assert [row["prompt"] for row in resolve_prompts(given, "validation")] == ["other"]
    assert len(load_prompts(given)) == 3
    named = datasets.DatasetDict(train_sft=DATA, test_sft=OTHER)
    assert [row["prompt"] for row in load_prompts(named, split="test_sft")] == ["other"]
    with pytest.raises(InputError, match=r"prompts given have no split train, only train_sft, test_sft; hand over one"):
        load_prompts(named)
    assert len(load_prompts(datasets.DatasetDict(only=DATA))) == 3
    many = datasets.Dataset.from_list([{"prompt": f"p{i}"} for i in range(30)])
    assert len(resolve_prompts(datasets.DatasetDict(train=many), "train")) == 30
    with pytest.raises(InputError, match="have no split validation, only train; hand over one"):
        resolve_prompts(datasets.DatasetDict(train=many), "validation")


@pytest.mark.parametrize("none", [None, float("nan"), np.float32("nan"), np.nan, pd.NA, pd.NaT])
def test_a_missing_reference_is_none_and_never_a_word(none):
    rows = [{"prompt": "a", "reference": "b"}, {"prompt": "c", "reference": none}, {"prompt": "d"}]
    assert is_missing(none)
    for given in (rows, pd.DataFrame(rows), {"prompt": ["a", "c", "d"], "reference": ["b", none, None]}):
        assert [row["reference"] for row in resolve_prompts(given)] == ["b", None, None]
    with pytest.raises(InputError, match='Column "prompt" at row 2 of the prompts given holds null, not text'):
        resolve_prompts([{"prompt": "a"}, {"prompt": none}])


def test_a_column_of_several_numbers_stays_as_it_is():
    array = np.array([1.0, 2.0])
    assert resolve_prompts([{"prompt": "a", "weights": array}])[0]["weights"] is array
    frame = pd.DataFrame({"prompt": ["a"], "talk": [np.array([{"role": "user"}], dtype=object)]})
    assert resolve_prompts(frame)[0]["talk"] == [{"role": "user"}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, "The prompts given are an int; give a list of texts or dicts, a dict of columns, a DataFrame"),
        (b"a", "are a bytes; give a list"),
        ({"a", "b"}, "are a set; give a list"),
        (np.array([["a"]]), "are a ndarray; give a list"),
        (object(), "are an object; give a list"),
        ({"prompt": "a"}, 'are a dict whose "prompt" is a str, not a column'),
        ({"prompt": ["a"], "reference": []}, "different lengths: prompt has 1, reference has 0"),
        (["a", 5], "Row 2 of the prompts given is an int, neither a text nor a dict"),
        ([["a"]], "Row 1 of the prompts given is a list"),
        ([float("nan")], "Row 1 of the prompts given is a float"),
        (pd.DataFrame([["a", "b"]], columns=["prompt", "prompt"]), 'have the column "prompt" twice'),
        (pd.DataFrame({"prompt": []}), "There are no prompts in the DataFrame given"),
        (pd.DataFrame({"text": ["a"]}), 'No column "prompt" in the prompts given; its columns are text'),
        (datasets.Dataset.from_list(ROWS).to_iterable_dataset(), r"IterableDataset.* as list\(data.take\(1000\)\)"),
        (datasets.DatasetDict(), "have no split train, only none"),
        (pa.table([["a"], ["b"]], names=["prompt", "prompt"]), 'names the column "prompt" twice'),
        ([{"prompt": "half \ud83d"}], "half a character"),
    ],
)
def test_anything_else_is_one_sentence(given, message):
    with pytest.raises(InputError, match=message) as refused:
        resolve_prompts(given)
    assert "\n" not in str(refused.value)


def test_a_stream_is_read_as_far_as_asked():
    assert len(read_table(DATA.to_iterable_dataset(), limit=2)) == 2


def test_pairs_comparisons_and_texts_are_taken_too():
    frame = pd.DataFrame({"instruction": ["Sing.", "Name it."], "input": [None, "cat"], "output": ["La", "Tom"]})
    assert [pair.response for pair in load_pairs(frame)] == [" La", " Tom"]
    assert load_pairs(frame) == load_pairs(frame.to_dict("list")) == load_pairs(datasets.Dataset.from_pandas(frame))
    assert [pair.task for pair in load_pairs(frame.assign(task=[float("nan"), "b"]))] == ["", "b"]
    both = pd.DataFrame({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"], "margin": [float("nan")]})
    [comparison] = load_comparisons(datasets.DatasetDict(train=datasets.Dataset.from_pandas(both)))
    assert (comparison.prompt, comparison.chosen, comparison.margin) == ("p", "a", 0.0)
    [judged] = load_comparisons(both.assign(annotator=[float("nan")], group=[None]), group_column="group")
    assert (judged.annotator, judged.group) == (None, "p")
    [texts] = load_text_pairs([{"prompt": "p", "first": "a", "second": "b"}])
    assert texts.second == "b"
    with pytest.raises(InputError, match="The comparisons given are an int"):
        load_comparisons(3)


def test_rows_of_other_names_are_mapped():
    nested = [{"meta": {"text": "a"}, "out": {"best": "b"}}, {"meta": {"text": "c"}, "out": {}}]
    for given in (nested, datasets.Dataset.from_list(nested)):
        prompts = load_prompts(given, "meta.text", "out.best")
        assert [(row["prompt"], row["reference"]) for row in prompts] == [("a", "b"), ("c", None)]


def test_a_prompt_set_is_itself():
    prompts = PromptSet(ROWS)
    assert resolve_prompts(prompts) is prompts
