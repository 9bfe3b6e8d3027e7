"""The options that several commands share, and those of an agent, read from its hyperparameters."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from .blame import blaming
from .config import Option
from .errors import InputError, nearest
from .rewards.kl_names import KL_ESTIMATORS

if TYPE_CHECKING:
    from .agents.base import PolicyGradient

ENVIRONMENTS = ("Summarize-v0", "Instruct-v0")
"""Those whose texts are readable; ``Enumerable-v0`` is for ``prefgym.check_agent``."""

KL_ESTIMATOR = Option("env.kl_estimator", str, "k1", "Estimator of the KL that is paid.", choices=KL_ESTIMATORS)
"""An option of training alone: an evaluation measures the exact KL, and a player pays log π_ref."""

ENV_OPTIONS = [
    Option(
        "env.id",
        str,
        "Summarize-v0",
        "Posts to summarize, or instructions to follow. (Enumerable-v0 is for Python: prefgym.check_agent.)",
        choices=ENVIRONMENTS,
    ),
    Option("env.model", str, None, "Model to train: a folder or hub id (default: the embedded start policy)."),
    Option("env.reference", str, None, "Model the KL is measured from (default: a frozen copy of env.model)."),
    Option(
        "env.reward",
        object,
        None,
        "Preference-model folder or hub id, gold, rouge_l, a function (my_rewards.py:score), several models as one: "
        "{models: [a, b], combine: worst} (or mean, mean_minus_std), or several weighted rewards: "
        "{fit: {function: rouge_l, weight: 1}} (default: the embedded preference model; for Instruct-v0 "
        "rouge_l with the accepted answers).",
    ),
    Option(
        "env.template",
        str,
        None,
        "Text around a prompt; {prompt} is the prompt. Or chat: the model's own chat template (default: what the model "
        "was trained with; else chat if it has a chat template, else {prompt}\\n\\nTL;DR:, for Instruct-v0 "
        "{prompt}\\n\\n### Response:).",
    ),
    Option("env.system_prompt", str, None, "System message in a chat template (default: whatever the template does)."),
    Option(
        "env.instruction",
        str,
        None,
        "Text around a prompt in a chat template; {prompt} alone adds nothing, which is the default for Instruct-v0 "
        "(else: Summarize this post in one sentence.\\n\\n{prompt}). Conversations bring their own.",
    ),
    Option("env.kl_coef", float, 0.05, "β, the cost of one nat of KL in units of the score.", minimum=0),
    KL_ESTIMATOR,
    Option(
        "env.max_prompt_tokens",
        int,
        None,
        "Longest prompt; a longer one is cut at a sentence (default 192, for Instruct-v0 224).",
        minimum=1,
    ),
    Option("env.max_new_tokens", int, 48, "Longest response.", minimum=1),
    Option("env.missing_eos_penalty", float, 1.0, "Subtracted from the score of a response without EOS.", minimum=0),
    Option(
        "env.stop_strings",
        object,
        None,
        "Texts that end a response, all up to the next option; \\n is a new line. The score is of the text before.",
        several=True,
    ),
    Option(
        "env.keep_special_tokens",
        object,
        None,
        "Special tokens that stay in the text that rewards and judges get, such as <think> </think>.",
        several=True,
    ),
    Option("env.temperature", float, 1.0, "Temperature of both policy and reference.", above=0),
    Option("env.device", str, "cpu", "Where models run: cpu, cuda, cuda:1, ..."),
    Option(
        "env.dtype",
        str,
        "fp32",
        "How models that are not trained are stored: fp32, bf16 or fp16 (this with agent.precision fp32 only); weights "
        "that are trained, and those of a run, are fp32.",
    ),
    Option(
        "env.check_model",
        bool,
        True,
        "Read short texts with a model that is loaded, and stop where its numbers are not a plain forward pass's.",
    ),
]

ACCEPT_SHARED = "evaluation.accept_shared_rows"

WORLD_OPTIONS = [option for option in ENV_OPTIONS if option is not KL_ESTIMATOR]
"""Those of ``ENV_OPTIONS`` that mean something where nothing is trained."""

DATA_OPTIONS = [
    Option("data.prompts", str, None, "JSONL, JSON, CSV or Parquet file, hub id, or corpus (default: embedded posts)."),
    Option("data.prompt_column", str, "prompt", "Column with the prompt."),
    Option(
        "data.reference_column",
        str,
        "reference",
        "Column with the human text, if there is one. Several (a,b,c), or a list in it, are several references: ROUGE "
        "takes the best of them, all else the first.",
    ),
    Option(
        "data.held_out",
        float,
        None,
        "Share of the prompts held out for evaluation (default: the data's own splits, else 10 %, and 10 % to choose "
        "a temperature on).",
        above=0,
    ),
]

EVALUATION_OPTIONS = [
    Option(
        "evaluation.prompts", int, 500, "At most this many held-out prompts; 0 skips evaluation and report.", minimum=0
    ),
    Option(
        "evaluation.yardsticks",
        bool,
        True,
        "Also judge the start policy's best of 4 and at its best temperature, which takes longer than all the rest.",
    ),
    Option(
        "evaluation.judge",
        object,
        None,
        "gold, preference, a preference-model folder, several as one as in env.reward, or a function (default: gold "
        "where it exists, else the reward).",
    ),
    Option(
        ACCEPT_SHARED,
        bool,
        False,
        "Let a preference model judge that learned from prompts that are judged, or that the reward learned from too.",
    ),
    Option(
        "evaluation.validation_prompts",
        int,
        100,
        "At most this many validation prompts, on which a temperature is chosen, and training is validated.",
        minimum=1,
    ),
]

EVERY = Option(
    "evaluation.every",
    int,
    None,
    "Iterations between two validations in training: score, KL and ROUGE-L on validation prompts (default: none). "
    "With data.held_out half of what is held out is for validation.",
    minimum=1,
)

VALIDATION_OPTIONS = [
    EVERY,
    Option(
        "evaluation.patience",
        int,
        None,
        "Stop training after this many validations in a row without a better score - β KL (default: never).",
        minimum=1,
    ),
    Option(
        "evaluation.keep",
        str,
        None,
        "Weights that the run ends with: best, of the validation with the highest score - β KL, or last (default: best "
        "with evaluation.every).",
        choices=("best", "last"),
    ),
]
"""Options of training alone, which an evaluation needs only to know which prompts are held out."""

AGENT_OPTIONS = [
    Option(
        "agent.name",
        str,
        "ppo",
        "The learning algorithm: ppo, reinforce, a2c, dpo, expert_iteration, or a class as file.py:Class.",
    ),
    Option("agent.total_episodes", int, 4096, "Episodes to train for.", minimum=1),
    Option("agent.save_every", int, 10, "Iterations between two checkpoints.", minimum=1),
]


def agent_class(name: str) -> type[PolicyGradient]:
    """The agent of that short name, or the class at a dotted path or in a file (``"my_agent.py:MyAgent"``)."""
    from .agents import AGENTS, PolicyGradient
    from .rewards.importing import import_function

    if name in AGENTS:
        return AGENTS[name]
    if not set(name) & set(".:"):
        raise InputError(f'There is no agent "{name}"; agents are {", ".join(AGENTS)}.{nearest(name, AGENTS)}')
    found = import_function(name, "class")
    if not (isinstance(found, type) and issubclass(found, PolicyGradient)):
        raise InputError(f'"{name}" is not an agent: an agent is a subclass of prefgym.agents.PolicyGradient.')
    return found


def agent_options(name: str) -> list[Option]:
    """The ``agent.*`` options: those of every run, then the agent's hyperparameters, described by its docstring."""
    kind = agent_class(name)
    with blaming(kind):
        return [*AGENT_OPTIONS, *_options_of(kind.hyperparameter_type)]


def _options_of(kind: type) -> list[Option]:
    hints, told = get_type_hints(kind), _attributes(kind)
    return [
        Option(
            f"agent.{field.name}",
            _plain(hints[field.name]),
            field.default,
            _sentence(told.get(field.name, "")),
            optional=type(None) in get_args(hints[field.name]),
        )
        for field in dataclasses.fields(kind)
    ]


def every_agent_option() -> list[Option]:
    """The options of all agents, each once."""
    from .agents import AGENTS

    return list({option.key: option for name in reversed(AGENTS) for option in agent_options(name)}.values())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _attributes(kind: type) -> dict[str, str]:
    """The description of each attribute in the docstrings of a class and its bases."""
    pattern = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)
    docs = [inspect.cleandoc(base.__doc__ or "") for base in reversed(kind.__mro__)]
    return {name: " ".join(text.replace("``", "").split()) for doc in docs for name, text in pattern.findall(doc)}


def _plain(hint: Any) -> type:
    """The one plain type in ``int``, ``float | None`` and the like."""
    parts = [part for part in (get_args(hint) if get_origin(hint) is not None else (hint,)) if part is not type(None)]
    return parts[0] if len(parts) == 1 and parts[0] in {int, float, str, bool} else object
