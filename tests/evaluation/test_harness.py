"""Tasks in the harness: a guess scores what a guess scores, an oracle everything, and prompts arrive byte for byte."""

import doctest
import json
import math
import random

import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from prefgym.data.benchmarks import READERS, Example, Task
from prefgym.errors import InputError
from prefgym.evaluation.benchmarks import harness, harness_model
from prefgym.evaluation.benchmarks.harness import HarnessTask, choice_score, count_requests, run_tasks
from prefgym.evaluation.benchmarks.harness_model import HarnessModel, cut_at, keeps_white_space
from prefgym.evaluation.benchmarks.scores import benchmark_figures
from prefgym.models.forward import token_log_probs
from prefgym.models.language_model import LanguageModel
from prefgym.models.tabular import TabularLM


class Fake(LM):
    """Answers by a function of the request; remembers every prompt."""

    def __init__(self, choose, write):
        super().__init__()
        self.choose, self.write, self.prompts = choose, write, []

    def loglikelihood(self, requests):
        self.prompts += [request.args[0] for request in requests]
        return [(self.choose(request), False) for request in requests]

    def generate_until(self, requests):
        self.prompts += [request.args[0] for request in requests]
        return [self.write(request) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise AssertionError("no task asks for it")


def oracle():
    """Knows the example, not only what it reads: inputs repeat with different answers."""
    return Fake(lambda request: request.doc["worth"][request.idx], lambda request: request.doc["answers"][-1])


def guesser(seed):
    rng = random.Random(seed)
    return Fake(lambda request: rng.random(), lambda request: f"zq{rng.getrandbits(60)}")


def choice(prompt="?", options=("a", "b"), worth=(1.0, 0.0)):
    return Example(prompt, options, worth)


CHOSEN = Task(
    "suite/chosen",
    ("accuracy",),
    (
        choice("same ", ("a", "b"), (1.0, 0.0)),
        choice("same ", ("a", "b"), (0.0, 1.0)),
        choice("half ", ("a", "b", "c", "d"), (1.0, 1.0, 0.0, 0.0)),
        choice("part ", ("a", "b", "c"), (0.5, 1.0, 0.0)),
        choice("one ", ("a", "b", "c", "d", "e"), (0.0, 0.0, 0.0, 0.0, 1.0)),
    ),
)
WRITTEN = Task(
    "suite/written",
    ("exact_str_match", "rouge_l"),
    (Example("same ", answers=("red fox",)), Example("same ", answers=("blue", "blue whale"))),
)


def test_an_oracle_scores_1():
    found = run_tasks(oracle(), [CHOSEN, WRITTEN])
    assert found["suite/chosen"].scores.tolist() == [1.0] * 5
    assert found["suite/written"].scores.tolist() == [1.0, 1.0]
    assert found["suite/written"].others["rouge_l"].tolist() == [1.0, 1.0]
    assert found["suite/chosen"].said == ["a", "b", "a", "b", "e"]
    assert found["suite/written"].said == ["red fox", "blue whale"]


def test_a_model_to_which_all_is_alike_scores_the_chance_exactly():
    found = run_tasks(Fake(lambda request: -1.0, lambda request: ""), [CHOSEN, WRITTEN])
    chosen = found["suite/chosen"]
    assert chosen.scores == pytest.approx(chosen.chances)
    assert chosen.chances.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.2])
    assert found["suite/written"].chances.tolist() == [0.0, 0.0]
    figures = benchmark_figures(found)
    assert figures["average"]["normalised"] == pytest.approx(0)


def test_options_are_compared_as_a_whole_per_character_and_per_byte():
    """A table says P(a) = 1/2, P(bbb) = 1/4, P(ééé) = 1/8 after "?", so in nats

    as a whole -0.69, -1.39, -2.08; per character -0.69, -0.46, -0.69; per byte (3 and 6) -0.69, -0.46, -0.35.
    """
    vocabulary = {"?": 0, " a": 1, " bbb": 2, " ééé": 3, "</s>": 4}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[^ ]+"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="</s>")
    table = TabularLM.of([(0, token) for token in range(1, 5)], vocab_size=5)
    after_question = int(table.transitions.weight[0, 1])
    with torch.no_grad():
        table.table.weight[after_question] = torch.tensor([1e-9, 1 / 2, 1 / 4, 1 / 8, 1 / 8]).log()
    options = ("a", "bbb", "ééé")
    rows = tuple(Example("?", options, tuple(float(i == right) for i in range(3))) for right in range(3))
    task = Task("s/t", ("accuracy",), rows, lead=" ").in_cloze_form(rows).cloze
    found = run_tasks(HarnessModel(LanguageModel(table, tokenizer, "table")), [task])["s (cloze)/t"]
    assert found.metric == "acc_norm"
    assert found.scores.tolist() == [0, 1, 0]
    assert found.others["acc"].tolist() == [1, 0, 0]
    assert found.others["acc_bytes"].tolist() == [0, 0, 1]
    assert found.said == ["bbb"] * 3
    assert found.chances == pytest.approx([1 / 3] * 3)
    assert found.longest == pytest.approx((0 + 1 / 2 + 1 / 2) / 3)


def test_a_random_guess_scores_the_chance():
    scores = sum(run_tasks(guesser(seed), [CHOSEN])["suite/chosen"].scores for seed in range(400)) / 400
    for score, one in zip(scores, CHOSEN.examples, strict=True):
        variance = sum(worth**2 for worth in one.worth) / len(one.worth) - one.chance**2
        assert abs(score - one.chance) < 3.29 * math.sqrt(variance / 400)


def test_an_answer_is_cut_before_it_is_judged():
    task = Task("a/b", ("exact_str_match",), (Example("?", answers=("x",)),), stop=("\n\n",), output_regex="[a-z]")
    assert run_tasks(Fake(None, lambda request: " 1x\n\ny"), [task])["a/b"].scores.tolist() == [1.0]


def test_the_harness_hands_on_every_byte():
    art = "  /\\_/\\ \r\n\t( o.o )\n\n  \u00a0> ^ <  "
    task = Task("a/b", ("accuracy",), (choice(art), choice("{{ x }} {% y %} " + art)), prefix=" \n", lead=" ")
    fake = guesser(0)
    run_tasks(fake, [task])
    assert sorted(set(fake.prompts)) == sorted([f" \n{art}", f" \n{{{{ x }}}} {{% y %}} {art}"])


def test_limit_shots_and_number_of_requests():
    fake = guesser(0)
    found = run_tasks(fake, [CHOSEN, WRITTEN], limit=1, shots=2)
    assert [len(result.scores) for result in found.values()] == [1, 1]
    assert len(fake.prompts) == count_requests([CHOSEN, WRITTEN], 1) == 3
    assert count_requests([CHOSEN, WRITTEN], None) == 2 + 2 + 4 + 3 + 5 + 2
    chosen = next(prompt for prompt in fake.prompts if prompt.count("\n\n") == 2)
    assert chosen.endswith("\n\nsame ")
    assert found["suite/chosen"].shots == 2
    assert found["suite/written"].shots == 0  # the other question reads the same


def test_a_likelihood_that_is_no_number_is_no_answer():
    with pytest.raises(InputError, match="NaN"):
        choice_score([math.nan, -1.0], [1.0, 0.0])


@pytest.mark.parametrize("module", [harness, harness_model])
def test_docstring_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_harness_reports_the_same_mean():
    """What ``lm_eval`` itself makes of our tasks: its results and ours are the same numbers."""
    from lm_eval.evaluator import evaluate

    task = HarnessTask(CHOSEN)
    found = evaluate(lm=guesser(3), task_dict={"tasks": {task.task.name: task}, "groups": {}}, bootstrap_iters=0)
    ours = run_tasks(guesser(3), [CHOSEN])["suite/chosen"]
    assert found["results"]["suite/chosen"]["accuracy,none"] == pytest.approx(ours.scores.mean())
    json.dumps(found["configs"])


# real files


@pytest.fixture(scope="module")
def real_tasks(real_data):
    folders = {"mmlu": "mmlu", "bigbench": "bigbench", "bbh": "bigbench/bbh", "natural-instructions": ""}
    folders["natural-instructions"] = "natural-instructions"
    return [task for suite, folder in folders.items() for task in READERS[suite](str(real_data / folder)).tasks]


def test_an_oracle_scores_1_on_the_real_files(real_tasks):
    for name, result in run_tasks(oracle(), real_tasks).items():
        assert result.scores.min() == 1, name


def test_a_guess_scores_the_chance_on_the_real_files(real_tasks):
    """99.9 % intervals, which 8 tasks with options may not leave; what is written by chance is never right."""
    for name, result in run_tasks(guesser(0), real_tasks).items():
        chances = result.chances
        spread = math.sqrt(float((chances * (1 - chances)).sum())) / len(chances)  # every option is worth 0 or 1
        assert abs(result.scores.mean() - chances.mean()) <= 3.29 * spread, name
        assert (spread > 0) == name.startswith(("mmlu", "bigbench")), name


# our model in the harness


def request(*arguments, index=0):
    return Instance("loglikelihood", {}, arguments, 0, metadata=("task", index, 1))


PAIRS = [
    ("My dog ate my shoe.\n\nA: ", "It did"),
    ("My dog ate my shoe.\n\nA: ", "It did not"),
    ("My cat", " ran away and never came back"),
    ("", "Hello"),
    ("Once more:\n\n", "  indented"),
    ("My cat", " ran"),
]


@torch.no_grad()
def test_likelihoods_are_those_of_a_forward_pass_each(start):
    found = HarnessModel(start, batch_size=4).loglikelihood([request(*pair) for pair in PAIRS])
    for (context, text), (value, greedy) in zip(PAIRS, found, strict=True):
        prompt = start.encode(context.rstrip()) or [start.eos_token_id]
        behind = start.encode(context + text)[len(start.encode(context.rstrip())) :]
        tokens = torch.tensor([prompt + behind])
        given = (start.model, tokens, torch.ones_like(tokens), len(behind))
        alone = token_log_probs(*given, start.vocab_size)[0]
        assert value == pytest.approx(float(alone.sum()), abs=1e-4)
        best = start.model(tokens).logits[0, len(prompt) - 1 : -1, : start.vocab_size].argmax(-1)
        assert greedy == (best.tolist() == behind)


def test_the_batch_changes_nothing(start):
    requests = [request(*pair) for pair in PAIRS]
    one, all_of_them = (HarnessModel(start, size).loglikelihood(requests) for size in (1, 64))
    assert [value for value, _ in one] == pytest.approx([value for value, _ in all_of_them], abs=1e-4)


def test_what_was_asked_first_is_answered_first_and_all_is_counted(start):
    done = []
    model = HarnessModel(start, batch_size=2, advance=done.append)
    values = model.loglikelihood([request(*pair) for pair in PAIRS])
    backwards = HarnessModel(start, batch_size=2).loglikelihood([request(*pair) for pair in PAIRS[::-1]])
    assert [value for value, _ in values] == pytest.approx([value for value, _ in backwards[::-1]], abs=1e-4)
    assert sum(done) == len(PAIRS)


def generation(context, budget, *marks, index=0):
    options = {"until": list(marks), "max_gen_toks": budget}
    return Instance("generate_until", {}, (context, options), 0, metadata=("task", index, 1))


def test_answers_are_greedy_within_their_budget(start):
    budgets = [("My dog ate", 5), ("My cat", 9), ("My", 5)]
    found = HarnessModel(start, batch_size=2).generate_until([generation(*one) for one in budgets])
    for (context, budget), text in zip(budgets, found, strict=True):
        ids = torch.tensor([start.encode(context)])
        written = start.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=budget,
            eos_token_id=start.eos_token_id, pad_token_id=start.pad_token_id,
        )  # fmt: skip
        assert text == start.decode(written[0, ids.shape[1] :])
    mark = found[0][2:4]
    (cut,) = HarnessModel(start).generate_until([generation("My dog ate", 5, mark)])
    assert cut == found[0].partition(mark)[0]


def test_what_is_written_behind_the_end_of_an_answer_is_not_paid_for(start, monkeypatch):
    prompts = ["My dog ate", "My cat", "Once more,", "A", "What now? I"]
    whole = HarnessModel(start).generate_until([generation(text, 70) for text in prompts])
    budgets, real = [], harness_model.generate

    def counted(*arguments, **options):
        budgets.append((len(arguments[1]), options["max_new_tokens"]))
        return real(*arguments, **options)

    monkeypatch.setattr(harness_model, "generate", counted)
    marks = [whole[0][3:6], whole[1][20:24], "no such text"]
    found = HarnessModel(start).generate_until([generation(text, 70, *marks) for text in prompts])
    assert found == [cut_at(text, marks) for text in whole]
    assert budgets[0] == (5, 16)
    assert sum(budget for _, budget in budgets) <= 70
    assert sum(rows * budget for rows, budget in budgets) < 5 * 70
    assert [rows for rows, _ in budgets] == sorted((rows for rows, _ in budgets), reverse=True)


def test_a_long_prompt_loses_its_beginning_and_is_counted(start):
    long = "a b c d e f g h " * 200
    model = HarnessModel(start)
    limit = start.context_length
    tail = start.encode((long + "the end").rstrip())
    values = model.loglikelihood([request(long + "the end", " of it", index=3), request("short", " text", index=4)])
    text = start.encode(long + "the end of it")[len(tail) :]
    tokens = torch.tensor([(tail + text)[-(limit + 1) :]])
    with torch.no_grad():
        logits = start.model(tokens[:, :-1]).logits[0, -len(text) :, : start.vocab_size]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(text)[:, None]).sum()
    assert values[0][0] == pytest.approx(float(expected), abs=1e-3)
    (written,) = model.generate_until([generation(long, 8, index=5)])
    ids = torch.tensor([start.encode(long)[-(limit - 8) :]])
    whole = start.model.generate(ids, do_sample=False, max_new_tokens=8, eos_token_id=0, pad_token_id=1)
    assert written == start.decode(whole[0, ids.shape[1] :])
    assert model.cut == {"task": {3, 5}}
    found = run_tasks(model, [Task("a/b", ("accuracy",), (choice(long), choice("short")))])
    assert found["a/b"].cut == 1


def test_a_text_longer_than_the_model_reads_is_still_scored(start):
    model = HarnessModel(start)
    ((value, _),) = model.loglikelihood([request("Is it", " long" * 700, index=1)])
    assert -math.inf < value < 0
    assert model.cut == {"task": {1}}


def test_a_tokenizer_that_loses_white_space_is_known(start):
    from tokenizers import normalizers
    from transformers import PreTrainedTokenizerFast

    assert keeps_white_space(start)
    core = type(start.tokenizer.backend_tokenizer).from_str(start.tokenizer.backend_tokenizer.to_str())
    core.normalizer = normalizers.Replace("  ", " ")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")
    assert not keeps_white_space(LanguageModel(start.model, tokenizer, "lossy"))


@torch.no_grad()
def test_special_tokens_of_a_tokenizer_frame_the_prompt(start):
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    assert (start.texts.before, start.texts.after) == ([], [])
    core = type(start.tokenizer.backend_tokenizer).from_str(start.tokenizer.backend_tokenizer.to_str())
    core.post_processor = processors.TemplateProcessing(
        single="<pad> $A <eos>", special_tokens=[("<pad>", 1), ("<eos>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")
    framed = LanguageModel(start.model, tokenizer, "framed")
    assert (framed.texts.before, framed.texts.after) == ([1], [])  # a decoder goes on behind the prompt
    ((value, _),) = HarnessModel(framed).loglikelihood([request("My cat", " ran")])
    tokens = torch.tensor([[1, *start.encode("My cat ran")]])
    behind = len(start.encode("My cat ran")) - len(start.encode("My cat"))
    expected = token_log_probs(start.model, tokens, torch.ones_like(tokens), behind, start.vocab_size).sum()
    assert value == pytest.approx(float(expected), abs=1e-4)
    long = [request("a b c d " * 300, " e"), request("a b c d " * 300, " f")]
    assert all(model_reads[0] == 1 for model_reads, _ in (
        HarnessModel(framed)._fit(HarnessModel(framed)._pair(*one.args), one) for one in long
    ))  # fmt: skip
