"""``prefgym evaluate RUN``: win rate, KL, length and samples of one run, on held-out prompts or on your own file."""

from __future__ import annotations

from pathlib import Path

from ..config import Config, Option, describe
from ..errors import InputError
from ..experiment import (
    check_device,
    evaluate_run,
    make_env,
    template_of,
    write_run_report,
)
from ..finished_run import ACCEPT_START, check_start, read_history, read_run, settings_of_run
from ..held_out import load_splits
from ..judging import check_independence, check_judge
from ..options import ACCEPT_SHARED, DATA_OPTIONS, EVALUATION_OPTIONS, EVERY, KL_ESTIMATOR, WORLD_OPTIONS
from ..output import CONFIG_FILE, PARTS, check_output, discard_parts, new_folder
from ..paths import user_path
from ..resuming import told_to_go_on
from ..trust import TRUST, check_trust

CONTROL = [
    Option(
        "output",
        str,
        None,
        "Folder of the report (default: RUN/evaluation; an old one moves aside).",
    ),
    Option("overwrite", bool, False, "Start over where --output holds a report; it moves to --output.previous-1."),
    ACCEPT_START,
    TRUST,
]
OPTIONS = [
    *CONTROL,
    Option("seed", int, 0, "Seed of decoding.", minimum=0),
    *WORLD_OPTIONS,
    *DATA_OPTIONS,
    *EVALUATION_OPTIONS,
]


def help_text() -> str:
    """The text of ``prefgym evaluate --help``."""
    return (
        "usage: prefgym evaluate RUN [options]\n\n"
        "Judge the model in the folder RUN against reference texts and against the model it was trained from, sampled\n"
        "and greedily. Environment and data are those of RUN/config.yaml unless you say otherwise.\n\n"
        "  prefgym evaluate runs/mine\n"
        "  prefgym evaluate runs/mine --data.prompts posts.jsonl --evaluation.judge my_judge.py:better\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    name, config, given = read_run(arguments, OPTIONS, "prefgym evaluate RUN", own=[KL_ESTIMATOR, EVERY])
    if "evaluation.judge" in given and ACCEPT_SHARED not in given:
        config[ACCEPT_SHARED] = False  # what the run's config accepts is another judge
    check_trust(Path(name), config, given, config["trust"])
    own = config["output"] is None
    path = user_path(name)
    home = path if path.is_dir() else Path("runs") / (path.name if path.is_file() else name)
    folder = home / "evaluation" if own else Path(config["output"])
    check_output(folder, "evaluate", overwrite=own or config["overwrite"], inputs={**config, "RUN": name})
    if not config["evaluation.prompts"]:
        raise InputError("evaluation.prompts is 0, which leaves nothing to evaluate; give a number of prompts.")
    from ..agents.run_folder import kept_iteration
    from ..models.language_model import LanguageModel
    from ..models.placing import dtype_named

    check_device(config["env.device"])
    stored = dtype_named(config["env.dtype"], config["env.device"])
    trained = LanguageModel.load(name, device=config["env.device"], dtype=stored, check=config["env.check_model"])
    splits = load_splits(config)
    judge = check_judge(config, splits["test"])
    template = template_of(config, trained, as_trained="env.id" not in given)
    trained_for = [settings_of_run(path, OPTIONS).get("env.reward")] if "env.reward" in given else []
    env = make_env(config, splits["train"], splits["test"], splits["validation"], template=template)
    check_independence(config, judge, env, splits["test"], trained_for)
    if not config["accept_changes"]:
        check_start(user_path(name), env, given)
    history = read_history(user_path(name))
    with new_folder(folder, "evaluate", overwrite=own or config["overwrite"]) as folder, told_to_go_on():
        shown = Config({"run": name, **config.without(CONTROL)})
        shown.save(folder / CONFIG_FILE)
        evaluation = evaluate_run(config, env, {"trained": trained}, splits, history, parts=folder / PARTS)
        write_run_report(shown, folder, env, evaluation, history, kept_iteration(path))
        discard_parts(folder)
