"""A reward model trained and saved by TRL's ``RewardTrainer`` scores the same texts here as it does there.

    python benchmarks/trl_reward.py --output benchmarks/trl_reward        # about five minutes on two cores
    python benchmarks/trl_reward.py --quick --output /tmp/trl_reward      # one model, two cases

TRL lives in a virtual environment of its own under ``--output``, which sees the packages of this one and gets ``trl``
alone by pip; it is removed at the end unless ``--keep`` is given. There a tiny classifier is trained for one step on
four pairs, saved, and scores texts by its own forward pass, as a padded batch. Then the same folder is loaded here.
Cases: Llama and GPT-2 shapes; a padding token of its own, or EOS as TRL sets it where there is none; bare texts, to
which TRL adds EOS, and conversations through the tokenizer's chat template.

The table says how far the scores lie apart. Synthetic texts, seed 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

TRL = "trl==1.16.0"
LIMIT = 1e-4
PROMPTS = ["the cat ran", "my dog sat on the mat", "we went home", "the house"]
ANSWERS = [" away from our house", " and it was glad", "", " the cat, the dog"]
THERE = Path(__file__).parent / "trl_reward_there.py"


def environment(folder: Path) -> Path:
    """A virtual environment with TRL, which sees the packages of this one; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    ).stdout.strip()
    here = [path for path in sys.path if path.endswith("site-packages")]
    Path(site, "of_prefgym.pth").write_text("\n".join(here) + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", TRL], check=True)
    return python


def compared(folder: Path) -> dict[str, float | str]:
    """Load one folder here and score the texts that ``there`` wrote beside it."""
    from prefgym.rewards.preference_model import PreferenceModel

    told = json.loads((folder / "scores.json").read_text())
    pm = PreferenceModel.load(folder / "model", chat=folder.name.endswith("chat"))
    ours = pm.score(told["prompts"], told["responses"])
    apart = float(np.abs(ours - np.array(told["scores"])).max())
    return {"case": folder.name, "largest difference": apart, "spread of scores": float(np.ptp(told["scores"]))}


def main() -> None:
    """Run every case and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/trl_reward"))
    parser.add_argument("--quick", action="store_true", help="one shape only")
    parser.add_argument("--keep", action="store_true", help="keep the virtual environment and the models")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    work = options.output / "work"
    python = environment(work / "venv")
    kinds, forms = (("llama",), ("text",)) if options.quick else (("llama", "gpt2"), ("text", "chat"))
    cases = [f"{kind}-{pad}-{form}" for kind in kinds for pad in ("pad", "eos") for form in forms]
    given = json.dumps({"prompts": PROMPTS, "answers": ANSWERS, "cases": cases, "folder": str(work / "cases")})
    subprocess.run([python, THERE, given], check=True)
    rows = told(options.output, [compared(work / "cases" / case) for case in cases])
    if not options.keep:
        shutil.rmtree(work)
    if max(float(row["largest difference"]) for row in rows) > LIMIT:
        raise SystemExit(1)


def told(output: Path, rows: list[dict[str, float | str]]) -> list[dict[str, float | str]]:
    """Write and print the table; returns its rows."""
    results = {"trl": TRL, "limit": LIMIT, "rows": rows}
    (output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    lines = [f"| {row['case']} | {row['largest difference']:.1e} | {row['spread of scores']:.2f} |" for row in rows]
    table = "\n".join(["| case | largest difference | spread of scores |", "| --- | --- | --- |", *lines])
    (output / "README.md").write_text(f"# Reward models saved by {TRL}\n\n{__doc__}\n{table}\n")
    print(table)
    return rows


if __name__ == "__main__":
    main()
