"""The order of examples in a supervised run."""

import random
from types import SimpleNamespace

import pytest
import torch
from transformers.trainer_callback import ProgressCallback

from prefgym.models.supervised import LengthGrouped, Progress, SupervisedTrainer, TrainingOptions


def test_every_example_comes_once_an_epoch_in_an_order_of_seed_and_epoch_alone():
    lengths = [random.Random(i).randint(1, 99) for i in range(103)]
    sampler = LengthGrouped(lengths, range(len(lengths)), batch_size=4, seed=0)
    first = list(sampler)
    assert sorted(first) == list(range(103))
    assert len(sampler) == 103
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == list(range(103))
    assert second != first != list(LengthGrouped(lengths, range(len(lengths)), batch_size=4, seed=1))
    fresh = LengthGrouped(lengths, range(len(lengths)), batch_size=4, seed=0)
    fresh.set_epoch(1)
    assert list(fresh) == second


def test_a_batch_holds_examples_of_like_length_and_batches_come_in_no_order_of_length():
    lengths = [random.Random(i).randint(1, 1000) for i in range(200)]
    order = list(LengthGrouped(lengths, range(len(lengths)), batch_size=4, seed=0))
    batches = [[lengths[i] for i in order[start : start + 4]] for start in range(0, 200, 4)]
    assert max(max(batch) - min(batch) for batch in batches) < 120
    means = [sum(batch) for batch in batches]
    assert means not in (sorted(means), sorted(means, reverse=True))


def test_a_group_stays_together_and_within_a_batch_that_it_fits():
    lengths = [random.Random(i).randint(1, 99) for i in range(60)]
    groups = [i // 3 for i in range(60)]
    sampler = LengthGrouped(lengths, groups, batch_size=6, seed=0)
    orders = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(60))
        for start in range(0, 60, 3):
            assert len({groups[i] for i in order[start : start + 3]}) == 1
        orders.append(order)
    assert orders[0] != orders[1]


def test_steps_count_batches_accumulation_and_epochs():
    assert TrainingOptions(batch_size=4, epochs=3).steps(10) == 9
    assert TrainingOptions(batch_size=4, gradient_accumulation=2, epochs=3).steps(10) == 6
    assert TrainingOptions(batch_size=4, max_steps=7).steps(10) == 7


class Halves:
    """The even indices in even epochs, the odd ones in odd epochs."""

    def __len__(self):
        return 10

    def epoch(self, number):
        return range(number % 2, 20, 2)


def test_an_epoch_may_hold_some_of_the_examples():
    sampler = LengthGrouped([1] * 20, range(20), batch_size=4, seed=0, epochs_of=Halves())
    assert len(sampler) == 10
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(Halves().epoch(epoch)) != order


def trainer(count=6, **options):
    examples = [{"prompt": [1], "response": [2], "group": place} for place in range(count)]
    args = TrainingOptions(batch_size=2, **options).arguments(count, torch.device("cpu"), evaluate=False)
    return SupervisedTrainer(model=torch.nn.Linear(1, 1), args=args, data_collator=list, train_dataset=examples)


def test_a_run_is_evaluated_ten_times_unless_told_otherwise():
    def every(**options):
        return TrainingOptions(batch_size=1, **options).arguments(110, torch.device("cpu"), evaluate=True).eval_steps

    assert (every(), every(max_steps=5), every(eval_every=7)) == (11, 1, 7)


@pytest.mark.parametrize("progress", [False, True])
def test_the_bar_is_our_own_and_shown_if_asked_for(progress):
    callbacks = [type(callback) for callback in trainer(progress=progress).callback_handler.callbacks]
    assert callbacks.count(Progress) == progress
    assert ProgressCallback not in callbacks


def test_the_order_is_of_the_examples_that_are_read():
    made = trainer()
    assert sorted(made._get_train_sampler()) == list(range(6))
    assert sorted(made._get_train_sampler(made.train_dataset[:4])) == list(range(4))


def test_a_resumed_run_draws_the_random_numbers_that_it_would_have_drawn():
    made, devices = trainer(), []
    made._load_rng_state(None)
    made.resumed = SimpleNamespace(moment=SimpleNamespace(put_back_random=devices.append))
    made._load_rng_state("checkpoint")
    assert devices == [made.args.device]
