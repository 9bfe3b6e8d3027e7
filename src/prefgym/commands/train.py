"""``prefgym train``: train an agent in an environment, evaluate it on held-out prompts, write the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..blame import blaming
from ..config import Config, Option, describe, preset_names
from ..experiment import (
    evaluate_run,
    make_agent,
    make_env,
    training_seconds,
    write_run_report,
)
from ..files import write_json
from ..held_out import load_splits, make_validation
from ..judging import check_independence, check_judge
from ..options import (
    agent_class,
    agent_options,
)
from ..output import CONFIG_FILE, METRICS_FILE, PARTS, check_output, discard_parts, new_folder, resumed_folder
from ..resuming import how_to_go_on
from ..storage.signals import stopped
from ..training_config import BUDGET, CONTROL, options_of, read_config
from ..trust import remember_run

if TYPE_CHECKING:
    from ..agents.base import PolicyGradient
    from ..data.prompts import PromptSet

Splits = Mapping[str, "PromptSet"]


def help_text() -> str:
    """The text of ``prefgym train --help``."""
    ppo = options_of("ppo")
    others = "".join(f"\n\nWith --agent.name {name} also:\n{describe(own)}" for name, own in _own_options(ppo).items())
    return (
        "usage: prefgym train --config NAME_OR_PATH [--output DIR] [options]\n\n"
        "Train an agent on a language model in a Gymnasium environment whose reward is a learned preference minus a\n"
        "KL term; then judge it on held-out prompts and write report.html. The run folder is a plain Hugging Face\n"
        "model folder.\n\n"
        f"presets: {', '.join(preset_names())}\n\n"
        "  prefgym train --config tldr-ppo --output runs/mine\n"
        "  prefgym train --config hack --output runs/hack\n"
        "  prefgym train --config tldr-reinforce --data.prompts posts.jsonl --env.reward my_rewards.py:score\n"
        "  prefgym train --resume --output runs/mine\n"
        "  tensorboard --logdir runs\n"
        f"{describe(ppo)}{others}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input, RewardError when a reward fails, AgentError when an agent does."""
    train(read_config(arguments))


def train(config: Config) -> None:
    """Train, or resume, the run that a resolved config describes."""
    folder = Path(config["output"])
    if config["resume"]:
        _resume(config, folder)
        return
    if config["dry_run"]:
        print("dry run: reading data and models ...", flush=True)
    else:
        check_output(folder, "train", overwrite=config["overwrite"], inputs=config)
    splits = load_splits(config)
    judge = check_judge(config, splits["test"])
    env = make_env(config, splits["train"], splits["test"], splits["validation"])
    check_independence(config, judge, env, splits["test"])
    agent = make_agent(config, env)
    if config["dry_run"]:
        from ..dry_run import print_dry_run

        with blaming(type(agent)):
            print_dry_run(config.without(CONTROL), agent, splits)
        return
    from ..agents.checkpoint import save_checkpoint

    with new_folder(folder, "train", overwrite=config["overwrite"]) as folder:
        config.without(CONTROL).save(folder / CONFIG_FILE)
        remember_run(folder, config)
        with blaming(type(agent)):
            save_checkpoint(folder, agent)  # so that data, reward and model of the run are on record
        _finish(config, folder, agent, splits)


def _own_options(told: list[Option]) -> dict[str, list[Option]]:
    """Each agent's options beyond those already listed; agents without any are left out."""
    from ..agents import AGENTS

    keys = {option.key for option in told}
    own = {name: [option for option in agent_options(name) if option.key not in keys] for name in AGENTS}
    return {name: options for name, options in own.items() if options}


def _resume(config: Config, folder: Path) -> None:
    """Continue where the run was stopped: in training, or after it."""
    from ..agents.checkpoint import has_checkpoint

    with resumed_folder(folder, "train") as folder:
        splits = load_splits(config)
        env = make_env(config, splits["train"], splits["test"], splits["validation"])
        if has_checkpoint(folder):
            kind = agent_class(config["agent.name"])
            with blaming(kind):
                agent = kind.resume(folder, env, accept_changes=config["accept_changes"])
        else:  # killed before the first one
            agent = make_agent(config, env)
        agent.learn_start = 0  # the whole run counts as one call of learn, however it was extended
        done = _is_trained(config, agent)
        last_file = folder / ("report.html" if config["evaluation.prompts"] else METRICS_FILE)
        if done and last_file.is_file():
            early = f", stopped early of {config[BUDGET]}" if _stopped_early(config, agent) else ""
            told = f"{agent.num_episodes} episodes{early}, {last_file}. prefgym evaluate judges it anew."
            print(f"{folder} is finished: {told}")
            return
        print(f"resuming after {agent.num_episodes} of {config[BUDGET]} episodes", flush=True)
        config.without(CONTROL).save(folder / CONFIG_FILE)
        _finish(config, folder, agent, splits)


def _finish(config: Config, folder: Path, agent: PolicyGradient, splits: Splits) -> None:
    """Train what is left to train, save the model, judge it, and write the report."""
    from ..agents.checkpoint import drop_old

    try:
        with blaming(type(agent)):
            _learn(config, folder, agent, splits)
            drop_old(folder)
            agent.save(folder)
        _report(config, folder, agent, splits)
    except KeyboardInterrupt as error:
        raise _told_stop(error, config, folder, agent) from None


def _learn(config: Config, folder: Path, agent: PolicyGradient, splits: Splits) -> None:
    """Train what is left to train; the policy then has the weights that the run ends with.

    A checkpoint has the last ones, from which ``--resume`` goes on.
    """
    from ..profiling import IterationProfiler, parts_table

    left = not _is_trained(config, agent)
    agent.learn(
        config[BUDGET],
        callback=IterationProfiler(folder) if config["profile"] else None,
        progress_bar=left,
        output=folder,
        save_every=config["agent.save_every"],
        validation=make_validation(config, splits["validation"]),
    )
    if config["profile"]:
        print(parts_table(agent.history), flush=True)
    if left and _stopped_early(config, agent):
        patience = f"evaluation.patience {config['evaluation.patience']}: no better score - β KL in as many validations"
        print(f"stopped after {agent.num_episodes} of {config[BUDGET]} episodes by {patience}", flush=True)


def _is_trained(config: Config, agent: PolicyGradient) -> bool:
    """Whether nothing is left to train: the budget is used, or patience ran out."""
    return agent.num_episodes >= config[BUDGET] or _stopped_early(config, agent)


def _stopped_early(config: Config, agent: PolicyGradient) -> bool:
    from ..agents.validated import is_stalled

    return agent.num_episodes < config[BUDGET] and is_stalled(agent.history, config["evaluation.patience"])


def _told_stop(error: KeyboardInterrupt, config: Config, folder: Path, agent: PolicyGradient) -> KeyboardInterrupt:
    """The stop, with what is saved, what will be repeated, and how to continue."""
    stop = stopped(error)
    done = _is_trained(config, agent)
    again = "the evaluation" if done else f"iteration {agent.iteration + 1}"
    return stopped(
        stop,
        f"stopped by {stop.name}; saved up to iteration {agent.iteration}, {again} will be repeated. "
        + how_to_go_on("train", folder),
    )


def _report(config: Config, folder: Path, agent: PolicyGradient, splits: Splits) -> None:
    """Judge the trained policy and write everything there is to look at, the model card included."""
    from ..agents.run_folder import write_card

    if not config["evaluation.prompts"]:
        facts = {"seed": config["seed"], "episodes": agent.num_episodes, "seconds": training_seconds(agent.history)}
        facts |= {"judge": None, "prompts": 0, "policies": {}}
        write_json(folder / METRICS_FILE, facts | _validation_facts(agent))
        print(f"model: {folder}")
        return
    trained = {"trained": agent.policy.language_model}
    evaluation = evaluate_run(config, agent.env, trained, splits, agent.history, parts=folder / PARTS)
    cut = agent.env.unwrapped.truncated_prompts
    evaluation.metrics["truncated_training_prompts"] = cut
    evaluation.metrics |= _validation_facts(agent)
    write_card(folder, agent, _card_facts(evaluation.metrics))
    write_run_report(config.without(CONTROL), folder, agent.env, evaluation, agent.history, agent.kept_iteration)
    discard_parts(folder)
    print(f"model: {folder}    curves: tensorboard --logdir {folder}")
    if cut:
        limit = agent.env.unwrapped.max_prompt_tokens
        print(f"{cut} of the training prompts read were longer than {limit} tokens and were cut.")


def _validation_facts(agent: PolicyGradient) -> dict[str, Any]:
    """The validation of the weights that the run ends with, where there was one."""
    from ..agents.validated import best, last_validation

    row = last_validation(agent.history) if agent.kept_iteration is None else best(agent.history)
    names = {name: name.rpartition("/")[2] for name in row or () if name.startswith(("iteration", "episodes", "valid"))}
    return {} if row is None else {"validation": {short: row[name] for name, short in names.items()}}


def _card_facts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Rows of the model card: how the trained policy fared, by whom judged, on what."""
    row = metrics["policies"]["trained"]
    facts = {"judge": metrics["judge"], "KL on held-out prompts (nats)": f"{row['kl']:.2f}"}
    for name, opponent in (("win_rate_vs_references", "references"), ("win_rate_vs_start", "start policy")):
        rate = row[name]
        if rate is not None:
            interval = f"{100 * rate['mean']:.1f} % (95 % interval {100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
            facts[f"wins against the {opponent}"] = f"{interval} on {metrics['prompts']} held-out prompts"
    return facts
