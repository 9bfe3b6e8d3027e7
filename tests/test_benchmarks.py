"""Every benchmark has a quick form that runs."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.no_cover  # other tests run the same lines; counting them here doubles the time


@pytest.fixture
def quick(benchmarks, monkeypatch, tmp_path):
    """Runs the quick form of a benchmark into ``tmp_path``, in this process; its results, if any, and its page."""

    def run(name, *words):
        script, file = ROOT / "benchmarks" / f"{name}.py", tmp_path / "results.json"
        monkeypatch.setattr(sys, "argv", [str(script), "--quick", "--output", str(tmp_path), *words])
        monkeypatch.chdir(tmp_path)
        code = None
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = end.code
        assert not code, f"{name} ended with {code}"
        page = (tmp_path / "README.md").read_text(encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None, page

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the pictures of runs empty, for benchmarks that show none: they take longer than a quick training."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b"PNG"))


def test_demo_benchmark_runs_and_goes_on_from_what_is_there(quick, tmp_path):
    quick("demo", "--runs", "ppo-python-reward")
    before = (tmp_path / "ppo-python-reward-seed0.json").stat().st_mtime_ns
    results, page = quick("demo", "--runs", "ppo-python-reward")
    assert (tmp_path / "ppo-python-reward-seed0.json").stat().st_mtime_ns == before
    (figures,) = results["ppo-python-reward"]
    assert figures["episodes"] == 16
    gain = figures["sampled"]["minus_start"]["own_words"]
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert "trained vs start" in page


@pytest.mark.usefixtures("undrawn")
def test_real_model_benchmark_runs_and_goes_on_from_what_is_there(quick, tmp_path):
    results, page = quick("real_model")
    times = (tmp_path / "real_model/times.jsonl").stat().st_mtime_ns
    assert [row["stage"] for row in results["times"]] == list(results["stages"])
    whole = {"sft", "reward-start", "reward", "judge-start", "judge", "reinforce-0", "untuned"}
    assert set(results["stages"]) == whole
    shares = {"comparisons": 0, "prompts": 0, "judged_prompts": 0}
    assert results["stages"]["reinforce-0"]["judge_shares"] == shares
    assert "| reinforce-0, greedy |" in page
    assert "dev row 0" in page
    quick("real_model")
    assert (tmp_path / "real_model/times.jsonl").stat().st_mtime_ns == times


@pytest.mark.usefixtures("undrawn")
def test_real_data_benchmark_runs(quick, tmp_path, real_data):
    results, table = quick("real_data", "--data", str(real_data))
    assert results is None
    assert len(list(tmp_path.glob("*.json"))) == 6
    rows = (
        "| news_summaries_pairwise | bert | 60 |",
        "| mt_bench_human | llama | 118 |",
        "| trained on | 25 | greedy |",
    )
    for row in rows:
        assert row in table


def test_throughput_benchmark_runs_and_gives_its_ratios(quick, tmp_path):
    results, page = quick("throughput")
    seconds = {name: rows["w1"]["seconds"][0] for name, rows in results["contestants"].items()}
    ratio = results["ratios"]["ppo_n8_over_floor"]["w1"]
    assert ratio == pytest.approx(seconds["PPO, n = 8"] / seconds["floor of PPO, n = 8"])
    assert set(results["ratios"]) == {"ppo_n8_over_floor", "step_share_of_bare", "step_times_recompute"}
    assert f"| ppo_n8_over_floor | {ratio:.2f} |" in page
    rows = results["contestants"]["PPO"]["w1"]
    assert rows["mean_length"] == 6
    assert rows["log_ratio"]["max"] < 1e-4
    assert (tmp_path / "parts.png").stat().st_size > 1000


@pytest.mark.usefixtures("benchmarks")
def test_a_contestant_answers_from_a_process_of_its_own(tmp_path, monkeypatch):
    import throughput

    (tmp_path / "contestants").mkdir()
    (tmp_path / "contestants" / "fake.py").write_text(
        "import json, os, pathlib, sys\n"
        "told = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "if told['--method'] == 'wrong':\n    sys.exit('no such method')\n"
        "told |= {'process': os.getpid(), 'offline': os.environ['HF_HUB_OFFLINE']}\n"
        "pathlib.Path(told['--result']).write_text(json.dumps(told))\n"
    )
    monkeypatch.setattr(throughput, "HERE", tmp_path)
    result = tmp_path / "result.json"
    given = (tmp_path / "w1", {"epochs": 2, "precision": "fp32"}, Path(sys.executable), result)
    contestant = throughput.Contestant("fake", "ppo", 8, options={"precision": "bf16"})
    found = throughput.measure(contestant, *given)
    assert found["process"] != os.getpid()
    assert found["offline"] == "1"
    wanted = {"--workload": str(tmp_path / "w1"), "--samples": "8", "--epochs": "2", "--precision": "bf16"}
    assert {word: found[word] for word in wanted} == wanted
    with pytest.raises(SystemExit, match="no such method"):
        throughput.measure(throughput.Contestant("fake", "wrong"), *given)
    assert not result.exists()


def test_cost_benchmark_runs(quick, tmp_path):
    measured, page = quick("cost")
    assert len(measured) == 3
    assert page.count("| samples |") == page.count("| prompt |") == 2
    assert (tmp_path / "time.png").stat().st_size > 1000


@pytest.mark.usefixtures("undrawn")
def test_learning_benchmark_compares_by_seed(quick):
    results, page = quick("learning")
    assert set(results) == {"shared", "plain", "separate value trunk"}
    plain = results["plain"]
    assert plain["shared_minus_this"]["mean"] == pytest.approx(results["shared"]["gold"][0] - plain["gold"][0])
    assert "| separate value trunk |" in page


def test_memory_growth_benchmark_runs(quick):
    results, page = quick("memory_growth")
    assert len(results) == 3
    for name, run in results.items():
        assert len(run["megabytes"]) == 6
        assert 0.0005 < run["history_mb_per_iteration"] < 0.003
        assert f"| {name} | {run['megabytes'][0]:.0f} |" in page


@pytest.mark.usefixtures("benchmarks")
def test_the_slope_of_memory_by_hand():
    from memory_growth import history_size, slope

    assert slope([9.0, 5.0, 5.0, 5.0, 5.0]) == {"mean": 0, "low": 0, "high": 0}
    # Through 1, 3, 2, 4: slope 0.8, squares left over 1.8, so its error is sqrt(1.8 / 2 / 5) and t(0.975, 2) is 4.303.
    found = slope([0.0, 1.0, 3.0, 2.0, 4.0])
    assert found["mean"] == pytest.approx(0.8)
    assert found["high"] - found["mean"] == pytest.approx(4.3027 * 0.18**0.5, rel=1e-4)
    row = {"score": 0.5}
    once = sum(map(sys.getsizeof, (row, "score", 0.5)))
    assert history_size([row]) == once
    assert history_size([row, {**row}]) == once + sys.getsizeof(row)


@pytest.mark.usefixtures("undrawn")
def test_the_harness_agrees_with_the_command(quick, real_data, tmp_path):
    pytest.importorskip("lm_eval")
    results, page = quick("harness_agreement", "--data", str(real_data))
    rows = results["rows"]
    assert [row["form"] for row in rows] == ["letter", "cloze", "cloze", "written", "written"]
    assert max(abs(row["points"]) for row in rows if row["same"]) <= 0.5
    assert "4 of 4 comparable pairs agree" in page
    kept = sorted((tmp_path / "work").glob("theirs-*.json"))
    assert len(kept) == 3


def test_start_policy_benchmark_runs(quick):
    results, page = quick("start_policy")
    assert [run["posts"] for run in results["runs"]] == [20, 40]
    assert 0.1 < results["entropy"] < 0.2 < results["runs"][0]["eval_loss_minimum"]
    assert "by the last doubling" in page


def test_gradient_variance_benchmark_runs(quick):
    results, page = quick("gradient_variance")
    assert results["none"]["relative"] == pytest.approx({"mean": 1, "low": 1, "high": 1})
    assert results["group_mean"]["variance"] == pytest.approx(results["leave_one_out"]["variance"] * (3 / 4) ** 2)
    assert results["value"]["variance"] > 0
    assert "| leave_one_out |" in page


@pytest.mark.usefixtures("benchmarks")
def test_the_best_constant_baseline_by_hand():
    """g - b s with g = (1, 3) and s = (0, 1): no variance at b = 2, a quarter of it at b = 1."""
    from gradient_variance import constants, told_of_constants

    found = constants(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]]), [0.0, 2.0])
    assert found["best"] == pytest.approx(2)
    assert found["relative_at_best"] == pytest.approx(0)
    assert found["relative_at_mean_return"] == pytest.approx(0.25)
    assert "adds noise" not in told_of_constants(found)


def test_a_learner_of_plain_torch_learns(quick):
    results, page = quick("cleanrl_style_ppo")
    assert abs(results["history"][0]["kl"]) < 1e-4
    assert results["last"]["reward"] > results["first"]["reward"] + 0.5
    assert f"| score | {results['first']['score']:.3f} | {results['last']['score']:.3f} |" in page
    source = (ROOT / "benchmarks" / "cleanrl_style_ppo.py").read_text(encoding="utf-8")
    assert "prefgym.agents" not in source


def test_exactness_benchmark_runs(quick):
    results, page = quick("exactness")
    assert results["unbiased"]["ppo"]["tabular"]["p_value"] > 0.001
    assert results["unbiased"]["ppo"]["tabular"]["cosine"] > 0.99
    whitened = results["biased"]["advantages whitened over the rollout"][0]
    assert whitened["p_value_own"] > 0.001
    assert whitened["bias_cosine"] < 0.99
    assert "| reinforce, leave_one_out | tabular | 64 | 4096 |" in page


def test_kl_estimators_benchmark_runs(quick):
    results, page = quick("kl_estimators")
    rows = {(row["use"], row["estimator"], row["level"]): row for row in results["on_policy"]["gradient"]}
    assert rows["reward", "k1", "token"]["bias"] < 1e-4
    assert rows["loss", "k1", "token"]["is"] == "zero"
    assert rows["loss", "k3", "response"]["is"] == "forward KL"
    assert results["step"] == pytest.approx(0.05, rel=1e-2)
    assert "| loss | k2 | response | none | 1.000 | 0.0% |" in page


def test_exact_kl_cost_benchmark_runs(quick):
    results, page = quick("exact_kl_cost")
    assert [row["agent"] for row in results["rows"]] == ["ppo", "reinforce"]
    for row in results["rows"]:
        (k1, exact), ratio = row["seconds"].values(), row["ratio"]
        assert len(k1) == len(exact) == 2
        assert ratio["median"] == pytest.approx(sum(exact) / sum(k1))
        assert ratio["high"] == pytest.approx(max(e / k for k, e in zip(k1, exact, strict=True)))
    assert "| reinforce | 128 |" in page


def test_gauntlet_runs_and_goes_on_from_what_is_there(quick, tmp_path):
    only = ("--only", "ppo", "sb3 ppo", "best of 4")
    results, page = quick("gauntlet", *only)
    ours, stock = (results["contestants"][name] for name in ("ppo", "sb3 ppo"))
    assert ours["episodes"] == [8]
    assert 5 <= stock["episodes"][0] <= 11
    runs = {name: json.loads((tmp_path / "runs" / f"{name}-seed0.json").read_text()) for name in ("start", "ppo")}
    mean = {name: sum(run["posts"]["gold_score"]) / 4 for name, run in runs.items()}
    assert ours["gain"]["mean"] == pytest.approx(mean["ppo"] - mean["start"])
    assert results["contestants"]["best of 4"]["kl"]["mean"] == pytest.approx(0.6363, abs=1e-4)
    tried = {row["learning_rate"]: row["objective/rlhf_reward"] for row in results["tuning"]["ppo"]["tried"]}
    assert ours["learning_rate"] == max(tried, key=tried.get)
    assert "| sb3 ppo |" in page
    assert "Gain of sb3 ppo / ppo" in page
    assert (tmp_path / "gauntlet.png").stat().st_size > 1000
    (tmp_path / "runs" / "ppo-seed0.json").unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*-*.json")}
    quick("gauntlet", *only)
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*-*.json")}
    assert again == {**kept, "ppo-seed0.json": again["ppo-seed0.json"]}
    repeated = json.loads((tmp_path / "runs" / "ppo-seed0.json").read_text())
    assert repeated["posts"] == runs["ppo"]["posts"]


@pytest.mark.usefixtures("benchmarks")
def test_a_job_that_fails_is_named_and_stops_nobody(tmp_path):
    from side_by_side import Job, work

    jobs = [
        Job(tmp_path / "wrong.json", int, ("x",)),
        Job(tmp_path / "killed.json", os._exit, (3,)),
        Job(tmp_path / "nan.json", dict.fromkeys, (["a"], float("nan"))),
        Job(tmp_path / "good.json", dict, ({"a": 1},)),
    ]
    failed = work(jobs, 2, "jobs")
    assert set(failed) == {"wrong", "killed", "nan"}
    assert "ValueError: invalid literal for int()" in failed["wrong"]
    assert failed["killed"] == "The process was killed (exit code 3)."
    assert [path.name for path in tmp_path.iterdir()] == ["good.json"]
    assert json.loads((tmp_path / "good.json").read_text()) == {"a": 1}


@pytest.mark.usefixtures("benchmarks")
def test_a_share_of_gain_is_paired_by_seed_and_post():
    from gauntlet_report import share_of_gain

    def runs(*gold):
        return {seed: {"posts": {"gold_score": scores}} for seed, scores in enumerate(gold)}

    start = runs([1.0, 2.0], [3.0, 0.0])
    twice = {"start": start, "a": runs([3.0, 8.0], [7.0, 6.0]), "b": runs([2.0, 5.0], [5.0, 3.0])}
    assert share_of_gain(twice, "a", "b") == pytest.approx({"mean": 2, "low": 2, "high": 2})
    # gains of a 2, 6, 4, 10 and of b 1, 3, 2, 3: r = 22/9; (a - r b) / mean(b) = (-4, -12, -8, 24) / 20.25
    other = {**twice, "a": runs([3.0, 8.0], [7.0, 10.0])}
    found = share_of_gain(other, "a", "b")
    seeds, posts = (-8 / 20.25, 8 / 20.25), (-6 / 20.25, 6 / 20.25)  # means of both rows and of both columns
    half = ((12.706 * seeds[1]) ** 2 + (1.960 * posts[1]) ** 2) ** 0.5  # s / √2 is half the distance
    assert found["mean"] == pytest.approx(22 / 9)
    assert found["high"] - found["mean"] == pytest.approx(half, rel=1e-3)


def test_instructions_benchmark_runs(quick):
    results, page = quick("instructions")
    assert results["unseen"]["chance"] == pytest.approx((1 / 4 + 1 / 2 + 1 / 4 + 1 / 4) / 4)
    row = results["unseen"]["chosen"]
    assert row["gain"]["mean"] == pytest.approx(row["tuned"]["mean"] - row["pretrained"]["mean"])
    assert "chosen" not in results["ending"]
    assert "| where (unseen) |" in page
    assert "| **all seen** |" in page


def test_large_data_benchmark_runs(quick):
    results, page = quick("large_data")
    assert results["rows"] == 100
    assert set(results["runs"]) == {"train", "sft", "reward"}
    for command, run in results["runs"].items():
        assert run["seconds"] > 0
        assert run["gib"] > 0.1
        assert f"| `prefgym {command}` | {run['seconds']:.0f} |" in page


@pytest.mark.usefixtures("benchmarks")
def test_the_longest_silence_is_heard_from_outside(tmp_path, monkeypatch):
    import large_data

    script = tmp_path / "child.py"
    script.write_text(
        "import json, pathlib, sys, time\n"
        "option, command, file, found = sys.argv[1:]\n"
        "assert (option, command) == ('--child', 'sft')\n"
        "print('some', flush=True)\ntime.sleep(0.5)\nprint('more', flush=True)\n"
        "result = {'seconds': 0.1, 'cpu_seconds': 0.1, 'longest_silence': 0.0, 'gib': 1.0, 'file': file}\n"
        "pathlib.Path(found).write_text(json.dumps(result))\n"
    )
    monkeypatch.setattr(large_data, "__file__", str(script))
    rows = str(tmp_path / "rows.jsonl")
    found = large_data.watched("sft", rows)
    assert (found["gib"], found["file"]) == (1.0, rows)
    assert found["longest_silence"] >= 0.4
    assert found["seconds"] >= found["longest_silence"]


def test_mutation_benchmark_runs_and_goes_on_from_what_is_there(quick, tmp_path):
    pytest.importorskip("cosmic_ray", reason="makes the mutants: pip install cosmic-ray")
    _, page = quick("mutation")
    rows = [json.loads(line) for line in (tmp_path / "mutants.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert {row["outcome"] for row in rows} == {"killed"}
    assert all(row["by"].startswith("tests/rewards/test_calibration.py::") for row in rows)
    assert "**3 of 3 killed: 100.0%.**" in page
    (tmp_path / "mutants.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]) + '{"name": "half')
    quick("mutation")
    assert len((tmp_path / "mutants.jsonl").read_text().splitlines()) == 4


def test_the_script_for_a_gpu_checks_and_times(quick, monkeypatch):
    found, page = quick("gpu", "--device", "cpu")
    assert {check["what"].split(",")[0] for check in found["checks"]} > {"gradient of a weight", "log-prob of a token"}
    assert all(0 <= check["found"] <= check["bound"] for check in found["checks"])
    assert {row["what"].split(",")[0] for row in found["times"]} >= {"decoding", "PPO iteration", "REINFORCE iteration"}
    assert "**no**" not in page
    assert not found["left_out"]


def test_real_size_benchmark_runs(quick):
    found, page = quick("real_size")
    told = {(row["what"], row["weights"]) for row in found["rows"]}
    assert {("decoding", "fp32"), ("decoding by transformers", "bf16"), ("check at loading", "fp32")} <= told
    assert all(row["seconds"] >= 0 for row in found["rows"])
    assert page.count("PPO iteration") == 2
