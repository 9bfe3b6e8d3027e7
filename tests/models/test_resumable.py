"""Supervised runs that are stopped, killed or damaged on the way end as if nothing had happened."""

import errno
import gc
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.data.mixing import Mixture
from prefgym.errors import InputError
from prefgym.models import supervised_checkpoint
from prefgym.models.finetune import LanguageModelTrainer, finetune
from prefgym.models.language_model import LanguageModel
from prefgym.models.supervised_checkpoint import KEEP, checkpoints
from prefgym.models.watching import Events
from prefgym.storage import signals, whole
from prefgym.storage.atomic import is_partial
from prefgym.storage.events import EVENTS, read_events
from prefgym.storage.lock import LOCK
from prefgym.storage.signals import Stopped

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "away", "home", "sad", "glad"]
PAIRS = [(f"the {a}", f"{b} {c}") for a in ("cat", "dog") for b in ("sat", "ran") for c in ("on", "away home")]
HELD_OUT = [("the cat", "ran home"), ("the dog", "sat sad"), ("sad", "glad")]  # two batches
OPTIONS = {"batch_size": 2, "learning_rate": 2e-2, "log_every": 2, "eval_every": 2, "save_every": 3}
TIMES = ("runtime", "per_second")


def language_model(dropout: bool = True) -> LanguageModel:
    vocabulary = {word: i for i, word in enumerate(["<eos>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    torch.manual_seed(0)
    if dropout:
        config = GPT2Config(vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=24)
        return LanguageModel(GPT2LMHeadModel(config), tokenizer)
    config = LlamaConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=24, tie_word_embeddings=True,
    )  # fmt: skip
    return LanguageModel(LlamaForCausalLM(config), tokenizer)


@dataclass
class Run:
    """One run, which may be begun several times."""

    folder: Path
    options: dict = field(default_factory=dict)
    dropout: bool = True

    def go(self, **more):
        lm = language_model(self.dropout)
        given = {**OPTIONS, "epochs": 1.5, "tensorboard": True, "output_dir": self.folder, **self.options, **more}
        held_out = given.pop("held_out", HELD_OUT)
        metrics = finetune(lm, given.pop("pairs", PAIRS), eval_pairs=held_out, **given)
        return self.told(lm, metrics)

    def told(self, lm, metrics):
        """Everything that must be the same; seconds are not."""
        history = [{k: v for k, v in point.items() if not k.endswith(TIMES)} for point in metrics.pop("history")]
        metrics.pop("seconds")
        return lm.checksum(), metrics, history, points(self.folder)


def points(folder):
    told = []
    for event in read_events(folder / "tensorboard" / EVENTS):
        for value in event.summary.value:
            same = None if value.tag.endswith((*TIMES, "text_summary")) else value.SerializeToString()
            told.append((value.tag, event.step, same))
    return sorted(told, key=str)


SHAPES = {
    "dropout, held-out data, an epoch and a half": {},
    "accumulation with a rest": {"gradient_accumulation": 3, "epochs": 3, "log_every": 4},
    "mixed tasks, packed, last weights": {
        "packing": True, "keep_best": False, "epochs": 3, "epochs_of": Mixture(["a", "b"] * 4, cap=2, seed=1)
    },
    "nothing held out": {"held_out": None, "log_every": 4},
}  # fmt: skip
PLAIN = next(iter(SHAPES))


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """The Trainer collects garbage at every start, which takes long with all that tests import; and disks are slow."""
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda channel: None)
        yield
    gc.unfreeze()


def run_in(folder, shape=PLAIN):
    return Run(folder, SHAPES[shape], dropout="packing" not in SHAPES[shape])


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """``untouched(shape)`` -> what a run gives that nothing happened to."""
    return cache(lambda shape=PLAIN: run_in(tmp_path_factory.mktemp("untouched"), shape).go())


@pytest.fixture
def fire(monkeypatch):
    """``fire(owner, name, call, what)`` -> the ``call``-th call of ``owner.name`` does ``what`` first, in the block."""

    @contextmanager
    def firing(owner, name, call, what, after=False):
        plain, calls = getattr(owner, name), []

        def fired(*args, **kwargs):
            calls.append(None)
            if len(calls) == call and not after:
                what()
            result = plain(*args, **kwargs)
            if len(calls) == call and after:
                what()
            return result

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fired)
            yield

    return firing


def stop():
    raise Stopped(15)


def signal():
    """As a SIGTERM, which may be put off."""
    signals._handle(15, None)


def die():
    raise SystemExit("killed")


@pytest.fixture(autouse=True)
def _handler():
    """The state of the signal handler as ``stoppable`` leaves it; every deferral must have ended."""
    signals._state.__init__()
    yield
    assert signals._state.sections == 0
    signals._state.__init__()


def names(folder):
    return [path.name for path in checkpoints(folder)]


@pytest.mark.parametrize("step", range(1, 7))
def test_stopped_in_any_step_a_run_ends_as_if_untouched(step, tmp_path, fire, untouched):
    run = run_in(tmp_path)
    told = f"after {step - 1} of 6 steps, which are saved; step {step} will be repeated"
    told = told if step > 1 else "before the first checkpoint"
    with fire(LanguageModelTrainer, "training_step", step, stop, after=True), pytest.raises(Stopped, match=told):
        run.go()
    assert names(tmp_path)[-1:] == ([f"step-{step - 1:06d}"] if step > 1 else [])
    assert run.go(resume=True) == untouched()
    assert names(tmp_path) == names(tmp_path)[-KEEP:]


@pytest.mark.parametrize(
    ("shape", "calls"),
    [
        ("accumulation with a rest", {5: 2, 11: 4}),  # forward passes, of a step with three or with one
        ("mixed tasks, packed, last weights", {4: 3}),
        ("nothing held out", {6: 5}),
    ],
)
def test_accumulation_mixed_tasks_and_packing_go_on_exactly(shape, calls, tmp_path, fire, untouched):
    for call, done in calls.items():
        run = run_in(tmp_path / str(call), shape)
        with fire(LanguageModelTrainer, "training_step", call, stop, after=True), pytest.raises(Stopped):
            run.go()
        assert names(run.folder)[-1] == f"step-{done:06d}"
        assert run.go(resume=True) == untouched(shape)


PLACES = {
    "backward": (torch.Tensor, "backward", 4, "after 3 of 6 steps.*step 4 will"),
    "the optimiser's step, put off": (torch.optim.AdamW, "step", 5, "after 5 of 6 steps.*step 6 will"),
    "the schedule's step, put off": (torch.optim.lr_scheduler.LambdaLR, "step", 5, "after 4 of 6 steps"),
    "logging, put off": (Events, "on_log", 1, "the evaluation after step 2 will"),
    "an evaluation": (LanguageModelTrainer, "eval_loss_sum", 3, "the evaluation after step 2 will"),
    "its end, put off": (Events, "on_log", 2, "after 2 of 6 steps.*step 3 will"),
    "the writing of a checkpoint": (supervised_checkpoint, "write_text", 1, "after 3 of 6 steps.*step 4 will"),
    "its renaming": (whole.os, "replace", 3, "after 3 of 6 steps.*step 4 will"),
    "the last evaluation": (LanguageModelTrainer, "eval_loss_sum", 11, "the evaluation after step 6 will"),
    "the end": (LanguageModelTrainer, "_finalize_training", 1, "after 6 of 6 steps.*what follows training will"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_anywhere_loses_no_whole_step(place, tmp_path, fire, untouched):
    owner, name, call, told = PLACES[place]
    run = run_in(tmp_path)
    with fire(owner, name, call, signal), pytest.raises(Stopped, match=f"stopped by SIGTERM.*{told}"):
        run.go()
    assert not [path for path in tmp_path.rglob("*") if is_partial(path)]
    signals._state.__init__()
    assert run.go(resume=True) == untouched()


def test_stopped_again_and_again_also_in_a_repeated_evaluation(tmp_path, fire, untouched):
    run = run_in(tmp_path)
    for _ in range(2):  # the second time it is the first thing that is done
        with fire(LanguageModelTrainer, "evaluate", 1, stop), pytest.raises(Stopped, match="evaluation after step 2"):
            run.go(resume=True)
    for step in (3, 4, 5):
        with fire(LanguageModelTrainer, "training_step", 2, stop), pytest.raises(Stopped, match=f"after {step} of 6"):
            run.go(resume=True)
    assert run.go(resume=True) == untouched()


def test_an_interrupt_that_nothing_puts_off_saves_no_half_step(tmp_path, fire, untouched):
    run = run_in(tmp_path)

    def interrupt():
        raise KeyboardInterrupt

    with fire(torch.optim.AdamW, "step", 5, interrupt), pytest.raises(KeyboardInterrupt, match="after 3 of 6 steps"):
        run.go()
    assert names(tmp_path) == ["step-000003"]
    assert run.go(resume=True) == untouched()


@pytest.mark.parametrize(("name", "call"), [("save_file", 2), ("discard", 1), ("sync_folder", 2), ("is_whole", 1)])
def test_killed_while_checkpoints_are_written_a_run_goes_on(name, call, tmp_path, fire, untouched):
    run = run_in(tmp_path)
    owner = whole if name == "sync_folder" else supervised_checkpoint
    if name == "is_whole":  # what is killed is the second start
        with fire(LanguageModelTrainer, "training_step", 3, stop), pytest.raises(Stopped):
            run.go(save_every=1)
    with fire(owner, name, call, die), pytest.raises(SystemExit):
        run.go(save_every=1, resume=name == "is_whole")
    assert run.go(resume=True) == untouched()


def test_a_full_disk_is_told_and_the_last_checkpoint_is_kept(tmp_path, fire, untouched):
    run = run_in(tmp_path)

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    with fire(supervised_checkpoint, "save_file", 2, full), pytest.raises(OSError, match="No space"):
        run.go()
    assert names(tmp_path) == ["step-000003"]
    assert run.go(resume=True) == untouched()


def stopped_run(folder, fire, step=6):
    run = run_in(folder)
    with fire(LanguageModelTrainer, "training_step", step, stop), pytest.raises(Stopped):
        run.go()
    return run


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "trainer_state.json", None])
def test_a_damaged_checkpoint_is_passed_over(name, tmp_path, fire, untouched):
    run = stopped_run(tmp_path, fire)
    assert names(tmp_path) == ["step-000003", "step-000005"]
    newest = checkpoints(tmp_path)[-1]
    if name is None:
        (newest / "state.json").unlink()
    else:
        damage(newest / name)
    with pytest.warns(UserWarning, match="step-000005.* is damaged; the one before it is used"):
        assert run.go(resume=True) == untouched()


def test_none_whole_is_told_with_the_next_step(tmp_path, fire):
    run = stopped_run(tmp_path, fire)
    for path in checkpoints(tmp_path):
        damage(path / "state.safetensors")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(InputError, match="no intact one before it; start over"),
    ):
        run.go(resume=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pairs": [*PAIRS[:-1], ("the dog", "ran mat")]}, "the examples changed"),
        ({"held_out": HELD_OUT[::-1]}, "the examples changed"),
        ({"learning_rate": 3e-2}, "the options of training changed"),
        ({"epochs": 3}, "the options of training changed"),  # of a cosine another run, if not of a constant rate
    ],
)
def test_what_changed_is_refused_unless_accepted(change, told, tmp_path, fire):
    run = stopped_run(tmp_path, fire)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"{told} since .*step-000005 was saved.*--accept-changes"):
        run.go(resume=True, **change)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.name != LOCK) == before
    if "epochs" in change:
        assert run.go(resume=True, accept_changes=True, **change)[1]["steps"] == 12


def test_another_start_model_is_refused(tmp_path, fire):
    run = stopped_run(tmp_path, fire)
    run.dropout = False
    with pytest.raises(InputError, match="the model that training started from changed"):
        run.go(resume=True)
    with pytest.raises(InputError, match="does not fit the model"):
        run.go(resume=True, accept_changes=True)


def test_checkpoints_of_another_run_are_not_written_over(tmp_path, fire):
    run = stopped_run(tmp_path, fire)
    with pytest.raises(InputError, match="holds checkpoints of another run"):
        run.go()


def test_no_pickle_is_written_and_every_event_once(tmp_path, untouched):
    run_in(tmp_path).go()
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {
        ".safetensors",
        ".json",
        ".jsonl",
        ".prefgym",
    }
    told = [(tag, step) for tag, step, _ in untouched()[3]]
    assert len(told) == len(set(told))
    assert ("eval/loss", 6) in told


def test_the_bar_of_a_resumed_run_begins_where_it_goes_on(tmp_path, fire, capsys):
    run = stopped_run(tmp_path, fire)
    capsys.readouterr()
    run.go(resume=True, progress=True)
    told = capsys.readouterr().err
    assert "5/6" in told
    assert "0/6" not in told
