"""From resolved options to the objects of a run: prompts, environment, agent, evaluation, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .blame import blaming
from .config import Config
from .data.plain_text import visible
from .errors import InputError, MachineError
from .files import write_json
from .options import agent_class
from .output import METRICS_FILE
from .yaml_files import load_yaml

if TYPE_CHECKING:
    from .agents.base import PolicyGradient
    from .data.prompting import AnyTemplate, Usual
    from .data.prompts import PromptSet
    from .data.templates import Template
    from .envs.prompt_source import Prompt
    from .evaluation.policies.evaluate import Evaluation
    from .models.language_model import LanguageModel

PROBED_PROMPTS = 4
SAMPLE = "A summary."
"""What a reward and a judge are tried out on where there is no reference."""


def check_device(name: str) -> None:
    """Check that models can run on the device of that name.

    Raises:
        InputError: there is no such device type.
        MachineError: this machine has none, or cannot use it.
    """
    import torch

    from .models.placing import device_named

    device = device_named(name)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise MachineError(f'The device "{name}" cannot be used: {first_line(error)}.') from None


def first_line(error: Exception) -> str:
    """The first line of what a library says, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def read_template(text: str | None) -> Template:
    """The plain template given by an option; backslash n means a new line, which is hard to type in a shell."""
    from .data.templates import SUMMARIZE, Template

    return SUMMARIZE if text is None else Template(typed(text))


def typed(text: str) -> str:
    """A text as it was typed in a shell: backslash n means a new line."""
    return text.replace("\\n", "\n")


class World(NamedTuple):
    """An environment's defaults: template, prompt width, and embedded prompts by split and count."""

    template: Usual
    max_prompt_tokens: int
    prompts: Callable[[str, int | None], PromptSet]


def world_of(id: str) -> World:
    """The defaults of the environment with that id."""
    from .data.prompting import INSTRUCTIONS, SUMMARIES
    from .data.prompts import embedded_prompts, instruction_prompts

    worlds = {
        "Summarize-v0": World(SUMMARIES, 192, embedded_prompts),
        "Instruct-v0": World(INSTRUCTIONS, 224, instruction_prompts),
    }
    return worlds[id]


def prompt_shape(config: Config) -> tuple[str | Usual, int]:
    """The template and the prompt width: from the options, or else the environment's defaults."""
    world, template = world_of(config["env.id"]), config["env.template"]
    return (
        world.template if template is None else typed(template),
        config["env.max_prompt_tokens"] or world.max_prompt_tokens,
    )


def chat_words(config: Config, section: str = "env") -> dict[str, str | None]:
    """What the options say of a chat template."""
    given = {name: config[f"{section}.{name}"] for name in ("system_prompt", "instruction")}
    return {name: text and typed(text) for name, text in given.items()}


def template_of(config: Config, model: LanguageModel, as_trained: bool = True) -> AnyTemplate:
    """The template that a model is prompted with; not ``as_trained`` if what it was trained with does not matter."""
    from .data.prompting import resolve_template

    stored = model.prompting if as_trained else None
    asked = prompt_shape(config)[0]
    return resolve_template(asked, model.tokenizer, stored=stored, name=model.name, **chat_words(config))


def response_shape(config: Config) -> dict[str, Any]:
    """What ends a response beside EOS, and which special tokens stay in it; in texts, backslash n means a new line."""
    return {name: read_texts(config[f"env.{name}"], f"env.{name}") for name in ("stop_strings", "keep_special_tokens")}


def read_texts(given: Any, key: str) -> list[str] | None:
    """The texts that the words of an option say, or one word that is a YAML list of texts in quotes."""
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        word = given[0].strip()
        given = None if word.lower() in ("none", "null") else given
        given = load_yaml(word, key) if word.startswith(('["', "['")) else given  # but [INST] is a text
    if given is None:
        return None
    if not (isinstance(given, list) and given and all(isinstance(text, str) and text for text in given)):
        raise InputError(f'{key} must be texts that are not empty, such as "\\n\\n" User:, not {given!r}.')
    return [text.replace("\\n", "\n") for text in given]


def make_env(config: Config, prompts: PromptSet, *judged: PromptSet, template: AnyTemplate | None = None) -> Any:
    """The environment of a run over ``prompts``; its reward has been tried once, also on the held-out prompts.

    ``template`` stands for those that the options and the environment's model name.
    """
    import gymnasium

    check_device(config["env.device"])
    options = config.section("env")
    options["template"], options["max_prompt_tokens"] = prompt_shape(config)
    options |= response_shape(config) | chat_words(config)
    if template is not None:
        options |= {"template": template, "system_prompt": None, "instruction": None}
    env = gymnasium.make(options.pop("id"), prompts=prompts, **options)
    core: Any = env.unwrapped
    core.mdp.source.check_conversations()
    for some in (prompts[:PROBED_PROMPTS], *judged):
        _try_reward(env.unwrapped, some)
    return env


def _try_reward(env: Any, prompts: PromptSet) -> None:
    """Read prompts, and score texts for a few: what cannot work fails now, not after a rollout or training."""
    from .envs.prompt_source import columns_of
    from .evaluation.policies.decode import prepare
    from .evaluation.policies.measures import has_facts
    from .evaluation.policies.responses import DecodeSettings
    from .rewards.gold import gold
    from .rewards.reward import Reward

    settings = DecodeSettings(env.mdp.source.template, env.max_prompt_tokens)
    few = prepare(env.language_model, prompts, settings)[0][:PROBED_PROMPTS]
    texts = sample_responses(few, settings.template)
    asked = [prompt.told for prompt in few], texts, [prompt.index or 0 for prompt in few], columns_of(few)
    if few:
        env.reward(*asked)
        if has_facts(few):
            Reward({"gold": (gold, 1.0)})(*asked)  # which every evaluation reports where it can


def sample_responses(prompts: Sequence[Prompt], template: AnyTemplate) -> list[str]:
    """A possible response to each prompt: its reference, where there is one."""
    return [template.render_response(prompt.row.get("reference") or SAMPLE) for prompt in prompts]


def make_agent(config: Config, env: Any) -> PolicyGradient:
    """A fresh agent, on a copy of the environment's model."""
    kind = agent_class(config["agent.name"])
    with blaming(kind):
        return kind("default", env, seed=config["seed"], **hyperparameters(config))


def hyperparameters(config: Config) -> dict[str, Any]:
    """The agent's own options."""
    run = {"name", "total_episodes", "save_every"}
    return {name: value for name, value in config.section("agent").items() if name not in run}


def check_hyperparameters(config: Config) -> None:
    """Raise :class:`InputError` for one out of range, before any model is loaded."""
    from .agents.hyperparameters import make_hyperparameters

    kind = agent_class(config["agent.name"])
    try:
        with blaming(kind):
            make_hyperparameters(kind.hyperparameter_type, hyperparameters(config))
    except InputError as error:
        raise InputError(f"agent.{error}" if str(error)[0].islower() else str(error)) from None


def evaluate_run(
    config: Config,
    env: Any,
    policies: Mapping[str, LanguageModel],
    splits: Mapping[str, PromptSet],
    history: Sequence[Mapping[str, float]] = (),
    parts: Path | None = None,
) -> Evaluation:
    """Judge policies, trained from the environment's model, on the held-out prompts.

    Args:
        config: of the run.
        env: its environment.
        policies: by name.
        splits: as ``load_splits`` gives them.
        history: training scalars by iteration, with the episodes and seconds.
        parts: folder that keeps what is finished, to continue from after an interruption; ``None`` keeps nothing.
    """
    from .evaluation.policies.evaluate import evaluate_policies
    from .evaluation.policies.responses import DecodeSettings

    core = env.unwrapped
    names = score_names(core.reward)
    rewards = {name: function for name, (function, _) in zip(names, core.reward.parts.values(), strict=True)}
    judge = config["evaluation.judge"]
    if judge == "preference" and "preference_score" not in rewards:
        judge = "embedded"
    return evaluate_policies(
        policies,
        core.language_model,
        splits["test"],
        reference=core.reference,
        preference=rewards.pop("preference_score", None),
        rewards={name: function for name, function in rewards.items() if name != "gold_score"},
        trained_for=paid_functions(core.reward),
        judge=judge,
        validation=splits["validation"] if len(splits["validation"]) else None,
        yardsticks=config["evaluation.yardsticks"],
        settings=DecodeSettings(
            template=core.mdp.source.template,
            max_prompt_tokens=core.max_prompt_tokens,
            max_new_tokens=core.max_new_tokens,
            temperature=core.temperature,
            stop_strings=core.stop_strings,
            keep_special_tokens=core.keep_special_tokens,
        ),
        seed=config["seed"],
        episodes=int(history[-1]["episodes"]) if history else 0,
        seconds=training_seconds(history),
        progress=True,
        parts=parts,
    )


def paid_functions(reward: Any) -> list[Any]:
    """The parts of a reward that are paid, not only watched."""
    return [function for function, weight in reward.parts.values() if weight != 0]


def score_names(reward: Any) -> list[str]:
    """The names of a reward's parts in an evaluation: the preference model and gold have their own."""
    from .rewards.ensemble import PreferenceEnsemble
    from .rewards.gold import gold
    from .rewards.preference_model import PreferenceModel

    names: list[str] = []
    for name, (function, _) in reward.parts.items():
        if isinstance(function, PreferenceModel | PreferenceEnsemble) and "preference_score" not in names:
            names.append("preference_score")
        else:
            names.append("gold_score" if function is gold else name)
    return names


def score_weights(reward: Any) -> dict[str, float]:
    """The weight of each part of a reward, by its name in an evaluation."""
    return dict(zip(score_names(reward), (weight for _, weight in reward.parts.values()), strict=True))


def training_seconds(history: Sequence[Mapping[str, float]]) -> float:
    """Seconds of rollouts and updates, summed over every call that resumed the run."""
    from .agents.validated import iterations

    return float(sum(row["time/rollout_seconds"] + row["time/update_seconds"] for row in iterations(history)))


def write_run_report(
    config: Config,
    folder: Path,
    env: Any,
    evaluation: Evaluation,
    history: Sequence[Mapping[str, float]],
    kept: int | None = None,
) -> None:
    """Write metrics, pictures and report, add the figures to TensorBoard, and print them with a sample.

    ``kept`` is the iteration whose weights the best validation chose, if it did.
    """
    from .evaluation.reports.run_report import write_report
    from .evaluation.reports.tables import align, sample_block, summary_table, training_table

    core = env.unwrapped
    write_json(folder / METRICS_FILE, evaluation.metrics)
    write_events(folder, evaluation.metrics)
    page = write_report(
        folder,
        evaluation,
        history,
        title=f"{config['env.id']}: start policy and trained policy",
        weights=score_weights(core.reward),
        kl_coef=core.kl_coef,
        missing_eos_penalty=core.missing_eos_penalty,
        config=config.to_yaml(),
        kept=kept,
    )
    header, rows = training_table(history)
    if rows:
        print(f"\nover training, as sampled; each part of the reward before its weight\n\n{align(header, rows)}")
    print(f"\n{summary_table(evaluation.metrics)}\n\n{sample_block(evaluation)}\n\nreport: {page}")


def write_events(folder: Path, metrics: Mapping[str, Any]) -> None:
    """The figures of every candidate, as TensorBoard scalars ``evaluation/FIGURE/CANDIDATE``."""
    from .agents.monitor import is_judged
    from .storage.events import open_events

    with open_events(folder / "tensorboard", lambda tag, step: not is_judged(tag)) as writer:
        for candidate, row in metrics["policies"].items():
            for figure, value in row.items():
                number = value.get("mean") if isinstance(value, dict) else value
                if isinstance(number, int | float):
                    writer.add_scalar(visible(f"evaluation/{figure}/{candidate}"), number, metrics["episodes"])
