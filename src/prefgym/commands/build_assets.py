"""``prefgym build-assets``: rebuild the embedded tokenizer and weights from the world's generator and one seed."""

from __future__ import annotations

from pathlib import Path

from ..config import Option, describe, parse_flags, resolve
from ..errors import InputError
from ..files import write_bytes
from ..output import check_kept, kept_folder
from ..storage.aside import remove_empty, set_aside, settle
from ..storage.manifest import FILES, Manifest
from ..storage.whole import whole_folder

OPTIONS = [
    Option("output", str, "runs/assets", "Folder for the finished stages; a stopped build continues from it."),
    Option("quick", bool, False, "Tiny models on little data, in 3 minutes: shows that every stage works."),
    Option("restart", bool, False, "Start over; finished stages move to STAGE.previous-1."),
    Option("install", str, None, "Also copy the finished models to this folder (models/embedded in a checkout)."),
    Option("seed", int, 0, "Seed of initial weights, shuffling, sampling and annotators.", minimum=0),
]


def help_text() -> str:
    """Return the text of ``prefgym build-assets --help``."""
    return (
        "usage: prefgym build-assets [--quick] [--output DIR] [--install models/embedded]\n\n"
        "Train the byte-level BPE tokenizer, pretrain a small Llama on synthetic posts and replies, fine-tune it on\n"
        "the posts' uneven summaries, collect comparisons by simulated annotators, and train the preference model.\n"
        "The full build takes up to two hours on two cores; finished stages are kept.\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = resolve(OPTIONS, [("command line", parse_flags(arguments, OPTIONS))])
    folder = Path(config["output"])
    from ..assets.build import MODELS, STAGES, Build
    from ..assets.sizes import FULL, QUICK

    check_kept(folder, "build-assets")
    installed = {name: Path(config["install"]) / name for name in MODELS} if config["install"] else {}
    for place in installed.values():
        _list_of(place)  # what cannot be replaced is reported before hours of work
    with kept_folder(folder, "build-assets") as folder:
        if config["restart"]:
            for stage in STAGES:
                _set_aside(folder / stage)
        build = Build(folder, QUICK if config["quick"] else FULL, config["seed"])
        metrics = build.run()
    for stage, facts in metrics.items():
        print(stage, " ".join(f"{key}={value}" for key, value in facts.items() if not isinstance(value, (list, dict))))
    for name, place in installed.items():
        _set_aside(place)
        with whole_folder(place, "build-assets") as writing:
            for file in (folder / name).iterdir():
                if file.name != FILES:
                    write_bytes(writing / file.name, file.read_bytes())
    if installed:
        print(f"models copied to {config['install']}")


def _list_of(place: Path) -> Manifest | None:
    """The list of files of a folder that may be replaced; None where there is no folder."""
    if not place.exists():
        return None
    manifest = Manifest.read(place) if place.is_dir() else None
    if manifest is None:
        raise InputError(f"{place} was not written by prefgym build-assets; move it, or give another folder.")
    return manifest


def _set_aside(place: Path) -> None:
    """Move the files of a finished stage to ``PLACE.previous-N``."""
    manifest = _list_of(place)
    if manifest is None:
        return
    previous = set_aside(place, manifest)
    (place / FILES).unlink()
    settle(previous)
    remove_empty([place])
    print(f"what was in {place} is now in {previous}", flush=True)
