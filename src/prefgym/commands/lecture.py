"""``prefgym lecture``: every claim of the lecture with a figure measured here, as one page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..config import COMMAND_LINE, Config, Option, describe, parse_flags, resolve
from ..errors import InputError, nearest
from ..files import write_json
from ..output import CONFIG_FILE, METRICS_FILE, check_kept, kept_folder
from .benchmark import SUITES

GIVEN = [option for option in SUITES if option.key in ("mmlu", "bigbench")]
"""Benchmark files of the user's own."""

OPTIONS = [
    Option("figure", object, None, "Figures to measure; all names up to the next option (default: all).", several=True),
    Option("quick", bool, False, "Draw every figure in minutes; models and budgets are too small to conclude from."),
    Option("seeds", int, None, "Number of random seeds (default: 3; with --quick 1).", minimum=1),
    Option("language", str, "en", "Language of headings and captions: en or ko."),
    *GIVEN,
    Option("output", str, "runs/lecture", "Folder of the lecture; what is already measured in it is kept."),
]


def help_text() -> str:
    """The text of ``prefgym lecture --help``."""
    from ..lecture import FIGURES

    return (
        "usage: prefgym lecture [--figure NAME ...] [--quick] [--seeds N] [--language en|ko]\n"
        "                       [--mmlu DIR] [--bigbench DIR] [--output DIR]\n\n"
        "Measure the claims of a lecture on RLHF in the embedded world, and write one page with a picture, the\n"
        "numbers and the finding for each, next to the published numbers. It takes hours on two cores in all and\n"
        "continues where it was stopped; --quick takes minutes and shows what the page looks like.\n\n"
        'The figure benchmarks needs lm-evaluation-harness, pip install "prefgym[eval]"; with --mmlu and --bigbench\n'
        "it also shows the tasks of your files.\n\n"
        f"figures: {', '.join(FIGURES)}\n\n"
        "  prefgym lecture --quick --output runs/quick\n"
        "  prefgym lecture --figure over_optimisation --seeds 1\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    from ..lecture import FIGURES, load_figure
    from ..lecture.words import LANGUAGES, read_words

    config = resolve(OPTIONS, [(COMMAND_LINE, parse_flags(arguments, OPTIONS))])
    names = _names(config["figure"], FIGURES)
    if config["language"] not in LANGUAGES:
        raise InputError(f'There is no language "{config["language"]}"; use {" or ".join(LANGUAGES)}.')
    _check_benchmarks(config, names)
    words = read_words(config["language"])
    folder = Path(config["output"])
    _check_folder(folder, quick=config["quick"])

    from ..lecture.budget import FULL_BUDGET, QUICK_BUDGET
    from ..lecture.report import verdict, write_lecture
    from ..lecture.workshop import Workshop

    with kept_folder(folder, "lecture") as folder:
        config.save(folder / CONFIG_FILE)
        budget = QUICK_BUDGET if config["quick"] else FULL_BUDGET
        seeds = config["seeds"] or budget.seeds
        suites = {option.key: config[option.key] for option in GIVEN}
        shop = Workshop(folder, budget, seeds, progress=True, suites=suites)
        figures, measured = [load_figure(name) for name in names], {}
        for place, figure in enumerate(figures, 1):
            print(f"\n{figure.name}: figure {place} of {len(figures)}", flush=True)
            measured[figure.name] = figure.measure(shop)
            print(verdict(figure, measured[figure.name], words), flush=True)
        told = {"seeds": seeds, "quick": config["quick"]}
        write_json(folder / METRICS_FILE, {**told, "figures": measured})
        page = write_lecture(folder, figures, measured, words, largest=shop.largest, **told)
    print(f"\nreport: {page}")


def _names(given: list[str] | None, known: tuple[str, ...]) -> list[str]:
    """The figures asked for, in the order of the lecture."""
    for name in given or []:
        if name not in known:
            raise InputError(f'There is no figure "{name}"; there are {", ".join(known)}.{nearest(name, known)}')
    return [name for name in known if not given or name in given]


def _check_benchmarks(config: Config, names: list[str]) -> None:
    """Refuse, before hours of work, what the figure of that name would fail on."""
    given = {option.key: config[option.key] for option in GIVEN if config[option.key]}
    if "benchmarks" not in names:
        if given:
            raise InputError(f"--{next(iter(given))} is for the figure benchmarks, which is not among those asked for.")
        return
    if find_spec("lm_eval") is None:
        raise InputError('The figure benchmarks needs the package lm-eval: pip install "prefgym[eval]".')
    if given:
        from ..data.benchmarks import read_suites

        read_suites(given)


def _check_folder(folder: Path, *, quick: bool) -> None:
    """Refuse a folder of something else, or of a lecture of another budget, whose models would be mixed with ours."""
    from ..config import read_yaml

    check_kept(folder, "lecture")
    file = folder / CONFIG_FILE
    held = read_yaml(file, []) if file.is_file() else {}
    if held.get("quick", quick) != quick:
        kind = "a quick" if held["quick"] else "a full"
        raise InputError(f"--output {folder} holds {kind} lecture; give another folder.")
