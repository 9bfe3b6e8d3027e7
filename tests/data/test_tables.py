import json

import pytest

from prefgym.data import hub
from prefgym.data.tables import read_table
from prefgym.errors import InputError

ROWS = [{"prompt": "Ä post,\nof two lines", "reference": 'a "short" one'}, {"prompt": "b", "reference": "c"}]
JSONL = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", JSONL),
        ("a.jsonl", "\ufeff" + JSONL.replace("\n", "\r\n") + "\r\n\r\n"),
        ("a.jsonl", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.json", JSONL),
        ("a.json", json.dumps({"data": ROWS})),
        ("a.json", json.dumps({"name": "task", "Examples": ROWS}, indent=1)),
        ("a.csv", 'prompt,reference\n"Ä post,\nof two lines","a ""short"" one"\nb,c\n'),
        ("a.csv", '\ufeffprompt,reference\r\n"Ä post,\nof two lines","a ""short"" one"\r\n\r\nb,c'),
        ("a.tsv", 'prompt\treference\n"Ä post,\nof two lines"\t"a ""short"" one"\nb\tc\n'),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path, name, text):
    table = read_table(write(tmp_path, name, text))
    assert list(table.rows) == ROWS
    assert table.columns == ("prompt", "reference")
    assert len(read_table(tmp_path / name, limit=1)) == 1


def test_parquet(tmp_path):
    from datasets import Dataset

    Dataset.from_list(ROWS).to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert list(table.rows) == ROWS
    assert table.texts("reference") == [row["reference"] for row in ROWS]
    assert len(read_table(tmp_path / "a.parquet", limit=1)) == 1
    with pytest.raises(InputError, match=r'No column "refrence".*Did you mean "reference"'):
        table.texts("refrence")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", " \n ", "a.jsonl is empty"),
        ("a.json", "[]", "a.json holds no rows"),
        ("a.csv", "prompt,reference\n", "a.csv holds no rows"),
        ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"\n{"prompt": "c"}', "Broken JSON at line 3 of .*a.jsonl"),
        ("a.jsonl", '{"prompt": "a\n{"prompt": "c"}', "Broken JSON at line 1 of .*a.jsonl"),
        ("a.json", '[\n {"prompt": "a"},\n {"prompt": }\n]', "Broken JSON at line 3 of .*a.json"),
        ("a.json", '{\n "data": [\n  {"prompt": "a",}\n ]\n}', "Broken JSON at line 3 of .*a.json"),
        ("a.json", "[" * 100_000, "Broken JSON in .*a.json: nested too deeply"),
        ("a.jsonl", '{"prompt": "a"}\n["b"]', "Line 2 of .*a.jsonl is an array"),
        ("a.json", '[{"prompt": "a"}, 3]', "Row 2 of .*a.json is a number"),
        ("a.json", '{\n "prompts": 3\n}', "holds one JSON object without rows"),
        ("a.json", '"text"', "holds a single JSON value"),
        ("a.csv", 'prompt,reference\na,b\n"c,d\n', "Broken CSV at line 3 of .*a.csv"),
        ("a.csv", 'prompt,reference\n"a\nb",c\nd\n', "Line 4 of .*a.csv has 1 values for 2 columns"),
        ("a.csv", "prompt,prompt\na,b\n", "must name every column once"),
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": "\xff"}', r"not UTF-8 text \(line 2\)"),
        ("a.parquet", "no parquet", "Cannot read .*a.parquet as Parquet"),
        ("a.txt", "prompt", "Cannot tell the format"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_table(write(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    write(tmp_path, "posts.jsonl", JSONL)
    with pytest.raises(InputError, match=r'No file .*post.jsonl.*Did you mean "posts.jsonl"'):
        read_table(tmp_path / "post.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(InputError, match=r'Did you mean "tldr"'):
        read_table("tldrr")


def test_nested_and_joined_columns(tmp_path):
    rows = [{"info": {"post": " p "}, "texts": [{"text": "x"}, {"text": "y"}], "note": None}]
    table = read_table(write(tmp_path, "a.json", json.dumps(rows)))
    assert table.texts("texts.1.text") == ["y"]
    assert table.texts("info.post,note,texts.0.text") == ["p\n\nx"]
    for path in ("texts.2.text", "texts.x", "info.pots", "info.post.x"):
        with pytest.raises(InputError, match=f'No column "{path}" at row 1'):
            table.texts(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("  ", "Empty prompt at line 2"),
        (None, "holds null"),
        (7, "holds int, not text"),
        (["x"], "holds list"),
        (True, "holds bool"),
    ],
)
def test_a_value_that_is_no_text_is_named(tmp_path, value, message):
    text = json.dumps({"prompt": "a"}) + "\n" + json.dumps({"prompt": value})
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, "a.jsonl", text)).texts("prompt")


def test_a_row_without_the_column_is_named(tmp_path):
    table = read_table(write(tmp_path, "a.jsonl", '{"prompt": "a"}\n{"promt": "b"}'))
    with pytest.raises(InputError, match=r'No column "prompt" at line 2 of .*Did you mean "promt"'):
        table.texts("prompt")


def test_rows_of_split(tmp_path):
    marked = [{"prompt": str(i), "split": "dev" if i < 5 else "train"} for i in range(100)]
    table = read_table(write(tmp_path, "a.json", json.dumps(marked)))
    groups = table.texts("prompt")
    rows = {split: table.rows_of_split(split, groups) for split in ("train", "validation", "test")}
    assert rows["validation"] == [0, 1, 2, 3, 4]  # its own
    assert sorted(rows["train"] + rows["test"]) == list(range(5, 100))  # the test split comes out of train
    assert 0 < len(rows["test"]) < 30
    assert table.rows_of_split(None, groups) == list(range(100))
    with pytest.raises(InputError, match=r'Unknown split "tset".*Did you mean "test"'):
        table.rows_of_split("tset", groups)


def test_a_column_called_split_that_names_no_split_is_an_ordinary_column(tmp_path):
    rows = [{"prompt": str(i), "split": "banana"} for i in range(50)]
    table = read_table(write(tmp_path, "a.json", json.dumps(rows)))
    assert len(table.rows_of_split("train", table.texts("prompt"))) > 25


def test_a_source_without_train_rows_has_none(tmp_path):
    table = read_table(write(tmp_path, "a.json", '[{"prompt": "a", "split": "test"}]'))
    with pytest.raises(InputError, match="has no train rows"):
        table.rows_of_split("train", ["a"])


@pytest.mark.parametrize("source", ["owner/name", "xsum", "trl-lib/tldr", "owner/name:config@main"])
def test_hub_without_network_is_one_sentence(source):
    with pytest.raises(InputError, match=r"Cannot load .* from the Hugging Face hub") as caught:
        read_table(source)
    assert "\n" not in str(caught.value)


def test_hub_ids():
    found = hub.find_hub_dataset("owner/name:3.0.0@refs/convert/parquet")
    assert (found.repository, found.config, found.revision) == ("owner/name", "3.0.0", "refs/convert/parquet")
    assert hub.find_hub_dataset("bigbench:navigate").config == "navigate"
    for path in ("folder/posts.jsonl", "posts", "/abs/path", "./a/b", "a/b/c"):
        assert hub.find_hub_dataset(path) is None


def test_hub_data_go_through_datasets(monkeypatch):
    import datasets

    asked = []

    def split_names(repository, **options):
        return ["dev", "train", "validation"]

    def load(repository, config, *, split, **options):
        asked.append((repository, config, split, options))
        return datasets.Dataset.from_list([{"document": f"d{i}", "summary": "s"} for i in range(30)])

    monkeypatch.setattr(datasets, "get_dataset_split_names", split_names)
    monkeypatch.setattr(datasets, "load_dataset", load)
    table = read_table("xsum", split="validation", limit=20)
    assert asked == [
        ("EdinburghNLP/xsum", None, "validation", {"revision": "refs/convert/parquet", "data_dir": "default"})
    ]
    assert len(table) == 20
    assert table.rows_of_split("validation", table.texts("document")) == list(range(20))

    table = read_table("cnn_dailymail", split="test")  # it has none here: read train, of which test is a part
    assert asked[1][:3] == ("abisee/cnn_dailymail", "3.0.0", "train")
    groups = table.texts("document")
    parts = [table.rows_of_split(split, groups) for split in ("train", "test")]
    assert sorted(parts[0] + parts[1]) == list(range(30))
    assert parts[1]
    assert all("trust_remote_code" not in options for *_, options in asked)


def test_a_data_set_with_a_script_names_the_next_step(monkeypatch):
    import datasets

    def refuse(*args, **options):
        raise RuntimeError("Dataset scripts are no longer supported, but found name.py")

    monkeypatch.setattr(datasets, "get_dataset_split_names", refuse)
    with pytest.raises(InputError, match='try "owner/name@refs/convert/parquet"'):
        read_table("owner/name")


def test_a_jsonl_file_is_read_by_line_even_if_its_only_line_is_broken(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"prompt": "a"\n')
    with pytest.raises(InputError, match=r"Broken JSON at line 1 of .*broken\.jsonl"):
        read_table(path)
