"""The harness's own model and its own tasks, on the same local files: the same figures as ours.

``lm_eval`` ships definitions of MMLU and BIG-Bench-Hard for files of the hub. Here they read local ones.
"""

import csv
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval")

from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from tokenizers import processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from prefgym.data.benchmarks import read_suites
from prefgym.data.benchmarks.bbh import read_bbh
from prefgym.data.benchmarks.mmlu import read_mmlu
from prefgym.evaluation.benchmarks.flexible import flexible_extract
from prefgym.evaluation.benchmarks.harness import HarnessTask, run_tasks
from prefgym.evaluation.benchmarks.harness_model import HarnessModel, cut_at
from prefgym.models.language_model import LanguageModel

TASKS = Path(str(files("lm_eval") / "tasks"))


@pytest.fixture(scope="module")
def theirs(start):
    return HFLM(pretrained=start.model, tokenizer=start.tokenizer, batch_size=8)


def own_task(definition, splits, shots, **changes):
    """A task of the harness as it defines it, over other rows."""
    config = load_yaml(TASKS / definition, resolve_func=True)
    for key in ("dataset_path", "dataset_name", "dataset_kwargs", "include"):
        config.pop(key, None)
    rows = {split: Dataset.from_list(found) for split, found in splits.items()}
    config |= {"custom_dataset": lambda **_: rows, "metadata": None, "num_fewshot": shots, **changes}
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(0)
    return task


def score(model, task, metric, limit):
    name = task.config.task
    loaded = {"tasks": {name: task}, "groups": {}}
    return evaluate(lm=model, task_dict=loaded, limit=limit, bootstrap_iters=0)["results"][name][metric]


def prompts(task, limit):
    task.build_all_requests(limit=limit)
    return [instance.args for instance in task.instances]


def csv_rows(file):
    """The rows of an MMLU file as the hub has them."""
    with file.open(newline="", encoding="utf-8") as opened:
        return [{"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])} for row in csv.reader(opened)]


@pytest.fixture(scope="module")
def mmlu_folder(tmp_path_factory):
    """Forty questions on dogs and shoes, of both kinds of line ends."""
    home = tmp_path_factory.mktemp("mmlu")
    for split, count in (("dev", 5), ("test", 40)):
        (home / split).mkdir()
        rows = [
            f'"My dog {i} ate my shoe,\nwhat now?",run {i},cat,"sleep, eat",shoe,{"ABCD"[i * 7 % 4]}'
            for i in range(count)
        ]
        (home / split / f"astronomy_{split}.csv").write_bytes("\r\n".join(rows).encode())
    return home


@pytest.mark.parametrize("shots", [0, 2])
def test_mmlu_agrees(mmlu_folder, start, theirs, shots):
    splits = {split: csv_rows(mmlu_folder / split / f"astronomy_{split}.csv") for split in ("dev", "test")}
    own = own_task("mmlu/default/mmlu_astronomy.yaml", splits, shots)
    (task,) = read_mmlu(str(mmlu_folder)).tasks
    assert prompts(own, None) == prompts(HarnessTask(task, shots), None)
    expected = score(theirs, own, "acc,none", None)
    found = run_tasks(HarnessModel(start), [task], shots=shots)["mmlu/astronomy"]
    assert found.scores.mean() == pytest.approx(expected)
    assert 0.05 < expected < 0.95  # an agreement on nothing would show nothing


@pytest.mark.parametrize("shots", [0, 2])
def test_mmlu_agrees_in_its_cloze_form(mmlu_folder, start, theirs, shots):
    splits = {split: csv_rows(mmlu_folder / split / f"astronomy_{split}.csv") for split in ("dev", "test")}
    own = own_task("mmlu/continuation/mmlu_astronomy.yaml", splits, shots)
    own_metrics = ("acc", "acc_norm")  # without acc_bytes, which a definition must ask for
    (task,) = read_suites({"mmlu": str(mmlu_folder)}, None, "cloze").tasks
    assert prompts(own, None) == prompts(HarnessTask(task, shots), None)
    found = run_tasks(HarnessModel(start), [task], shots=shots)["mmlu (cloze)/astronomy"]
    ours = {found.metric: found.scores, **found.others}
    for metric in own_metrics:
        assert ours[metric].mean() == pytest.approx(score(theirs, own, f"{metric},none", None))
        assert 0.05 < ours[metric].mean() < 0.95


def test_conversations_are_those_of_the_harness(mmlu_folder, start):
    """A demonstration is two turns, the sentence on the task the system message, and no space leads an answer."""
    splits = {split: csv_rows(mmlu_folder / split / f"astronomy_{split}.csv") for split in ("dev", "test")}
    own = own_task("mmlu/default/mmlu_astronomy.yaml", splits, 2)

    def render(messages, add_generation_prompt=True):
        return "".join(f"<{one['role']}>{one['content']}" for one in messages) + "<assistant>" * add_generation_prompt

    (task,) = read_mmlu(str(mmlu_folder)).tasks
    own.build_all_requests(limit=3, apply_chat_template=True, fewshot_as_multiturn=True, chat_template=render)
    theirs = [instance.args for instance in own.instances]
    ours = prompts(HarnessTask(task, 2, render=render), 3)
    assert ours == theirs
    assert ours[0][0].startswith("<system>The following are multiple choice questions (with answers) about astronomy.")
    assert ours[0][0].count("<user>") == 3
    assert [text for _, text in ours[:4]] == list("ABCD")


def test_real_mmlu_agrees(real_data, start, theirs):
    """On the same prompts the scores are the same; both strip questions."""
    tasks = {task.name: task for task in read_mmlu(str(real_data / "mmlu")).tasks}
    assert len(tasks) == 4
    for name, task in tasks.items():
        subject = name.partition("/")[2]
        splits = {split: csv_rows(real_data / "mmlu" / split / f"{subject}_{split}.csv") for split in ("dev", "test")}
        own = own_task(f"mmlu/default/mmlu_{subject}.yaml", splits, 0)
        assert prompts(own, None) == prompts(HarnessTask(task), None)
        plain = own_task(f"mmlu/continuation/mmlu_{subject}.yaml", splits, 5)
        assert prompts(plain, 40) == prompts(HarnessTask(task.cloze, 5), 40)
        limit = 20
        expected = score(theirs, own, "acc,none", limit)
        assert run_tasks(HarnessModel(start), [task], limit=limit)[name].scores.mean() == pytest.approx(
            expected, abs=0.005
        )


def right_answer(request):
    """Of a document of ours, or of the harness."""
    return request.doc["answers"][0] if "answers" in request.doc else request.doc["target"]


class Reciter(HarnessModel):
    """Writes the right answer to two questions of three, in the bare form that both ways of comparing accept."""

    def generate_until(self, requests):
        return [right_answer(request) if i % 3 else "none of it" for i, request in enumerate(requests)]


@pytest.mark.parametrize("name", ["navigate", "word_sorting", "object_counting"])
def test_bbh_agrees(real_data, start, theirs, name):
    """Their prompts, with the sentence on the task and the three solved questions, and ours are the same bytes."""
    rows = json.loads((real_data / "bigbench" / "bbh" / f"{name}.json").read_text(encoding="utf-8"))["examples"]
    (task,) = (one for one in read_bbh(str(real_data / "bigbench")).tasks if one.name == f"bbh/{name}")
    solved = own_task(f"bbh/fewshot/{name}.yaml", {"test": rows}, 3)
    ours = prompts(HarnessTask(task, 3), 40)
    assert [context for context, _ in prompts(solved, 40)] == [context for context, _ in ours]
    own = own_task(f"bbh/fewshot/{name}.yaml", {"test": rows}, 0)
    ours = prompts(HarnessTask(task), 40)
    assert [context for context, _ in prompts(own, 40)] == [context for context, _ in ours]
    right = score(Reciter(start), own, "exact_match,none", 30)
    assert right == pytest.approx(2 / 3)
    assert run_tasks(Reciter(start), [task], limit=30)[task.name].scores.mean() == pytest.approx(right)
    limit, budget = 6, 16
    own.set_config("generation_kwargs", {"max_gen_toks": budget}, update=True)
    expected = score(theirs, own, "exact_match,none", limit)
    found = run_tasks(HarnessModel(start), [task], limit=limit, max_new_tokens=budget)[task.name]
    assert found.scores.mean() == pytest.approx(expected, abs=0.005)


FORMS = ("{}", " {}", " {}\n\nQ: and what then?", "none of it", " {} ")


class Rephraser(HarnessModel):
    """Writes the right answer in several forms, and sometimes another."""

    def generate_until(self, requests):
        return [cut_at(FORMS[i % 5].format(right_answer(request)), ["Q:"]) for i, request in enumerate(requests)]


def test_bbh_agrees_where_white_space_stands_around_an_answer(real_data, start):
    """The harness's zero-shot task scores twice; the strict way knows only the bare answer."""
    rows = json.loads((real_data / "bigbench" / "bbh" / "navigate.json").read_text(encoding="utf-8"))["examples"]
    own = own_task("bbh/zeroshot/navigate.yaml", {"test": rows}, 0)
    strict, flexible = (
        score(Rephraser(start), own, f"exact_match,{way}", 50) for way in ("strict-match", "flexible-extract")
    )
    (task,) = (one for one in read_bbh(str(real_data / "bigbench")).tasks if one.name == "bbh/navigate")
    ours = run_tasks(Rephraser(start), [task], limit=50)["bbh/navigate"]
    assert ours.scores.mean() == pytest.approx(flexible) == pytest.approx(0.8)
    assert ours.others["flexible_extract"].mean() == pytest.approx(flexible)
    assert strict == pytest.approx(0.2)


SAID = (
    "I think it is {}.",
    "\n\n{}\n\nBut no.",
    "The answer: {}, or not",
    "42",
    " (B) or {}",
    "a word",
    "plausible {}",
)


class Talker(HarnessModel):
    """Writes sentences with an answer somewhere in them."""

    def generate_until(self, requests):
        return [SAID[i % len(SAID)].format(right_answer(request)) for i, request in enumerate(requests)]


@pytest.mark.parametrize(
    "name", ["navigate", "date_understanding", "object_counting", "sports_understanding", "word_sorting"]
)
def test_an_answer_is_searched_as_the_harness_searches_it(real_data, start, name):
    rows = json.loads((real_data / "bigbench" / "bbh" / f"{name}.json").read_text(encoding="utf-8"))["examples"]
    own = own_task(f"bbh/zeroshot/{name}.yaml", {"test": rows}, 0)
    (task,) = (one for one in read_bbh(str(real_data / "bigbench")).tasks if one.name == f"bbh/{name}")
    found = run_tasks(Talker(start), [task], limit=35)[task.name].others["flexible_extract"].mean()
    assert found == pytest.approx(score(Talker(start), own, "exact_match,flexible-extract", 35))
    assert 0.2 < found < 0.95


def test_a_filter_that_fails_finds_nothing():
    assert flexible_extract("bbh/word_sorting", "Q: no such words\nA:", "a b", ["a b"]) == 0
    assert flexible_extract("bbh/object_counting", "Q: How many?\nA:", " I count five.", ["5"]) == 1


CONTEXTS = ["My dog ate my shoe.", "Q: what now?\nA:", "  Once  more \n\n", "My cat ran away " * 120, "{{ braces }}"]


@pytest.fixture(scope="module")
def encoder_decoder(start):
    """A tiny T5, whose tokenizer puts EOS behind a prompt."""
    core = type(start.tokenizer.backend_tokenizer).from_str(start.tokenizer.backend_tokenizer.to_str())
    core.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 0)])
    special = {"eos_token": "<eos>", "pad_token": "<pad>", "model_max_length": 512}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **special)
    torch.manual_seed(0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "initializer_factor": 2.0}
    config = T5Config(vocab_size=start.vocab_size, decoder_start_token_id=1, eos_token_id=0, pad_token_id=1, **size)
    return LanguageModel(T5ForConditionalGeneration(config), tokenizer, "t5")


@pytest.fixture(params=["decoder", "encoder-decoder"])
def both(request, start, theirs):
    """A model of ours, and the harness's own class around the same weights."""
    if request.param == "decoder":
        return start, theirs
    model = request.getfixturevalue("encoder_decoder")
    assert (model.texts.before, model.texts.after) == ([], [0])
    return model, HFLM(
        pretrained=model.model, tokenizer=model.tokenizer, backend="seq2seq", batch_size=8, max_length=512
    )


def test_our_model_gives_the_likelihoods_of_theirs(both):
    ours, theirs = both
    texts = [" It did", " no", " a long answer, in several words\nand two lines"]
    pairs = [(context, text) for context in CONTEXTS for text in texts] + [("", "Hello there")]
    requests = [Instance("loglikelihood", {}, pair, 0, metadata=("t", i, 1)) for i, pair in enumerate(pairs)]
    found, others = HarnessModel(ours, 4).loglikelihood(requests), theirs.loglikelihood(requests, disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in others], abs=2e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in others]


def test_our_model_writes_what_theirs_writes(both):
    """Theirs adds the length of the prompt to the budget of an encoder-decoder, so it writes on."""
    ours, theirs = both
    options = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (text, options), 0, metadata=("t", i, 1)) for i, text in enumerate(CONTEXTS)
    ]
    found, others = HarnessModel(ours, 4).generate_until(requests), theirs.generate_until(requests, disable_tqdm=True)
    if isinstance(ours.model, T5ForConditionalGeneration):
        others = [text[: len(mine)] for text, mine in zip(others, found, strict=True)]
    assert found == others
    assert len(set(np.array(found))) > 1
