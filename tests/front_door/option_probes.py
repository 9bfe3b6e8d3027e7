"""What a command does with its options, seen from as deep inside as costs little: recorders in the place of training
loops, evaluations and judges, which note what reaches them and end the command there.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel

Seen = dict[str, Any]
Probe = Callable[[pytest.MonkeyPatch, Seen], None]


class Reached(InputError):
    """A recorder has noted what there is to note."""


SETTINGS = ("max_prompt_tokens", "max_new_tokens", "temperature", "stop_strings", "keep_special_tokens")
"""What every policy that is judged is decoded with, beside its template."""


def stop(*_: Any, **__: Any) -> Any:
    raise Reached("as far as this goes")


def of_model(model: Any) -> float:
    """A number that tells one language model from another."""
    with torch.no_grad():
        return round(float(model.model(torch.tensor([[1, 2, 3]])).logits.abs().sum()), 3)


def of_rows(rows: Any) -> tuple[Any, ...]:
    """How many prompts there are, and the first."""
    return len(rows), *(rows[0].get(column) for column in ("prompt", "reference") if len(rows))


def under_here(path: Any) -> str | None:
    """A path from the current folder on."""
    return None if path is None else str(Path(path).resolve().relative_to(Path.cwd()))


def devices(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note where models are loaded to."""
    for kind, name in ((LanguageModel, "load"), (PreferenceModel, "load"), (PreferenceModel, "start")):
        patch.setattr(kind, name, classmethod(_noting(getattr(kind, name).__func__, seen)))


def _noting(load: Callable[..., Any], seen: Seen) -> Callable[..., Any]:
    def noted(kind: type, name: Any, **options: Any) -> Any:
        device = str(options.get("device", "nowhere said"))
        seen["devices"] = sorted({*seen.get("devices", ()), device})
        dtype = options.get("dtype", torch.float32)
        if dtype != torch.float32:
            seen["dtypes"] = sorted({*seen.get("dtypes", ()), str(dtype)})
        if options.get("check") is False:
            seen["unchecked"] = True
        return load(kind, name, **options)

    return noted


def environment(env: Any) -> Seen:
    """What an environment is made of, and what it pays for six tokens after its first prompt."""
    from prefgym.game import write_out

    core = env.unwrapped
    written = write_out(env, 0, range(5, 5 + core.max_new_tokens))
    parts = {name: float(value) for name, value in written.info["score_parts"].items()}
    return {
        "id": env.spec.id,
        "start policy": of_model(core.language_model),
        "reference": of_model(core.reference),
        "prompts": of_rows(core.prompts),
        "read": written.info["prompt"],
        "width": core.max_prompt_tokens,
        "response": written.info["response"],
        "special": core.response_text([5, core.eos_token_id, 6]),
        "penalty": parts.pop("missing_eos_penalty"),
        "score": parts,
        "kl": float(written.info["kl"]),
        "kl (k1)": float(written.info["kl_k1"]),
        "β": round((float(written.info["score"]) - written.reward) / float(written.info["kl"]), 3),
    }


def learning(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note the agent that is to learn, how, and in which environment."""
    from prefgym.agents.base import PolicyGradient

    resume = PolicyGradient.resume.__func__  # type: ignore[attr-defined]

    def learn(agent: Any, episodes: int, callback: Any = None, output: Any = None, save_every: Any = None, **more: Any):
        asked = more.get("validation")
        seen.update(
            {
                "agent": type(agent).__name__,
                "hyperparameters": dataclasses.asdict(agent.hyperparameters),
                "seed": agent.seed,
                "episodes": episodes,
                "callback": callback and type(callback).__name__,
                "folder": under_here(output),
                "save_every": save_every,
                "validated": asked and {name: getattr(asked, name) for name in ("every", "patience", "keep")},
                "validation": asked and len(asked.prompts),
                "drawn": agent.env.unwrapped.sample_prompt_indices(2),
            }
        )
        seen.update(environment(agent.env))
        stop()

    def resumed(kind: type, folder: Any, env: Any, **options: Any) -> Any:
        seen["resumed"] = options
        return resume(kind, folder, env, **options)

    from prefgym import dry_run

    devices(patch, seen)
    patch.setattr(dry_run, "Trial", lambda agent: learn(agent, 0))
    patch.setattr(PolicyGradient, "learn", learn)
    patch.setattr(PolicyGradient, "resume", classmethod(resumed))


def evaluating(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note what is judged, on what, by whom, and what the report is told beside it."""
    from types import SimpleNamespace

    from prefgym.evaluation.policies import evaluate
    from prefgym.evaluation.reports import run_report

    def evaluate_policies(policies: Any, start: Any, prompts: Any, **told: Any) -> Any:
        settings, preference = told["settings"], told["preference"]
        seen.update(
            {
                "policies": {name: of_model(model) for name, model in policies.items()},
                "start policy": of_model(start),
                "reference": of_model(told["reference"]),
                "held out": of_rows(prompts),
                "validation": told["validation"] and len(told["validation"]),
                "preference": preference and float(preference.score(["one"], [" two"])[0]),
                "rewards": list(told["rewards"]),
                "judge": told["judge"],
                "yardsticks": told["yardsticks"],
                "seed": told["seed"],
                "folder": under_here(Path(told["parts"]).parent),
                "template": settings.template.render("x"),
                **{key: getattr(settings, key) for key in SETTINGS},
            }
        )
        return SimpleNamespace(metrics={"policies": {}, "episodes": 0})

    def write_report(*_: Any, kl_coef: float, missing_eos_penalty: float, title: str, **__: Any) -> None:
        seen.update({"β": kl_coef, "penalty": missing_eos_penalty, "title": title.split(":")[0]})
        stop()

    devices(patch, seen)
    patch.setattr(evaluate, "evaluate_policies", evaluate_policies)
    patch.setattr(run_report, "write_report", write_report)


def learned(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """As ``evaluating``, of an agent that learned nothing."""
    from prefgym.agents.base import PolicyGradient
    from prefgym.commands import train

    evaluating(patch, seen)
    patch.setattr(PolicyGradient, "learn", lambda agent, *_, **__: agent)
    patch.setattr(train, "_card_facts", stop)


def comparing(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """As ``evaluating``, of several runs; and what is trained for it."""
    from prefgym.commands import compare

    evaluating(patch, seen)
    patch.setattr(compare, "_report", stop)


def training_to_compare(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note which runs are trained for a comparison, in place of training them."""
    from prefgym.commands import compare

    of_env = ("env.kl_coef", "env.kl_estimator", "env.missing_eos_penalty")
    kept = ("resume", *of_env, "agent.name", "agent.total_episodes", "agent.save_every")

    def train(config: Any) -> None:
        seen.setdefault("trained", []).append(
            (under_here(config["output"]), config["seed"], *(config[key] for key in kept))
        )

    patch.setattr(compare, "train", train)
    patch.setattr(compare, "_load", stop)


def adapted(model: Any) -> list[Any]:
    """The layers with an adapter: the ends of their names, its rank, and what it is scaled by."""
    layers = [(name, part) for name, part in model.named_modules() if hasattr(part, "lora_A")]
    return sorted({(name.rpartition(".")[2], part.r["default"], part.scaling["default"]) for name, part in layers})


def adapted_layers(model: Any) -> list[int]:
    """The numbers of the layers with an adapter."""
    names = [name for name, part in model.named_modules() if hasattr(part, "lora_A")]
    return sorted({int(word) for name in names for word in name.split(".") if word.isdigit()})


def fitting(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note what a supervised run is about to learn, and how."""
    from prefgym.models.resumable import ResumableTrainer

    keep = ResumableTrainer.keep_checkpoints
    known = ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16", "seed", "max_steps")
    known += ("warmup_steps", "eval_steps", "lr_scheduler_type", "weight_decay")

    def keep_checkpoints(trainer: Any, folder: Path, inputs: Any, resume: bool, accept_changes: bool) -> None:
        seen.update({"folder": under_here(folder), "resumed": resume, "accept_changes": accept_changes})
        keep(trainer, folder, inputs, resume, accept_changes)

    def fit(trainer: Any) -> float:
        examples = list(trainer.train_dataset)
        seen.update(
            {
                "examples": examples,
                "held out": list(trainer.eval_dataset or ()),
                "an epoch": None if trainer.epochs_of is None else len(trainer.epochs_of),
                "packed": getattr(trainer.data_collator, "packed", None),
                "model": [float(weight.detach().flatten()[0]) for weight in trainer.model.parameters()],
                "save_every": trainer.args.save_steps,
                "adapted": adapted(trainer.model),
                "adapted layers": adapted_layers(trainer.model),
                **{name: getattr(trainer.args, name) for name in known},
            }
        )
        return stop()

    def estimated(model: Any, data: Any, options: Any, epoch: int, packed: bool) -> None:
        seen.update({"estimated": epoch})
        stop()

    devices(patch, seen)
    patch.setattr("prefgym.estimate_sft.estimate_finetuning", estimated)
    patch.setattr(ResumableTrainer, "keep_checkpoints", keep_checkpoints)
    patch.setattr(ResumableTrainer, "fit", fit)


def anchoring(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Of a preference model that was trained in no step, note whose judgements it is measured on, and the texts whose
    scores it is made to average 0 on."""
    from prefgym.rewards import breakdown, training

    measure = breakdown.breakdown

    def measured(*given: Any) -> Any:
        found = measure(*given)
        seen["annotators"] = sorted(found["by_annotator"] or ())
        return found

    def reference_shift(model: Any, prompts: Any, texts: Any) -> None:
        seen["references"] = list(zip(prompts, texts, strict=True))
        stop()

    patch.setattr(breakdown, "breakdown", measured)
    patch.setattr(training, "train_preference_model", lambda *_, **__: {"history": []})
    patch.setattr(training, "reference_shift", reference_shift)


def typing(*lines: str) -> Probe:
    """A person who types these lines, before a screen that is kept."""

    def probe(patch: pytest.MonkeyPatch, seen: Seen) -> None:
        devices(patch, seen)
        patch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return probe


def asking(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note what a model is asked in a benchmark, in place of asking it."""
    from prefgym.evaluation.benchmarks import harness
    from prefgym.evaluation.policies import parts

    class Parts(parts.Parts):
        def __init__(self, folder: Path, *told: Any) -> None:
            seen["folder"] = under_here(folder.parent)
            super().__init__(folder, *told)

    def run_tasks(model: Any, tasks: Sequence[Any], **options: Any) -> None:
        seen.update({"batch_size": model.batch_size, **options})
        stop()

    devices(patch, seen)

    def count(tasks: Sequence[Any], limit: int | None) -> int:
        seen.setdefault("tasks", [task.name for task in tasks])
        return 0

    patch.setattr(parts, "Parts", Parts)
    patch.setattr(harness, "run_tasks", run_tasks)
    patch.setattr(harness, "count_requests", count)


def listening(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note what a lecture measures with, and in which language it tells what it found."""
    from types import SimpleNamespace

    import prefgym.lecture
    from prefgym.lecture import report

    def measure(shop: Any) -> dict[str, Any]:
        seen.update(
            {
                "budget": shop.budget,
                "seeds": list(shop.seeds),
                "suites": shop.suites,
                "folder": under_here(shop.folder),
            }
        )
        return {}

    def load_figure(name: str) -> Any:
        seen.setdefault("figures", []).append(name)
        return SimpleNamespace(name=name, measure=measure)

    def verdict(figure: Any, numbers: Any, words: Any) -> None:
        seen["title"] = words["page"]["title"]
        stop()

    patch.setattr(prefgym.lecture, "load_figure", load_figure)
    patch.setattr(report, "verdict", verdict)


def building(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    """Note what is built, each stage in no time."""
    from prefgym.assets.build import STAGES, Build
    from prefgym.files import write_text

    def stage(name: str) -> Callable[[Any, Path], dict[str, Any]]:
        def make(build: Any, folder: Path) -> dict[str, Any]:
            seen.update({"size": build.size, "seed": build.seed, "folder": under_here(build.folder)})
            seen.setdefault("stages", []).append(name)
            write_text(folder / "model.txt", name)
            return {}

        return make

    for name in STAGES:
        patch.setattr(Build, name, stage(name))
