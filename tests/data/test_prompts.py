import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from prefgym.data.presets import PRESETS, find
from prefgym.data.prompts import PromptSet, embedded_prompts, load_prompts, resolve_prompts
from prefgym.errors import InputError


@pytest.fixture
def posts(tmp_path):
    path = tmp_path / "posts.jsonl"
    rows = [{"prompt": f"post {i % 60}", "reference": f"r{i}", "id": i} for i in range(120)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_importing_data_loads_neither_torch_nor_datasets():
    code = "import sys, prefgym.data; print({'torch', 'datasets', 'transformers', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_rows_keep_their_columns(posts):
    prompts = load_prompts(posts)
    assert isinstance(prompts, Sequence)
    assert len(prompts) == 120
    assert prompts[3] == {"prompt": "post 3", "reference": "r3", "id": 3}
    assert prompts[-1]["id"] == prompts[np.int64(119)]["id"] == 119
    assert [row["id"] for row in prompts[2:6:2]] == [2, 4]
    assert not prompts.synthetic
    assert str(posts) in prompts.name
    with pytest.raises(IndexError):
        prompts[120]


def test_splits_do_not_share_a_prompt(posts):
    parts = [load_prompts(posts, split=split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == 120
    assert sum(len({row["prompt"] for row in part}) for part in parts) == 60
    assert [row["id"] for row in load_prompts(posts, split="test")] == [row["id"] for row in parts[2]]
    assert [row["id"] for row in load_prompts(posts, split="test", seed=1)] != [row["id"] for row in parts[2]]
    assert len(load_prompts(posts, split="train", limit=5)) == 5


def test_mapped_columns(posts, tmp_path):
    path = tmp_path / "mapped.json"
    path.write_text(json.dumps([{"post": "a", "tldr": "b"}, {"post": "c", "tldr": "d"}]))
    assert load_prompts(path, "post", "tldr")[1] == {"post": "c", "tldr": "d", "prompt": "c", "reference": "d"}
    assert load_prompts(path, "post")[0]["reference"] is None
    with pytest.raises(InputError, match=r'No column "prompt".*--data.prompt_column'):
        load_prompts(path)
    with pytest.raises(InputError, match=r'No column "tdlr".*Did you mean "tldr".*--data.reference_column'):
        load_prompts(path, "post", "tdlr")
    with pytest.raises(InputError, match='Unknown split "dev"'):
        load_prompts(posts, split="dev")


def test_conversation_as_prompt(tmp_path):
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([{"prompt": [{"role": "user", "content": "Hi"}]}]))
    conversation = [{"role": "user", "content": "Hi"}]
    assert load_prompts(path)[0] == {"prompt": "Hi", "reference": None, "conversation": conversation}


def test_what_a_user_may_give(posts):
    assert [row["prompt"] for row in resolve_prompts(["a", "b"])] == ["a", "b"]
    rows = [{"prompt": "a", "answer": 3}]
    assert resolve_prompts(rows)[0] == {"prompt": "a", "answer": 3, "reference": None}
    given = PromptSet(rows)
    assert resolve_prompts(given) is given
    assert len(resolve_prompts(str(posts), split=None)) == 120
    assert resolve_prompts(None, "test").synthetic
    for wrong, message in (
        ([], "no prompts"),
        ([" "], "Empty prompt at row 1"),
        ([{"text": "a"}], 'No column "prompt"'),
    ):
        with pytest.raises(InputError, match=message):
            resolve_prompts(wrong)


def test_embedded_prompts_are_made_when_asked_for():
    train = embedded_prompts("train")
    assert (len(train), len(embedded_prompts("validation")), len(embedded_prompts("test"))) == (20_000, 500, 500)
    row = train[7]
    assert row["post_index"] == 1_000_007  # supervised data use the indices from 0 on
    assert row == embedded_prompts("train", count=1, start=7)[0]
    assert set(row) == {"prompt", "reference", "facts", "distractors", "post_index"}
    assert isinstance(row["facts"], dict)
    assert isinstance(row["distractors"], list)
    assert len({row["prompt"] for row in embedded_prompts("test", count=50)}) == 50
    assert train.synthetic


def test_embedded_prompts_check_their_arguments():
    with pytest.raises(InputError, match=r'Unknown split "tests".*Did you mean "test"'):
        embedded_prompts("tests")
    for count, start in ((0, 0), (5, -1)):
        with pytest.raises(InputError, match="count of at least 1"):
            embedded_prompts("test", count, start)


def test_real_posts(real_data):
    prompts = load_prompts(real_data / "tldr" / "tldr_posts.jsonl")
    assert len(prompts) == 48
    assert all(row["prompt"].endswith("TL;DR:") and row["reference"].strip() for row in prompts)
    parts = [load_prompts(real_data / "tldr" / "tldr_posts.jsonl", split=s) for s in ("train", "validation", "test")]
    assert sum(map(len, parts)) == 48
    assert len(load_prompts(real_data / "xsum" / "sample.json", "document", "summary")) == 6


def test_presets_name_what_they_pin():
    assert {"tldr", "summarize_from_feedback", "hh-rlhf", "cnn_dailymail", "xsum"} <= set(PRESETS)
    for name, preset in PRESETS.items():
        assert find(name) == find(preset.repository) == preset
        assert preset.revision == "refs/convert/parquet" or len(preset.revision) == 40
        assert set(preset.label_map.values()) <= {"first", "second", "tie"}
    assert find("nothing") is None
    assert find("mmlu:anatomy").config == "anatomy"


def test_a_preset_brings_its_columns(monkeypatch):
    import datasets

    rows = {
        "abisee/cnn_dailymail": [{"article": "long", "highlights": "short"}],
        "openai/summarize_from_feedback": [
            {
                "info": {"title": "t", "post": "p", "article": None},
                "summaries": [{"text": "x"}, {"text": "y"}],
                "choice": 1,
                "split": "valid1",
            }
        ],
        "trl-lib/tldr": [{"prompt": "POST: p\n\nTL;DR:", "completion": " c"}],
        "Muennighoff/natural-instructions": [{"definition": "d", "inputs": "i", "targets": "o", "task_name": "t"}],
    }
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *a, **k: ["train", "validation", "test"])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, *a, **k: datasets.Dataset.from_list(rows[name]))
    from prefgym.data import Pair, load_comparisons, load_pairs

    row = load_prompts("cnn_dailymail", split="test")[0]
    assert (row["prompt"], row["reference"]) == ("long", "short")
    (found,) = load_comparisons("summarize_from_feedback", split="train")
    assert (found.prompt, found.chosen, found.rejected) == ("t\n\np", "y", "x")
    assert load_pairs("tldr", split="train") == [Pair("POST: p\n\nTL;DR:", " c")]
    prompt = "### Instruction:\nd\n\n### Input:\ni\n\n### Response:"
    assert load_pairs("natural-instructions") == [Pair(prompt, " o", "t")]


def test_several_references(tmp_path):
    rows = [
        {"prompt": "a", "tldr": ["one", "", None, "two"], "b": "", "c": "three"},
        {"prompt": "b", "tldr": [], "b": "four", "c": "five"},
        {"prompt": "c", "tldr": "six"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    def read(column):
        return [(row["reference"], row.get("references")) for row in load_prompts(path, reference_column=column)]

    assert read("tldr") == [("one", ["one", "two"]), (None, []), ("six", ["six"])]
    assert read("b, c") == [("three", ["three"]), ("four", ["four", "five"]), (None, [])]
    assert read("c") == [("three", None), ("five", None), (None, None)]
    with pytest.raises(InputError, match=r'No column "d".*--data.reference_column'):
        read("c,d")
    with pytest.raises(InputError, match=r"Empty b at line 1"):
        read("b")
    path.write_text(json.dumps({"prompt": "a", "reference": [1, 2]}))
    with pytest.raises(InputError, match=r'Column "reference" at line 1 .* holds list, not text'):
        read("reference")
