"""Models and data that the options of every command are tried on."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefgym.data.prompts import embedded_prompts
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.training_rows import TrainingRows

PAIRS = [
    {
        **{"instruction": f"Say {i}.", "input": f"Loud {i}.", "output": f"one {i}", "text": f"two {i}"},
        **{"task": "ab"[i % 2], "kind": "cde"[i % 3]},
    }
    for i in range(18)
]
VOTES = [
    {
        **{"prompt": f"Question {i // 2}?", "chosen": f"please {i}", "rejected": f"just {i}", "text": f"no {i}"},
        **{"first": f"so {i}", "second": f"or {i}", "label": 1 + i % 2, "vote": 1, "topic": i % 4},
        **{"annotator": "Ann", "judge": "Bob"},
    }
    for i in range(24)
]
RATED = [
    {
        **{"prompt": f"Question {i // 3}?", "response": f"please {i}", "text": f"no {i}"},
        **{"stars": i % 3, "marks": -(i % 3), "writer": f"system {i % 4}"},
    }
    for i in range(24)
]
SUMS = {"metrics": ["exact_str_match"], "preferred_score": "exact_str_match"}


def make_places(home: Path, language_model: LanguageModel, posts: list[dict[str, Any]]) -> dict[str, Path]:
    """Write everything into a folder; paths by their names without endings."""
    _models(home, language_model)
    _texts(home, posts)
    _benchmarks(home)
    return {path.stem: path for path in home.iterdir()}


def _models(home: Path, language_model: LanguageModel) -> None:
    """Another language model than that given, and another preference model than that of the tests."""
    other = language_model.copy()
    for parameter in other.model.parameters():
        parameter.data = parameter.data.flip(0)
    LanguageModel(other.model, other.tokenizer, "other").save(home / "other")
    tokenizer = copy.deepcopy(language_model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    LanguageModel(language_model.model, tokenizer, "chat").save(home / "chat")
    PreferenceModel.from_language_model(language_model, seed=2).save(home / "preference2")
    seen = PreferenceModel.from_language_model(language_model, seed=3)
    seen.rows = TrainingRows.of_prompts([embedded_prompts("test", 1)[0]["prompt"]])
    seen.save(home / "seen")


def _texts(home: Path, posts: list[dict[str, Any]]) -> None:
    """Prompts, pairs, comparisons and configs; each column has another beside it."""
    (home / "own.yaml").write_text("env:\n  kl_coef: 0.7\nagent:\n  name: reinforce\n")
    for command in ("sft", "reward"):
        (home / f"own_{command}.yaml").write_text(f"command: {command}\ntraining:\n  learning_rate: 0.25\n")
    (home / "ppo.yaml").write_text("agent:\n  name: ppo\n")
    texts = [{**row, "text": f"Thing {i}. {row['prompt']}", "summary": f"thing {i}"} for i, row in enumerate(posts)]
    _write(home / "posts.jsonl", texts)
    _write(home / "pairs.jsonl", PAIRS)
    _write(home / "fewer_pairs.jsonl", PAIRS[:7])
    _write(home / "empty_pairs.jsonl", [*PAIRS, {**PAIRS[0], "output": ""}])
    _write(home / "comparisons.jsonl", VOTES)
    _write(home / "fewer_comparisons.jsonl", VOTES[:8])
    _write(home / "rated.jsonl", RATED)


def _benchmarks(home: Path) -> None:
    """A small folder of each kind, and two of BIG-bench."""
    for name in ("bigbench", "bigbench2"):
        (home / name / f"sums_of_{name}").mkdir(parents=True)
        task = {**SUMS, "examples": [{"input": f"{i} + 1", "target": f"{i + 1}"} for i in range(3)]}
        (home / name / f"sums_of_{name}" / "task.json").write_text(json.dumps(task))
    (home / "bbh").mkdir()
    (home / "bbh" / "sums.json").write_text(json.dumps({"examples": [{"input": "1 + 1", "target": "2"}] * 3}))
    for split in ("dev", "test"):
        (home / "mmlu" / split).mkdir(parents=True)
        (home / "mmlu" / split / f"law_{split}.csv").write_text("Q?,1,2,3,4,A\nP?,1,2,3,4,B")
    shown = {"Definition": ["Say it."], "Positive Examples": [{"input": "2", "output": "two"}]}
    instances = [{"input": f"{i}", "output": [f"one {i}"]} for i in range(6)]
    (home / "natural").mkdir()
    (home / "natural" / "task1.json").write_text(json.dumps({**shown, "Instances": instances}))


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
