"""Every option of every command, with what it changes: a value where it is told, ``ANY`` where it just differs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import option_scenes as scenes

ANY = object()
Given = Callable[..., None] | None


class Line(NamedTuple):
    """What an option does.

    words: its value on the command line; none for a flag.
    changes: everything that is seen to change, by name; ``refused`` where a call goes through that does not without.
    beside: other options, given with it and without it.
    scene: the call it is tried in, by default that of its command.
    given: what stands in the folder before.
    """

    words: tuple[str, ...]
    changes: Mapping[str, Any]
    beside: tuple[str, ...]
    scene: str
    given: Given


def told(changed: str, *words: str, value: Any = ANY, beside: str = "", scene: str = "", given: Given = None) -> Line:
    """A line; the names of what changes stand with commas between them, and the first of them may have a value."""
    names = changed.split(", ")
    return Line(words, {**dict.fromkeys(names, ANY), names[0]: value}, tuple(beside.split()), scene, given)


TRAIN = {
    "config": told("agent, hyperparameters, folder, β", "@own", value="REINFORCE"),
    "output": told("folder", "mine", value="mine"),
    "resume": told("refused", scene="train further", given=scenes.unfinished, beside="--agent.total_episodes 24"),
    "overwrite": told("refused", given=scenes.worth_keeping),
    "accept_changes": told(
        "resumed", scene="train further", given=scenes.longer, beside="--resume", value={"accept_changes": True}
    ),
    "trust": told(
        "refused",
        "shared",
        scene="train further",
        given=scenes.shared,
        beside="--resume --accept-changes --output shared",
    ),
    "dry_run": told("episodes, folder, save_every", value=0),
    "profile": told("callback", value="IterationProfiler"),
    "seed": told("seed, drawn", "5", value=5),
    "env.id": told("id, prompts, read, score, kl, kl (k1)", "Instruct-v0", value="Instruct-v0"),
    "env.model": told("start policy, kl, kl (k1)", "@run"),
    "env.reference": told("reference, kl, kl (k1)", "@run"),
    "env.reward": told("score", "@preference2"),
    "env.template": told("read, score, kl, kl (k1)", "Post: {prompt} So:"),
    "env.system_prompt": told("read, score, kl, kl (k1)", "Be kind", beside="--env.model @chat"),
    "env.instruction": told("read, score, kl, kl (k1)", "Say {prompt}", beside="--env.model @chat"),
    "env.kl_coef": told("β", "0.7", value=0.7),
    "env.kl_estimator": told("kl", "k3"),
    "env.max_prompt_tokens": told("width, read, score, kl, kl (k1)", "30", value=30),
    "env.max_new_tokens": told("response, score, kl, kl (k1)", "5"),
    "env.missing_eos_penalty": told("penalty", "3", value=-3.0),
    "env.stop_strings": told("response, penalty, score, kl, kl (k1)", "(", "no", value="%&'"),
    "env.keep_special_tokens": told("special", "<|endoftext|>", value="%<|endoftext|>&"),
    "env.temperature": told("kl, kl (k1)", "2"),
    "env.device": told("devices", "cpu:0", value=["cpu:0"]),
    "env.dtype": told("dtypes, reference, score, kl, kl (k1)", "bf16", value=["torch.bfloat16"]),
    "env.check_model": told("unchecked"),
    "data.prompts": told("prompts, drawn, read, score, kl, kl (k1)", "@posts"),
    "data.prompt_column": told("prompts, drawn, read, score, kl, kl (k1)", "text", beside="--data.prompts @posts"),
    "data.reference_column": told("prompts", "summary", beside="--data.prompts @posts"),
    "data.held_out": told("prompts, drawn, read, score, kl, kl (k1)", "0.5", beside="--data.prompts @posts"),
    "agent.name": told("agent, hyperparameters", "reinforce", value="REINFORCE"),
    "agent.total_episodes": told("episodes", "24", value=24),
    "agent.save_every": told("save_every", "3", value=3),
    "evaluation.prompts": told("held out, validation", "2", scene="train to the report"),
    "evaluation.yardsticks": told("yardsticks", value=True, scene="train to the report"),
    "evaluation.judge": told("judge", "preference", value="preference", scene="train to the report"),
    "evaluation.accept_shared_rows": told("refused", beside="--evaluation.judge @seen"),
    "evaluation.validation_prompts": told("validation", "2", value=2, beside="--evaluation.every 1"),
    "evaluation.every": told(
        "validated, validation", "2", value={"every": 2, "patience": None, "keep": "best"}, scene="train"
    ),
    "evaluation.patience": told("validated", "3", beside="--evaluation.every 1"),
    "evaluation.keep": told("validated", "last", beside="--evaluation.every 1"),
}

EVALUATE = {
    "output": told("folder", "second", value="second"),
    "overwrite": told("refused", given=scenes.worth_keeping),
    "accept_changes": told("refused", scene="evaluate changed", given=scenes.changed),
    "trust": told("refused", "shared", scene="evaluate shared", given=scenes.shared),
    "seed": told("seed", "5", value=5),
    "env.id": told("title, held out, template", "Instruct-v0", value="Instruct-v0"),
    "env.model": told("start policy, reference", "@other"),
    "env.reference": told("reference", "@other"),
    "env.reward": told("preference", "@preference2"),
    "env.template": told("template", "Post: {prompt} So:", value="Post: x So:"),
    "env.system_prompt": told("template", "Be kind", scene="evaluate chat"),
    "env.instruction": told("template", "Say {prompt}", value="user: Say x\n", scene="evaluate chat"),
    "env.kl_coef": told("β", "0.7", value=0.7),
    "env.max_prompt_tokens": told("max_prompt_tokens", "30", value=30),
    "env.max_new_tokens": told("max_new_tokens", "5", value=5),
    "env.missing_eos_penalty": told("penalty", "3", value=3.0),
    "env.stop_strings": told("stop_strings", "(", "no\\n", value=["(", "no\n"]),
    "env.keep_special_tokens": told("keep_special_tokens", '["<|endoftext|>"]', value=["<|endoftext|>"]),
    "env.temperature": told("temperature", "2", value=2.0),
    "env.device": told("devices", "cpu:0", value=["cpu:0"]),
    "env.dtype": told("dtypes, policies, preference, reference", "bf16", value=["torch.bfloat16"]),
    "env.check_model": told("unchecked"),
    "data.prompts": told("held out, validation", "@posts"),
    "data.prompt_column": told("held out, validation", "text", beside="--data.prompts @posts"),
    "data.reference_column": told("held out", "summary", beside="--data.prompts @posts"),
    "data.held_out": told("held out, validation", "0.5", beside="--data.prompts @posts"),
    "evaluation.prompts": told("held out, validation", "2"),
    "evaluation.yardsticks": told("yardsticks", value=True),
    "evaluation.judge": told("judge", "preference", value="preference"),
    "evaluation.accept_shared_rows": told("refused", beside="--evaluation.judge @seen"),
    "evaluation.validation_prompts": told("validation", "2", value=2),
}

CONFIGS = {"scene": "compare configs"}
COMPARE = {
    **{key: one for key, one in EVALUATE.items() if key not in ("output", "overwrite", "trust")},
    "config": told("trained", "@ppo", "@own", **CONFIGS),
    "seeds": told("trained", "2", **CONFIGS),
    "output": told("folder", "second", value="second"),
    "overwrite": told("trained", given=scenes.compared, **CONFIGS),
    "accept_changes": told("refused", scene="compare changed", given=scenes.changed),
    "trust": told("refused", "shared", scene="compare shared", given=scenes.shared),
    "env.id": told("held out, template", "Instruct-v0"),
    "env.system_prompt": told("template", "Be kind", scene="compare chat"),
    "env.instruction": told("template", "Say {prompt}", value="user: Say x\n", scene="compare chat"),
    "env.device": told("devices", "cpu:0", value=["cpu", "cpu:0"]),  # of the run: as env.model
    "env.dtype": told("dtypes, preference, reference", "bf16", value=["torch.bfloat16"]),
    "env.check_model": told("unchecked"),
    "env.kl_coef": told("trained", "0.7", **CONFIGS),
    "env.kl_estimator": told("trained", "k3", **CONFIGS),
    "env.missing_eos_penalty": told("trained", "3", **CONFIGS),
    "agent.name": told("trained", "reinforce", **CONFIGS),
    "agent.total_episodes": told("trained", "24", **CONFIGS),
    "agent.save_every": told("trained", "3", **CONFIGS),
}

SAMPLE = {
    "output": told("files", "mine.jsonl", value=["mine.jsonl"]),
    "overwrite": told("refused", given=scenes.sampled, beside="--output mine.jsonl"),
    "seed": told("responses", "5"),
    "greedy": told("responses"),
    "limit": told("prompts, responses", "1"),
    "env.id": told("prompts, responses", "Instruct-v0"),
    "env.template": told("responses", "Post: {prompt} So:"),
    "env.system_prompt": told("responses", "Be kind", scene="sample chat"),
    "env.instruction": told("responses", "Say {prompt}", scene="sample chat"),
    "env.max_prompt_tokens": told("responses", "30"),
    "env.max_new_tokens": told("responses", "5"),
    "env.stop_strings": told("responses", "e", "a", "t", "i", "o"),
    "env.keep_special_tokens": told("responses", "<|endoftext|>", beside="--env.max_new_tokens 80 --env.temperature 3"),
    "env.temperature": told("responses", "2"),
    "env.device": told("devices", "cpu:0", value=["cpu:0"]),
    "env.dtype": told("dtypes", "bf16", value=["torch.bfloat16"]),
    "env.check_model": told("unchecked"),
    "data.prompts": told("prompts, responses", "@posts"),
    "data.prompt_column": told("prompts, responses", "text", beside="--data.prompts @posts"),
    "data.held_out": told("prompts, responses", "0.5", scene="sample a file's", given=scenes.of_a_file),
}

SHORT = "--data.prompts @posts --data.reference_column summary"
"""References so short that they end by EOS."""
PLAY = {
    "config": told("β, table", "@own"),
    "index": told("post, offered, table", "4"),
    "choices": told("offered", "3"),
    "seed": told("post, offered, table", "5", scene="play any"),
    "accept_changes": told("refused", scene="play changed", given=scenes.changed),
    "trust": told("refused", "shared", scene="play shared", given=scenes.shared),
    "env.id": told("post, offered, table", "Instruct-v0"),
    "env.model": told("offered, table", "@other"),
    "env.reference": told("table", "@other"),
    "env.reward": told("table", "@preference2"),
    "env.template": told("post, offered, table", "Post: {prompt} So:"),
    "env.system_prompt": told("post, offered, table", "Be kind", beside="--env.model @chat"),
    "env.instruction": told("post, offered, table", "Say {prompt}", beside="--env.model @chat"),
    "env.kl_coef": told("β, table", "0.7"),
    "env.max_prompt_tokens": told("post, offered, table", "30"),
    "env.max_new_tokens": told("turns, table", "5"),
    "env.missing_eos_penalty": told("table", "3"),
    "env.stop_strings": told("table", "e", "a", "t"),
    "env.keep_special_tokens": told("table", "<|endoftext|>", beside=f"--env.reward rouge_l {SHORT}"),
    "env.temperature": told("offered, table", "2"),
    "env.device": told("devices", "cpu:0", value=["cpu:0"]),
    "env.dtype": told("dtypes, table", "bf16", value=["torch.bfloat16"]),
    "env.check_model": told("unchecked"),
    "data.prompts": told("post, offered, table", "@posts"),
    "data.prompt_column": told("post, offered, table", "text", beside="--data.prompts @posts"),
    "data.reference_column": told("table", "summary", beside="--data.prompts @posts"),
    "data.held_out": told("post, offered, table", "0.9", scene="play a file's", given=scenes.of_a_file),
}

TRAINING = {
    "training.epochs": told("max_steps", "5"),
    "training.learning_rate": told("learning_rate", "0.5", value=0.5),
    "training.warmup": told("warmup_steps", "0.5"),
    "training.schedule": told("lr_scheduler_type", "linear", value="linear"),
    "training.weight_decay": told("weight_decay", "0.3", value=0.3),
    "training.batch_size": told("per_device_train_batch_size, max_steps, warmup_steps", "2", value=2),
    "training.gradient_accumulation": told("gradient_accumulation_steps", "2", value=2),
    "training.bf16": told("bf16", value=True),
    "training.lora_rank": told("adapted, adapted layers, model", "2"),
    "training.lora_alpha": told("adapted", "3", beside="--training.lora_rank 2"),
    "training.lora_targets": told(
        "adapted, model", "q_proj", value=[("q_proj", 2, 2.0)], beside="--training.lora_rank 2"
    ),
    "training.lora_layers": told("adapted layers, model", "1", value=[1], beside="--training.lora_rank 2"),
    "training.eval_every": told("eval_steps", "3", value=3),
    "training.save_every": told("save_every", "7", value=7),
    "output": told("folder", "mine", value="mine"),
    "resume": told("resumed", value=True, beside="--output runs/begun", given=scenes.begun),
    "overwrite": told("refused", given=scenes.worth_keeping),
    "accept_changes": told("accept_changes", value=True, beside="--resume --output runs/begun", given=scenes.begun),
    "model": told("model", "@other"),
    "device": told("devices", "cpu:0", value=["cpu:0"]),
}
SFT = {
    **TRAINING,
    "config": told("learning_rate", "@own_sft", value=0.25),
    "seed": told("seed, examples, held out, an epoch", "5", value=5),
    "data.template": told("examples, held out, an epoch", "Post: {prompt} So:"),
    "data.system_prompt": told("examples, held out", "Be kind", beside="--model @chat"),
    "data.instruction": told("examples, held out", "Do: {prompt}", beside="--model @chat"),
    "data.held_out": told("examples, held out, an epoch", "0.6"),
    "dry_run": told(
        "estimated, examples, held out, an epoch, packed, model, save_every, adapted, adapted layers, eval_steps, "
        "learning_rate, "
        "per_device_train_batch_size, gradient_accumulation_steps, bf16, seed, max_steps, folder, resumed, "
        "accept_changes, warmup_steps, lr_scheduler_type, weight_decay"
    ),
    "training.packing": told("packed", value=True),
    "data.pairs": told("examples, held out, an epoch", "@fewer_pairs"),
    "data.instruction_column": told("examples, held out, an epoch", "text"),
    "data.input_column": told("examples, held out, an epoch", "text"),
    "data.output_column": told("examples, held out", "text"),
    "data.task_column": told("examples, held out, an epoch", "kind", beside="--data.task_limit 2"),
    "data.skip_empty": told("refused", beside="--data.pairs @empty_pairs"),
    "data.limit": told("examples, held out, an epoch", "5"),
    "data.task_limit": told("examples, held out, an epoch", "2"),
    "data.task_cap": told("an epoch", "2"),
    "data.demonstrations": told("examples, held out, an epoch", "1", beside="--data.pairs @natural"),
    "data.max_tokens": told("examples, held out", "20"),
}
VOTES = "--data.first_column first --data.second_column second --data.label_column label"
REWARD = {
    **TRAINING,
    "config": told("learning_rate", "@own_reward", value=0.25),
    "training.batch_size": told("per_device_train_batch_size, max_steps, warmup_steps, eval_steps", "2", value=2),
    "seed": told("seed, model, examples, held out, max_steps", "5", value=5),
    "data.template": told("examples, held out", "Post: {prompt} So:"),
    "data.system_prompt": told("examples, held out", "Be kind", beside="--model @chat"),
    "data.instruction": told("examples, held out", "Say {prompt}", beside="--model @chat"),
    "data.held_out": told("examples, held out", "0.6"),
    "max_length": told("examples, held out", "16"),
    "folds": told("examples, held out, folder, resumed, accept_changes, save_every", "2"),
    "data.comparisons": told("examples, held out", "@fewer_comparisons"),
    "data.prompt_column": told("examples, held out", "text"),
    "data.chosen_column": told("examples, held out", "text"),
    "data.rejected_column": told("examples, held out", "text"),
    "data.first_column": told("examples, held out", "text", beside=VOTES),
    "data.second_column": told("examples, held out", "text", beside=VOTES),
    "data.label_column": told("examples, held out", "vote", beside=VOTES),
    "data.rating_column": told(
        "examples, held out", "stars", beside="--data.comparisons @rated --data.rating_column marks"
    ),
    "data.response_column": told(
        "examples, held out", "text", beside="--data.comparisons @rated --data.rating_column marks"
    ),
    "data.min_gap": told("examples, held out", "2", beside="--data.comparisons @rated --data.rating_column stars"),
    "data.system_column": told(
        "examples", "writer", beside="--data.comparisons @rated --data.rating_column stars --folds 2"
    ),
    "data.label_map": told("examples, held out", "1=second,2=first", beside=VOTES),
    "data.group_column": told("examples, held out, max_steps", "topic"),
    "data.annotator_column": told("annotators", "judge", scene="reward to the end"),
    "data.reference_column": told("references", "text", scene="reward to the end"),
}

LABEL = {
    "output": told("files", "mine.jsonl", value=["mine.jsonl"]),
    "run": told("shown, first, second, prompt, label, annotator, devices", "@run"),
    "annotator": told("annotator, shown, label, probability, devices", "@preference"),
    "name": told("annotator", "Bob"),
    "limit": told("shown, prompt, first, second, label, annotator", "2"),
    "seed": told("shown, label", "5"),
    "tie": told("label", "0.4", beside="--annotator @preference"),
    "question": told("probability, label", "Which? {prompt} {first} {second}", beside="--annotator @model"),
    "device": told("devices", "cpu:0", value=["cpu:0"], beside="--annotator @preference"),
    "data.prompt_column": told("prompt, shown, label", "text"),
    "data.first_column": told("first, shown, label", "text"),
    "data.second_column": told("second, shown, label", "text"),
    "data.template": told("probability, label", "Post: {prompt} So:", beside="--annotator @preference"),
}

BENCHMARK = {
    "output": told("folder", "mine", value="mine"),
    "overwrite": told("refused", given=scenes.worth_keeping),
    "mmlu": told("tasks", "@mmlu"),
    "bigbench": told("tasks", "@bigbench2"),
    "bbh": told("tasks", "@bbh"),
    "natural_instructions": told("tasks", "@natural"),
    "formulation": told("tasks", "both", beside="--mmlu @mmlu"),
    "limit": told("limit", "2", value=2),
    "shots": told("shots", "2", value=2),
    "apply_chat_template": told("apply_chat_template", scene="benchmark chat", value=True),
    "max_new_tokens": told("max_new_tokens", "5", value=5),
    "batch_size": told("batch_size", "3", value=3),
    "seed": told("seed", "5", value=5),
    "device": told("devices", "cpu:0", value=["cpu:0"]),
}

LECTURE = {
    "figure": told("figures", "intent", value=["intent"]),
    "quick": told("budget, seeds"),
    "seeds": told("seeds", "2", value=[0, 1]),
    "language": told("title", "ko"),
    "mmlu": told("suites", "@mmlu", scene="lecture on benchmarks"),
    "bigbench": told("suites", "@bigbench", scene="lecture on benchmarks"),
    "output": told("folder", "mine", value="mine"),
}

BUILD = {
    "output": told("folder, folders", "mine", value="mine"),
    "quick": told("size"),
    "restart": told("stages, folder, folders, seed, size", given=scenes.built),
    "install": told("folders", "shipped"),
    "seed": told("seed", "5", value=5),
}

TABLE = {
    "train": TRAIN,
    "evaluate": EVALUATE,
    "compare": COMPARE,
    "sample": SAMPLE,
    "play": PLAY,
    "sft": SFT,
    "reward": REWARD,
    "label": LABEL,
    "benchmark": BENCHMARK,
    "lecture": LECTURE,
    "build-assets": BUILD,
}
