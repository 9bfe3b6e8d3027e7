"""By which paths every family of transformers is read, and whether planted faults are seen.

    python benchmarks/families.py --output benchmarks/families              some 40 minutes on one core, resumes
    python benchmarks/families.py --output benchmarks/families --only llama gpt_neo
    python benchmarks/families.py --quick --output /tmp/families            shows that it runs

A family is an entry of transformers' mappings of causal and of encoder-decoder language models. Each is a small model
made from its default configuration (`prefgym.models.twin`), examined as a model that a user loads is. Families are
lines of OUTPUT/results.jsonl; the same command again makes those that are missing. Writes README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from families_faults import FAULTS, is_served, plant, plant_window, texts_with_truth
from families_twins import SHORT_WINDOW, every_family, make_family, without_window

from prefgym.files import write_text
from prefgym.models.examination import TOLERANCE, Examination, examine
from prefgym.models.paths import FAST
from prefgym.models.twin import NoTwin

LENGTHS = (64, 300)
QUICK = ("llama", "mamba", "bart", "gpt_neo", "t5")
"""Every path; a state of its own; positions it counts itself; a window; an encoder."""
PLANTED = (*FAULTS, "ignored window")
Result = dict[str, Any]


def study(family: str, lengths: tuple[int, ...] = LENGTHS) -> Result:
    """All that is said of a family, as JSON can hold it."""
    told: Result = {"family": family, "class": every_family()[family], "transformers": transformers.__version__}
    start = time.perf_counter()
    try:
        model = make_family(family)
        told["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        found = {length: examine(model, length) for length in lengths}
        told["lengths"] = {str(length): _figures(each) for length, each in found.items()}
        told["planted"] = plant(model, found[lengths[0]], texts_with_truth(model, lengths[0]))
        told["planted"]["ignored window"] = _window(family, lengths[0])
    except NoTwin as error:
        told["not_built"] = str(error)
    except Exception as error:  # one family must not end the study
        told["failed"] = f"{type(error).__name__}: {error}"
    told["seconds"] = round(time.perf_counter() - start, 1)
    return told


def _figures(found: Examination) -> Result:
    """Paths, and the largest differences on those that serve."""
    used = [found.paths.batch, *(name for name in FAST if getattr(found.paths, name))]
    return {
        "paths": asdict(found.paths),
        "agrees": is_served(found),
        "log_probs": _largest(found, used),
        "gradients": _largest(found, [f"gradient, {name}" for name in used]),
        "trials": {name: [_finite(trial.difference), trial.reason] for name, trial in found.trials.items()},
    }


def _largest(found: Examination, names: list[str]) -> float | None:
    given = [found.trials[name].difference for name in names if name in found.trials]
    return _finite(max(given)) if given else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _window(family: str, columns: int) -> dict[str, str]:
    """An ignored window, planted in a twin with a short one; empty where the family has none."""
    model = make_family(family, short_window=True)
    blind = without_window(model)
    if blind is None or columns <= SHORT_WINDOW:
        return {}
    return plant_window(model, blind, examine(model, columns), texts_with_truth(model, columns))


def page(results: dict[str, Result]) -> str:
    """The README."""
    built = {name: told for name, told in results.items() if "ignored window" in told.get("planted", {})}
    rows = "\n".join(_row(told) for _, told in sorted(built.items()))
    missing = "\n".join(
        f"| {name} | {' '.join((told.get('not_built') or told['failed']).split())} |"
        for name, told in sorted(results.items())
        if name not in built
    )
    unfinished = len(results) < len(every_family())
    return (
        "# Families\n\n`python benchmarks/families.py --output benchmarks/families`\n\n"
        f"transformers {transformers.__version__}, torch {torch.__version__}, fp32, one core; weights and texts of "
        f"seed 0. {len(results)} of {len(every_family())} families studied, {len(built)} built. "
        f"{_summary(built, unfinished)}\n\n"
        "Each row is a small twin of the family's default configuration, read at "
        f"{' and '.join(map(str, LENGTHS))} columns; its log-probs spread by 3 to 12 nats. *batch* is how several "
        "texts are read at once (and the first position id, where it is not 0), *fast* are the other paths that agree "
        f"with a plain forward pass of each text alone within {TOLERANCE:g}; differences are the largest on the paths "
        "that serve: of log-probs in nats, of gradients relative to their norm. *own* is whether the model's own cache "
        "writes. For a planted fault: on how many of the serving paths it was seen; `-` where it cannot be planted "
        "(the model is not given position ids or a mask, or has no window), `none` where the model ignores what it is "
        f"given. Windows are planted at {SHORT_WINDOW} tokens.\n\n"
        f"| family | batch | fast | own | log-probs | gradients | {' | '.join(PLANTED)} | refused |\n"
        f"|{' --- |' * 10}\n{rows}\n\n"
        "## Not built\n\n| family | why |\n| --- | --- |\n" + missing + "\n"
    )


def _summary(built: dict[str, Result], unfinished: bool) -> str:
    last = [list(told["lengths"].values())[-1] for told in built.values()]
    refused = sum(not figures["agrees"] for figures in last)
    fast = sum(all(figures["paths"][name] for name in FAST if name != "own") for figures in last)
    served = f"{len(built) - refused} are served ({fast} by every path), {refused} are refused."
    if unfinished:
        return f"{served} **Unfinished**: the same command studies the rest, so nothing is counted up here."
    verdicts = Counter(v for told in built.values() for paths in told["planted"].values() for v in paths.values())
    return (
        f"{served} Of planted faults that change anything {verdicts['seen']} are seen and {verdicts['missed']} missed."
    )


def _row(told: Result) -> str:
    lengths = list(told["lengths"].values())
    paths = lengths[-1]["paths"]
    first = "" if paths["positions"] == 0 else f", from {paths['positions']}"
    fast = [name for name in FAST if paths[name] and name != "own"]
    every = len(fast) == len(FAST) - 1
    worst = {key: [each[key] for each in lengths if each[key] is not None] for key in ("log_probs", "gradients")}
    refused = "" if lengths[-1]["agrees"] else "a token's prediction depends on what follows it"
    cells = (
        told["family"],
        paths["batch"] + first,
        "all" if every else ", ".join(fast) or "none",
        "yes" if paths["own"] else "not needed" if paths["rows"] else "no",
        *(f"{max(values):.0e}" if values else "-" for values in worst.values()),
        *(_seen(told["planted"].get(fault, {})) for fault in PLANTED),
        refused,
    )
    return f"| {' | '.join(cells)} |"


def _seen(verdicts: dict[str, str]) -> str:
    counts = Counter(verdicts.values())
    tried = counts["seen"] + counts["missed"]
    return f"{counts['seen']} of {tried}" if tried else "none" if counts["no effect"] else "-"


def main() -> None:
    """Study every missing family; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=None, help="families; made again if they are there")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    file = options.output / "results.jsonl"
    options.output.mkdir(parents=True, exist_ok=True)
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    results = {told["family"]: told for told in map(json.loads, lines)}
    wanted = options.only or (QUICK if options.quick else every_family())
    for family in wanted:
        if family not in results or options.only:
            results[family] = study(family, (32,) if options.quick else LENGTHS)
            print(family, results[family]["seconds"], "s", flush=True)
            with file.open("a", encoding="utf-8") as lines_file:
                lines_file.write(json.dumps(results[family]) + "\n")
    write_text(options.output / "README.md", page(results))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    main()
