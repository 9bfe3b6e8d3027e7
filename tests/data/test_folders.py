"""Data in several files, compressed files, and what ``save_to_disk`` wrote."""

import gzip
import json

import datasets
import pytest

from prefgym.data.comparisons import load_comparisons
from prefgym.data.pairs import load_pairs
from prefgym.data.prompts import load_prompt_splits, load_prompts
from prefgym.data.tables import read_table
from prefgym.errors import InputError

ROWS = [{"prompt": f"post {i}", "reference": f"short {i}"} for i in range(4)]
DATA = datasets.Dataset.from_list(ROWS)
OTHER = datasets.Dataset.from_list([{"prompt": "other", "reference": "o"}])


def prompts_of(source, **options):
    return [row["prompt"] for row in load_prompts(source, **options)]


ALL = [row["prompt"] for row in ROWS]


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_what_save_to_disk_wrote(tmp_path):
    DATA.save_to_disk(tmp_path / "one", num_shards=2)
    assert prompts_of(tmp_path / "one") == ALL
    assert load_prompts(str(tmp_path / "one"), limit=1)[0]["reference"] == "short 0"
    datasets.DatasetDict(train=DATA, test=OTHER).save_to_disk(tmp_path / "several")
    assert prompts_of(tmp_path / "several") == ALL
    assert prompts_of(tmp_path / "several", split="test") == ["other"]
    with pytest.raises(InputError, match=r'No column "post" in .*several; its columns are prompt, reference'):
        load_prompts(tmp_path / "several", "post")
    pairs = datasets.Dataset.from_list([{"instruction": "Sing.", "output": "La"}])
    pairs.save_to_disk(tmp_path / "pairs")
    assert [pair.response for pair in load_pairs(tmp_path / "pairs")] == [" La"]
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"Cannot load .*one, as save_to_disk writes it") as refused:
        load_prompts(tmp_path / "one")
    assert "\n" not in str(refused.value)


def test_a_folder_of_shards(tmp_path):
    for number in range(2):
        DATA.select(range(2 * number, 2 * number + 2)).to_parquet(tmp_path / f"part-{number:05}-of-00002.parquet")
    (tmp_path / "README.md").write_text("no data")
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "old.parquet").write_text("no data either")
    assert prompts_of(tmp_path) == prompts_of(tmp_path / "*.parquet") == prompts_of(f"{tmp_path}/**/part*") == ALL
    assert len(read_table(tmp_path, limit=3)) == 3


@pytest.mark.parametrize("place", ["{split}-00000-of-00001.parquet", "data/{split}.parquet", "{split}/0000.parquet"])
def test_files_named_after_splits(tmp_path, place):
    for name, data in {"train": DATA, "dev": OTHER}.items():
        file = tmp_path / place.format(split=name)
        file.parent.mkdir(exist_ok=True)
        data.to_parquet(file)
    assert prompts_of(tmp_path) == ALL
    assert prompts_of(tmp_path, split="validation") == ["other"]
    pattern = tmp_path / ("*/*.parquet" if "/" in place else "*.parquet")
    assert prompts_of(pattern, split="validation") == ["other"]
    assert sorted(prompts_of(tmp_path / place.format(split="dev*"))) == ["other"]


def test_files_of_splits_and_others_are_not_mixed(tmp_path):
    for name in ("train", "more"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(InputError, match=r"files of the splits train and others, such as more.jsonl; name those"):
        load_prompts(tmp_path)


def test_faults_name_the_file_and_its_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "b.jsonl").write_text('\n{"prompt": "b"}\n{"prompt": " "}\n')
    with pytest.raises(InputError, match=r"Empty prompt at line 3 of .*b.jsonl"):
        load_prompts(tmp_path)
    DATA.to_parquet(tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"Empty prompt at row 2 of .*b.jsonl"):
        load_prompts(tmp_path)
    (tmp_path / "b.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"line 1 of .*b.jsonl"):
        load_prompts(tmp_path)
    with pytest.raises(InputError, match=r"x\*.jsonl names no data file"):
        load_prompts(tmp_path / "x*.jsonl")


def test_a_name_with_a_star_is_a_file_first(tmp_path):
    (tmp_path / "a*.jsonl").write_text('{"prompt": "star"}\n')
    (tmp_path / "ab.jsonl").write_text('{"prompt": "other"}\n')
    assert prompts_of(tmp_path / "a*.jsonl") == ["star"]


TEXTS = {
    "posts.jsonl": '{"prompt": "é"}\n{"prompt": "b"}\n',
    "posts.ndjson": '{"prompt": "é"}\n\n{"prompt": "b"}\n',
    "posts.json": '[{"prompt": "é"},\n {"prompt": "b"}]\n',
    "posts.csv": "prompt\né\nb\n",
    "posts.tsv": "prompt\tn\né\t1\nb\t2\n",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_text_files_of_every_kind(tmp_path, name, mark, end, packed):
    content = mark + TEXTS[name].replace("\n", end).encode()
    path = tmp_path / (name.upper() + ".GZ" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert prompts_of(path) == ["é", "b"]


def test_packed_files_name_their_lines_and_tasks(tmp_path):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"prompt": "a"}\n{"prompt": ""}\n')
    with pytest.raises(InputError, match=r"line 2 of .*a.jsonl.gz"):
        load_prompts(tmp_path / "a.jsonl.gz")
    (tmp_path / "tasks").mkdir()
    with gzip.open(tmp_path / "tasks" / "sing.v1.json.gz", "wt") as file:
        json.dump([{"instruction": "Sing.", "output": "La"}], file)
    (tmp_path / "tasks" / "say.json").write_text(json.dumps([{"instruction": "Say.", "output": "So"}]))
    assert {pair.task: pair.response for pair in load_pairs(tmp_path / "tasks")} == {"sing.v1": " La", "say": " So"}


def test_pairs_and_comparisons_in_shards(tmp_path):
    pairs = datasets.Dataset.from_list([{"instruction": "Sing.", "output": "La"}])
    for name in ("train", "test"):
        pairs.to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    assert [(pair.response, pair.task) for pair in load_pairs(tmp_path)] == [(" La", "")]
    assert len(load_pairs(tmp_path, split="test")) == 1
    for number in range(2):
        row = {"prompt": f"p{number}", "chosen": "a", "rejected": "b"}
        (tmp_path / f"votes{number}.jsonl").write_text(json.dumps(row) + "\n")
    assert [one.prompt for one in load_comparisons(tmp_path / "votes*.jsonl")] == ["p0", "p1"]


def test_the_splits_of_a_run_from_a_folder(tmp_path):
    for name, data in {"train": DATA, "validation": OTHER, "test": OTHER}.items():
        data.to_parquet(tmp_path / f"{name}.parquet")
    found = load_prompt_splits(tmp_path, ("train", "validation", "test"))
    assert {name: len(prompts) for name, prompts in found.items()} == {"train": 4, "validation": 1, "test": 1}


def test_shards_with_columns_of_different_types(tmp_path):
    datasets.Dataset.from_list([{"prompt": "a", "n": 1}]).to_parquet(tmp_path / "a.parquet")
    datasets.Dataset.from_list([{"prompt": "b", "n": "two"}]).to_parquet(tmp_path / "b.parquet")
    assert [row["n"] for row in load_prompts(tmp_path)] == [1, "two"]
