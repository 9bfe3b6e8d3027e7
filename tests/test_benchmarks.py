"""Every benchmark has a quick form that runs."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_demo_benchmark_runs_and_goes_on_from_what_is_there(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "demo.py", "--quick", "--output", tmp_path]
    subprocess.run([*command, "--runs", "ppo-python-reward"], check=True, capture_output=True)
    before = (tmp_path / "ppo-python-reward-seed0.json").stat().st_mtime_ns
    subprocess.run([*command, "--runs", "ppo-python-reward"], check=True, capture_output=True)
    assert (tmp_path / "ppo-python-reward-seed0.json").stat().st_mtime_ns == before
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (figures,) = results["ppo-python-reward"]
    assert figures["episodes"] == 32
    gain = figures["sampled"]["minus_start"]["own_words"]
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert "trained vs start" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_real_data_benchmark_runs(tmp_path, real_data):
    command = [sys.executable, ROOT / "benchmarks" / "real_data.py", "--quick", "--data", real_data]
    subprocess.run([*command, "--output", tmp_path], check=True, capture_output=True)
    assert len(list(tmp_path.glob("*.json"))) == 6
    table = (tmp_path / "README.md").read_text(encoding="utf-8")
    rows = (
        "| news_summaries_pairwise | bert | 60 |",
        "| mt_bench_human | llama | 118 |",
        "| trained on | 25 | greedy |",
    )
    for row in rows:
        assert row in table
