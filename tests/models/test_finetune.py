"""Supervised training: what is learned, what is not, and the numbers it reports."""

import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.errors import InputError
from prefgym.models.finetune import (
    IGNORED,
    Collator,
    LanguageModelTrainer,
    _documents,
    examples,
    finetune,
    pretrain,
    token_loss_sum,
)
from prefgym.models.language_model import LanguageModel
from prefgym.models.supervised import TrainingOptions

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "away", "home", "sad", "glad"]


def language_model(architecture="llama", context=32):
    vocabulary = {word: i for i, word in enumerate(["<eos>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    torch.manual_seed(0)
    if architecture == "gpt2":
        config = GPT2Config(vocab_size=12, n_embd=16, n_layer=2, n_head=2, n_positions=context)
        return LanguageModel(GPT2LMHeadModel(config), tokenizer)
    config = LlamaConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer)


def greedy(lm, prompt, steps=6):
    ids = torch.tensor([lm.encode(prompt)])
    for _ in range(steps):
        token = lm.model(ids).logits[0, -1].argmax()
        ids = torch.cat([ids, token.view(1, 1)], 1)
        if token == lm.eos_token_id:
            break
    return ids[0, len(lm.encode(prompt)) :].tolist()


def test_loss_of_uniform_logits_is_log_of_the_vocabulary_for_each_labelled_token():
    logits = torch.zeros(2, 3, 8)
    labels = torch.tensor([[3, 1, IGNORED], [IGNORED, 5, 7]])
    assert token_loss_sum(logits, labels).item() == pytest.approx(4 * math.log(8))


def test_loss_reads_each_token_off_its_own_logits():
    # two classes, the only labelled token is that of column 1 (class 1), predicted with log-odds 3
    logits = torch.zeros(1, 3, 2)
    logits[0, 1, 1] = 3.0
    labels = torch.tensor([[IGNORED, 1, IGNORED]])
    assert token_loss_sum(logits, labels).item() == pytest.approx(math.log(1 + math.exp(-3)), abs=1e-6)


def test_pretraining_learns_every_token_of_each_document_but_the_first():
    lm = language_model()
    documents = [[1, 2], [3, 4, 5]]
    batch = Collator(pad_token_id=0)(_documents(lm.model, documents, eos_token_id=0))
    assert batch["input_ids"].tolist() == [[1, 2, 0, 0], [3, 4, 5, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 0, IGNORED], [IGNORED, 4, 5, 0]]


def test_pretraining_refuses_no_an_empty_and_a_too_long_document():
    lm = language_model()
    context = lm.model.config.max_position_embeddings
    for documents, fault in (
        ([], "at least one"),
        ([[1], []], "Document 1 is empty"),
        ([[1] * context], "context"),
        ([[1] * (context + 1)], "context"),
    ):
        with pytest.raises(InputError, match=fault):
            pretrain(lm.model, documents, eos_token_id=0)


def test_what_is_not_learned_bears_the_label_that_losses_leave_out():
    """Those of PyTorch, and of the Trainer that counts the labels of a step."""
    labels = Collator(pad_token_id=0)([{"prompt": [1, 2], "response": [3, 4], "group": 0}])["labels"][0]
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    assert torch.nn.functional.cross_entropy(logits, labels) == pytest.approx(token_loss_sum(logits, labels).item() / 2)


@pytest.mark.parametrize("keep_best", [False, True])
def test_the_last_weights_are_kept_unless_the_best_are_asked_for(keep_best, tmp_path):
    lm, place = language_model(), tmp_path / "out"
    place.write_text("of somebody else: no folder is opened for a run that writes nothing")
    found = pretrain(
        lm.model, [[1, 2, 3, 4]], eos_token_id=0, eval_documents=[[1, 4, 2, 5]], keep_best=keep_best,
        max_steps=5, eval_every=1, warmup=0.0, learning_rate=0.1, output_dir=place,
    )  # fmt: skip
    assert found["eval_loss_minimum_step"] < found["steps"] == 5
    assert found["kept_step"] == (found["eval_loss_minimum_step"] if keep_best else 5)
    assert place.is_file()


def test_only_the_response_and_the_eos_after_it_are_labelled():
    lm = language_model()
    batch = Collator(pad_token_id=0)(examples(lm, [("the cat", "sat"), ("the dog ran on", "home sad")]))
    the, cat, sat, dog, ran, on, home, sad = lm.encode("the cat sat dog ran on home sad")
    assert batch["input_ids"].tolist() == [[0, 0, the, cat, sat, 0, 0], [the, dog, ran, on, home, sad, 0]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1, 0], [1] * 7]
    none = IGNORED
    assert batch["labels"].tolist() == [
        [none, none, none, none, sat, 0, none],
        [none, none, none, none, home, sad, 0],
    ]
    assert batch["num_response"] == 3
    assert batch["prompt_of"].tolist() == [0, 1]


def loss_and_gradient(lm, batches):
    trainer = SimpleNamespace()
    lm.model.zero_grad()
    total = 0.0
    for batch in batches:
        loss, _ = LanguageModelTrainer.eval_loss_sum(trainer, lm.model, batch)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in lm.model.parameters()])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_loss_and_gradient_of_a_padded_batch_equal_those_of_its_rows(architecture):
    lm = language_model(architecture)
    rows = examples(lm, [("the cat", "sat on the mat"), ("the dog ran away home", "sad")])
    collate = Collator(lm.pad_token_id)
    alone, alone_gradient = loss_and_gradient(lm, [collate([row]) for row in rows])
    together, together_gradient = loss_and_gradient(lm, [collate(rows)])
    assert together == pytest.approx(alone, rel=1e-5)
    torch.testing.assert_close(together_gradient, alone_gradient, atol=1e-5, rtol=1e-4)
    other_padding = collate(rows)
    other_padding["input_ids"][other_padding["attention_mask"] == 0] = 5
    assert loss_and_gradient(lm, [other_padding])[0] == pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_prompt_with_several_responses_is_read_once_with_the_same_loss_and_gradient(architecture):
    lm = language_model(architecture)
    pairs = [("the cat", "sat on the mat"), ("the dog ran away home", "sad"), ("the cat", "ran"), ("the cat", "sad on")]
    rows = examples(lm, pairs)
    collate = Collator(lm.pad_token_id)
    alone, alone_gradient = loss_and_gradient(lm, [collate([row]) for row in rows])
    rows_read = []
    lm.model.get_input_embeddings().register_forward_hook(lambda *given: rows_read.append(len(given[-1])))
    together, together_gradient = loss_and_gradient(lm, [collate(rows)])
    assert rows_read == [2, 3]  # two prompts, then four responses, of which two share a row
    assert together == pytest.approx(alone, rel=1e-5)
    torch.testing.assert_close(together_gradient, alone_gradient, atol=1e-5, rtol=1e-4)


def test_finetuning_learns_the_responses_and_to_stop():
    lm = language_model()
    pairs = [("the cat", "sat on mat"), ("the dog ran", "away"), ("sad cat on", "home glad")]
    metrics = finetune(lm, pairs, max_steps=80, batch_size=3, learning_rate=1e-2, eval_pairs=pairs, eval_every=20)
    assert metrics["train_loss"] < 0.1
    assert metrics["eval_loss_minimum"] <= metrics["eval_loss"] < 0.1
    for prompt, response in pairs:
        assert greedy(lm, prompt) == [*lm.encode(response), lm.eos_token_id]
    assert metrics["steps"] == 80
    assert metrics["tokens"] == 80 * (6 + 5 + 6)
    assert [point["step"] for point in metrics["history"] if "eval_loss" in point] == [20, 40, 60, 80]


def test_evaluation_loss_is_the_mean_over_tokens_and_the_best_weights_are_kept():
    lm = language_model()
    train = [("the cat", "sat"), ("the dog", "ran")]
    held_out = [("the cat", "ran on mat away home"), ("the dog", "sat"), ("the mat", "sat")]
    metrics = finetune(
        lm, train, eval_pairs=held_out, max_steps=40, batch_size=2, learning_rate=2e-2, eval_every=4, keep_best=True
    )
    points = {point["step"]: point["eval_loss"] for point in metrics["history"] if "eval_loss" in point}
    assert metrics["eval_loss_minimum"] == min(points.values()) < metrics["eval_loss"] == points[40]
    assert metrics["kept_step"] == metrics["eval_loss_minimum_step"] < 40
    total, tokens = 0.0, 0
    for row in examples(lm, held_out):
        ids = [*row["prompt"], *row["response"]]
        log_probs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for column in range(len(row["prompt"]), len(ids)):
            total, tokens = total - log_probs[column - 1, ids[column]].item(), tokens + 1
    assert metrics["eval_loss_minimum"] == pytest.approx(total / tokens, rel=1e-4)


def test_gradient_accumulation_equals_one_large_batch():
    pairs = [("the cat", "sat on mat away home"), ("the dog", "ran")] * 2
    large, accumulated = language_model(), language_model()
    finetune(large, pairs, max_steps=3, batch_size=4, warmup=0.0)
    finetune(accumulated, pairs, max_steps=3, batch_size=2, gradient_accumulation=2, warmup=0.0)
    for a, b in zip(large.model.parameters(), accumulated.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=0)


def test_pretraining_learns_documents_and_repeats_itself_by_seed():
    documents = [[1 + i % 6, 2, 3, 4, 5, 6] for i in range(30)]  # different, so that their order matters
    results = []
    for seed in (0, 0, 1):
        lm = language_model()
        metrics = pretrain(
            lm.model,
            documents,
            eos_token_id=0,
            eval_documents=documents[:4],
            max_steps=50,
            batch_size=4,
            learning_rate=1e-2,
            seed=seed,
        )
        results.append((lm.checksum(), metrics))
    assert results[0][0] == results[1][0] != results[2][0]
    metrics = results[0][1]
    assert metrics["train_loss"] < 0.5 < 1.0 < metrics["history"][0]["loss"]
    assert metrics["tokens"] == (6 * 30 + 2 * 4) * 7  # 6 epochs of 8 steps and 2 steps more; 6 tokens and EOS each
    assert metrics["seconds"] > 0


def test_bf16_trains_and_leaves_fp32_weights():
    lm = language_model()
    metrics = pretrain(lm.model, [[1, 2, 3]] * 8, eos_token_id=0, max_steps=2, batch_size=2, bf16=True)
    assert math.isfinite(metrics["train_loss"])
    assert {p.dtype for p in lm.model.parameters()} == {torch.float32}
    fresh = language_model()
    fresh.model.load_state_dict(lm.model.state_dict())
    tokens = torch.tensor([[1, 2, 3, 4]])
    assert torch.equal(lm.model(tokens).logits, fresh.model(tokens).logits)
    assert lm.copy().checksum() == lm.checksum()


@pytest.mark.parametrize("stop", [4, 7])  # 5 steps an epoch: within the first, within the second
def test_a_run_of_constant_rate_is_made_longer(tmp_path, stop):
    documents = [[1 + i % 6, 2, 3, 4, 5 + i % 2] for i in range(20)]
    options = {
        "eos_token_id": 0,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "schedule": "constant_with_warmup",
        "warmup": 0.0,
    }
    whole = language_model()
    pretrain(whole.model, documents, max_steps=9, **options)
    stopped = language_model()
    pretrain(stopped.model, documents, max_steps=stop, save_every=stop, output_dir=tmp_path, **options)
    resumed = language_model()
    metrics = pretrain(
        resumed.model, documents, max_steps=9, save_every=stop, resume=True, output_dir=tmp_path, **options
    )
    assert metrics["steps"] == 9
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_left_behind_but_tensorboard_events_and_their_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lm = language_model()
    finetune(lm, [("the", "cat")], max_steps=2, output_dir=tmp_path / "run", tensorboard=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert {path.relative_to(tmp_path).as_posix() for path in files} == {
        "run/prefgym-files.jsonl",
        "run/tensorboard/events.out.tfevents.0.prefgym",
    }
    finetune(lm, [("the", "cat")], max_steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_bad_input_gets_one_sentence():
    lm = language_model(context=8)
    with pytest.raises(InputError, match="at least one pair"):
        finetune(lm, [])
    with pytest.raises(InputError, match="Pair 1 has an empty response"):
        finetune(lm, [("the", "cat"), ("the", "")])
    with pytest.raises(InputError, match="Pair 0 has 11 tokens, more than the 8"):
        finetune(lm, [("the cat sat on the mat", "the dog ran away")])
    with pytest.raises(InputError, match="learning_rate must be positive, not -1"):
        TrainingOptions(learning_rate=-1)
    with pytest.raises(InputError, match=r'schedule "cosin" is not one of cosine, linear.* Did you mean "cosine"'):
        TrainingOptions(schedule="cosin")
    with pytest.raises(InputError, match=r"weight_decay must be at least 0, not -0\.1"):
        TrainingOptions(weight_decay=-0.1)
    with pytest.raises(InputError, match="need an output_dir"):
        TrainingOptions(save_every=3)


def test_bf16_on_a_cpu_attends_by_plain_products_and_gives_the_implementation_back():
    lm = language_model()
    assert lm.model.config._attn_implementation == "sdpa"
    seen = []
    lm.model.register_forward_pre_hook(lambda module, given: seen.append(module.config._attn_implementation))
    pairs = [("the cat", "sat"), ("the cat", "ran")]
    finetune(lm, pairs, max_steps=1, batch_size=2, bf16=True)
    assert set(seen) == {"eager"}
    assert lm.model.config._attn_implementation == "sdpa"
    seen.clear()
    finetune(lm, pairs, max_steps=1, batch_size=2)
    assert set(seen) == {"sdpa"}


def test_a_diverging_run_stops():
    lm = language_model()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        finetune(lm, [("the", "cat")], max_steps=3)


def test_every_training_option_reaches_the_optimiser(monkeypatch):
    """Weight decay on matrices alone; the learning rate rises over the share of warm-up and then stays."""
    rates, decays, plain = [], {}, LanguageModelTrainer.training_step

    def looking(trainer, *args, **kwargs):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        groups = trainer.optimizer.param_groups
        decays.update({p.ndim: group["weight_decay"] for group in groups for p in group["params"]})
        return plain(trainer, *args, **kwargs)

    monkeypatch.setattr(LanguageModelTrainer, "training_step", looking)
    pairs = [("the cat", "sat on"), ("the dog", "ran")]
    rising = {"warmup": 0.5, "schedule": "constant_with_warmup"}
    finetune(language_model(), pairs, max_steps=10, batch_size=2, learning_rate=1e-2, weight_decay=0.25, **rising)
    assert rates == pytest.approx([0.0, 0.002, 0.004, 0.006, 0.008, *[0.01] * 5])
    assert decays == {2: 0.25, 1: 0.0}
