import errno
import gzip
import json
import os
import re
from decimal import Decimal

import pytest

from prefgym.data import hub
from prefgym.data.pairs import load_pairs
from prefgym.data.prompts import resolve_prompts
from prefgym.data.tables import read_table
from prefgym.data.templates import Template
from prefgym.errors import InputError, MachineError

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
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none holds no data file \(.jsonl"):
        read_table(tmp_path / "none")
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


HALF = "I love it \\ud83d so"  # as it stands in a file
WHOLE = "I love it \\ud83d\\ude00 so"


def lines(column, text, at=8, rows=10):
    """JSON Lines of which line ``at`` holds the escaped text in a column, which may be nested."""
    plain = {"prompt": "a", "messages": [{"role": "user", "content": "b"}], "references": ["c"], "other": {"x": "d"}}
    row = json.dumps(plain)
    marked = {"prompt": '"a"', "messages.0.content": '"b"', "references.0": '"c"', "other.x": '"d"'}[column]
    return "\n".join(row.replace(marked, f'"{text}"') if number == at else row for number in range(1, rows + 1))


@pytest.mark.parametrize("column", ["prompt", "messages.0.content", "references.0", "other.x"])
def test_half_a_character_is_refused_with_its_line_and_column(tmp_path, column):
    told = rf'column "{re.escape(column)}" holds half a character \(\\ud83d\), as cut texts do; remove it or write the'
    with pytest.raises(InputError, match=rf"Line 8 of .*a.jsonl: {told}"):
        read_table(write(tmp_path, "a.jsonl", lines(column, HALF)))
    array = "[" + lines(column, HALF).replace("\n", ",\n ") + "]"
    for name, text in (("a.json", array), ("b.json", f'{{"data": {array}}}')):
        with pytest.raises(InputError, match=rf"Row 8 of .*{name}: {told}"):
            read_table(write(tmp_path, name, text))
    assert len(read_table(write(tmp_path, "whole.jsonl", lines(column, WHOLE)))) == 10


@pytest.mark.parametrize("half", ["\\uDE00", "\\ud83dx", "\\ud83d\\ud83d", "\\ude00\\ud83d", "\\\\\\udbff"])
def test_every_half_counts_and_what_only_looks_like_one_does_not(tmp_path, half):
    with pytest.raises(InputError, match="holds half a character"):
        read_table(write(tmp_path, "a.jsonl", f'{{"prompt": "{half}"}}'))
    rows = read_table(write(tmp_path, "a.jsonl", '{"prompt": "\\\\ud83d"}')).rows
    assert rows[0]["prompt"] == "\\ud83d"  # a backslash and letters


def test_names_of_columns_are_told_in_letters_that_can_be_printed(tmp_path):
    cases = [
        ("a.jsonl", '{"a\\ud83d": "b"}', r"Line 1 of .*: the name of a column holds half a character \(\\ud83d\)"),
        ("a.jsonl", '{"a\\u0000": "b"}', r'No column "prompt" in .*; its columns are a\\x00'),
        (
            "a.jsonl",
            '{"a\\u001b[1m": "b", "a\\u001b[1m": "c"}',
            r'"a\\x1b\[1m" occurs twice in one object at line 1 of',
        ),
        ("a.csv", "a\x1b[1m,a\x1b[1m\nb,c\n", r"must name every column once, got a\\x1b\[1m"),
    ]
    for name, text, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            read_table(write(tmp_path, name, text)).texts("prompt")
        assert str(caught.value).isprintable()
    with pytest.raises(InputError, match=r'No column "\\udcff"') as caught:
        read_table(write(tmp_path, "a.jsonl", JSONL)).texts("\udcff")
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="is not a path: it contains a NUL or bytes that are not text") as caught:
        read_table(str(tmp_path / "\udcff.jsonl"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}', '"prompt" occurs twice in one object at line 1 of .*a.jsonl'),
        ("a.json", '[{"x": {"y": 1, "y": 2}}]', '"y" occurs twice in one object at .*a.json; keep'),
        ("a.jsonl", '{"n": 1}\n{"n": ' + "9" * 5000 + "}", "A number in line 2 of .*a.jsonl has too many digits"),
        ("a.json", '[{"n": ' + "9" * 5000 + "}]", "A number in .*a.json has too many digits"),
        ("a.jsonl", '{"n": ' + "9" * 5000 + "}", "A number in line 1 of .*a.jsonl has too many digits"),
        ("a.jsonl", '{"n": ' + "[" * 100_000, "Broken JSON in line 1 of .*a.jsonl: nested too deeply"),
        ("a.json", '{"n": ' + "[" * 100_000, "Broken JSON in .*a.json: nested too deeply|Broken JSON at line 1"),
        ("a.jsonl", '{"n": ' + "[" * 150 + "]" * 150 + "}", "nested too deeply"),
        ("a.csv", "prompt\na\nb\0c\n", "Line 3 of .*a.csv holds a NUL character"),
        ("a.csv", "prompt\na\n".encode("utf-16"), "a.csv is UTF-16; convert it to UTF-8"),
        ("a.csv", "prompt\na\n".encode("utf-16-le"), "Line 1 of .*a.csv holds a NUL character, as UTF-16 does"),
        ("a.jsonl", JSONL.encode("utf-16-be"), "a.jsonl is not UTF-8|Broken JSON"),
        ("a.jsonl", gzip.compress(JSONL.encode(), mtime=0), "a.jsonl is compressed with gzip; unpack it"),
        ("a.parquet.gz", gzip.compress(JSONL.encode(), mtime=0), "Cannot tell the format of .*a.parquet.gz"),
        ("a.jsonl.gz", JSONL.encode(), "Cannot unpack .*a.jsonl.gz as gzip: Not a gzipped file"),
        ("a.csv.gz", gzip.compress(JSONL.encode(), mtime=0)[:-9], "Cannot unpack .*a.csv.gz as gzip"),
        ("a.json.gz", gzip.compress(b"", mtime=0), "a.json.gz is empty"),
        ("a.jsonl", b'{"prompt": "\xed\xa0\xbd"}', r"not UTF-8 text \(line 1\)"),
    ],
)
def test_what_was_read_in_silence_or_crashed_is_one_sentence(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_table(write(tmp_path, name, text))
    assert str(caught.value).isprintable()


def test_a_very_long_value_is_read(tmp_path):
    assert len(read_table(write(tmp_path, "a.csv", f'prompt\n"{"x" * 300_000}"\n')).texts("prompt")[0]) == 300_000


def test_only_files_on_a_disk_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nothing.jsonl")
    (tmp_path / "round.jsonl").symlink_to(tmp_path / "round.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    cases = {
        "pipe.jsonl": "is a pipe or a device, not a file",
        "zero.jsonl": "is a pipe or a device, not a file",
        "gone.jsonl": "is a link to a file that does not exist",
        "round.jsonl": "is a link to a file that does not exist",
        "folder.jsonl": "holds no data file",
        f"{'x' * 300}.jsonl": "a name in a path has at most 255 bytes",
        "a.jsonl/b.jsonl": "No file",
    }
    write(tmp_path, "a.jsonl", JSONL)
    for name, message in cases.items():
        for read in (read_table, load_pairs):
            if read is load_pairs and name.startswith("folder"):
                continue  # a folder of pairs may be read
            with pytest.raises(InputError, match=message):
                read(tmp_path / name)
    with pytest.raises(InputError, match="Cannot tell the format of /dev/stdin"):
        read_table("/dev/stdin")
    with pytest.raises(InputError, match=r"there is no user .~nobody-of-that-name"):
        read_table("~nobody-of-that-name/rows.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_what_the_machine_does_not_let_us_read_is_no_bad_input(tmp_path, monkeypatch, name):
    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write(tmp_path, name, "some")
    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(MachineError, match=rf"{name} cannot be read: Permission denied; check its permissions"):
        read_table(path)


def test_parquet_of_every_type_is_read_or_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    texts = pyarrow.array(["a", "b"])
    columns = {
        "prompt": texts,
        "large": texts.cast(pyarrow.large_string()),
        "coded": texts.dictionary_encode(),
        "bytes": pyarrow.array([b"a", b"\xff"]),
        "none": pyarrow.nulls(2),
        "price": pyarrow.array([Decimal("1.50"), None]),
        "nested": pyarrow.array([{"x": ["a"]}, {"x": None}]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    for name in ("prompt", "large", "coded"):
        assert table.texts(name) == ["a", "b"]
    for name, kind in {"bytes": "bytes", "none": "null", "price": "Decimal", "nested": "dict"}.items():
        with pytest.raises(InputError, match=f'Column "{name}" at row 1 of .*a.parquet holds {kind}, not text'):
            table.texts(name)
    for half in (b"\xed\xa0\xbd", b"\xff"):
        broken = _as_text([b"good", half])
        parquet.write_table(pyarrow.table({"prompt": broken}), tmp_path / "b.parquet")
        with pytest.raises(InputError, match=r'Row 2 of .*b.parquet: column "prompt" holds a text that is not UTF-8'):
            read_table(tmp_path / "b.parquet")
    twice = pyarrow.Table.from_arrays([texts, texts], names=["prompt", "prompt"])
    parquet.write_table(twice, tmp_path / "c.parquet")
    with pytest.raises(InputError, match='names the column "prompt" twice'):
        read_table(tmp_path / "c.parquet")


def _as_text(values):
    """Bytes as an Arrow array of texts that nobody checked."""
    import pyarrow

    plain = pyarrow.array(values, pyarrow.binary())
    return pyarrow.Array.from_buffers(pyarrow.string(), len(plain), plain.buffers())


def test_rows_and_templates_given_in_python_are_checked_too():
    for rows in (["a", "b\ud83d"], [{"prompt": "a"}, {"prompt": "b", "reference": "c\ud83d"}]):
        with pytest.raises(
            InputError, match=r"ow 2 of the prompts given: column .* holds half a character \(\\ud83d\)"
        ):
            resolve_prompts(rows)
    with pytest.raises(InputError, match="The template holds half a character"):
        Template("{prompt}\udcff")
