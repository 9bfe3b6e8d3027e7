"""From resolved options to the objects of a run: prompts, environment, agent, and the evaluation of the result."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from .config import Config, Option
from .errors import InputError, nearest

if TYPE_CHECKING:
    import gymnasium as gym

    from .agents.base import PolicyGradient
    from .data.prompts import PromptSet
    from .evaluation.evaluate import Evaluation
    from .models.language_model import LanguageModel

ENVIRONMENTS = ("Summarize-v0",)

ENV_OPTIONS = [
    Option("env.id", str, "Summarize-v0", "Registered environment.", choices=ENVIRONMENTS),
    Option("env.model", str, None, "Language model to train: a folder or hub id (default: the embedded start policy)."),
    Option("env.reference", str, None, "Model the KL is measured from (default: a frozen copy of the start policy)."),
    Option("env.reward", object, None, "Preference-model folder or hub id, function (my_rewards.py:rouge), or {name: {function, weight}}."),
    Option("env.template", str, None, 'Text around a prompt, with {prompt} in it (default "{prompt}\\n\\nTL;DR:").'),
    Option("env.kl_coef", float, 0.05, "β: price of a nat of KL in units of the score.", minimum=0),
    Option("env.kl_estimator", str, "k1", "Estimator of the KL that is paid: k1, k2, k3 or exact."),
    Option("env.max_prompt_tokens", int, 192, "Longest prompt; longer ones are cut at a sentence and counted.", minimum=1),
    Option("env.max_new_tokens", int, 48, "Longest response.", minimum=1),
    Option("env.missing_eos_penalty", float, 1.0, "Taken off the score of a response that the budget ended.", minimum=0),
    Option("env.temperature", float, 1.0, "Temperature of policy and reference alike.", above=0),
    Option("env.device", str, "cpu", "Where models run: cpu, cuda, cuda:1, ..."),
]

DATA_OPTIONS = [
    Option("data.prompts", str, None, "File (JSONL, JSON, CSV, Parquet), hub id or corpus preset (default: the embedded posts)."),
    Option("data.prompt_column", str, "prompt", "Column with the prompt."),
    Option("data.reference_column", str, "reference", "Column with the human text, if there is one."),
    Option("data.held_out", float, None, "Share of a file's prompts held out for evaluation (default: its own test split, or 10 %).", above=0),
]

EVALUATION_OPTIONS = [
    Option("evaluation.prompts", int, 500, "Held-out prompts to evaluate on; 0 skips the evaluation.", minimum=0),
    Option("evaluation.judge", str, None, "gold, preference, a preference-model folder, or a function (default: gold where it exists)."),
]

VALIDATION_PROMPTS = 100
_ATTRIBUTE = re.compile(r"^        (\w+): (.*(?:\n {12,}.*)*)", re.MULTILINE)


def agent_class(name: str) -> type[PolicyGradient]:
    """Return the agent called ``name`` (``ppo``), or by dotted path (``my_agents.Mine``)."""
    from .agents import AGENTS

    if name in AGENTS:
        return AGENTS[name]
    raise InputError(f'There is no agent "{name}"; agents are {", ".join(AGENTS)}.{nearest(name, AGENTS)}')


def agent_options(kind: type[PolicyGradient]) -> list[Option]:
    """Return ``agent.*`` options: what every run has, and the hyperparameters of this agent with their documentation."""
    options = [
        Option("agent.name", str, "ppo", "Agent: ppo or reinforce."),
        Option("agent.total_episodes", int, 4096, "Episodes to train for.", minimum=1),
        Option("agent.save_every", int, 20, "Iterations between two checkpoints.", minimum=1),
    ]
    hints = get_type_hints(kind.hyperparameter_type)
    documentation = {
        name: " ".join(text.split())
        for ancestor in reversed(kind.hyperparameter_type.__mro__)
        for name, text in _ATTRIBUTE.findall("\n".join("    " + line for line in (ancestor.__doc__ or "").splitlines()))
    }
    for field in dataclasses.fields(kind.hyperparameter_type):
        default = field.default
        options.append(Option(f"agent.{field.name}", _kind(hints[field.name]), default, documentation.get(field.name, "")))
    return options


def _kind(hint: Any) -> type:
    """The one plain type in ``int``, ``float | None`` and the like."""
    plain = [part for part in (get_args(hint) if get_origin(hint) is not None else (hint,)) if part is not type(None)]
    return plain[0] if len(plain) == 1 and plain[0] in {int, float, str, bool} else object


def load_splits(config: Config) -> dict[str, PromptSet]:
    """Return the prompt sets ``train``, ``validation`` and ``test`` of a run."""
    from .data.prompts import embedded_prompts, load_prompts

    source, held_out = config["data.prompts"], config["data.held_out"]
    number = max(config["evaluation.prompts"], 1)
    if source is None:
        counts = {"train": None, "validation": VALIDATION_PROMPTS, "test": number}
        return {split: embedded_prompts(split, count) for split, count in counts.items()}
    columns = {name: config[f"data.{name}"] for name in ("prompt_column", "reference_column")}
    if held_out is None:
        splits = {split: load_prompts(source, split=split, **columns) for split in ("train", "validation", "test")}
        return {**splits, "test": splits["test"][:number]}
    return {**_divide(load_prompts(source, **columns), held_out, number), "validation": load_prompts(source, **columns)[:0]}


def _divide(prompts: PromptSet, held_out: float, number: int) -> dict[str, PromptSet]:
    """Divide a file's prompts by a stable hash of the prompt: every row of one prompt is on one side."""
    from .data.prompts import PromptSet
    from .data.splits import assign_split

    if held_out >= 1:
        raise InputError(f"--data.held_out is {held_out}, but must be a share below 1.")
    rows = [prompts[index] for index in range(len(prompts))]
    fractions = {"train": 1 - held_out, "test": held_out}
    sides = [assign_split(row["prompt"], fractions) for row in rows]
    divided = {
        side: PromptSet([row for row, of in zip(rows, sides, strict=True) if of == side], f"{prompts.name} ({side})")
        for side in fractions
    }
    for side, part in divided.items():
        if not len(part):
            raise InputError(f"{prompts.name} has {len(rows)} prompts and leaves none to {side}; change --data.held_out.")
    return {**divided, "test": divided["test"][:number]}


def make_env(config: Config, prompts: PromptSet) -> gym.Env[Any, Any]:
    """Return the environment of a run over ``prompts``."""
    import gymnasium

    options = config.section("env")
    return gymnasium.make(options.pop("id"), prompts=prompts, **options)


def make_agent(config: Config, env: gym.Env[Any, Any], folder: Path | None = None, *, resume: bool = False) -> PolicyGradient:
    """Return the agent of a run, fresh or from the last checkpoint in ``folder``."""
    kind = agent_class(config["agent.name"])
    options = config.section("agent")
    for name in ("name", "total_episodes", "save_every"):
        options.pop(name)
    if resume:
        assert folder is not None
        return kind.resume(folder, env)
    return kind("default", env, seed=config["seed"], **options)


def evaluate_run(
    config: Config,
    env: gym.Env[Any, Any],
    policies: dict[str, LanguageModel],
    splits: dict[str, PromptSet],
    *,
    episodes: int = 0,
    seconds: float = 0.0,
) -> Evaluation:
    """Judge policies, trained from the environment's start model, on the held-out prompts."""
    from .evaluation.decode import DecodeSettings
    from .evaluation.evaluate import evaluate_policies
    from .rewards.preference_model import PreferenceModel

    core: Any = env.unwrapped
    parts = {name: function for name, (function, _) in core.reward.parts.items()}
    preference = next((function for function in parts.values() if isinstance(function, PreferenceModel)), None)
    return evaluate_policies(
        policies,
        core.language_model,
        splits["test"],
        reference=core.reference,
        preference=preference,
        rewards={name: function for name, function in parts.items() if function is not preference},
        judge=config["evaluation.judge"],
        validation=splits["validation"] if len(splits["validation"]) else None,
        settings=DecodeSettings(
            template=core.template,
            max_prompt_tokens=core.max_prompt_tokens,
            max_new_tokens=core.max_new_tokens,
            temperature=core.temperature,
        ),
        seed=config["seed"],
        episodes=episodes,
        seconds=seconds,
        progress=True,
    )
