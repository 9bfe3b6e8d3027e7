"""``check_agent`` passes every good agent and names the fault of every faulty one."""

import importlib.util
import sys
from pathlib import Path

import pytest

import prefgym
from prefgym.agents import AGENTS, BASELINES, PPO, REINFORCE
from prefgym.errors import InputError
from prefgym.evaluation.checking.faults import SENTENCES


def _faulty_agents():
    """The neighbouring module: tests are imported by path."""
    spec = importlib.util.spec_from_file_location("faulty_agents", Path(__file__).with_name("faulty_agents.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.FAULTY


FAULTY = _faulty_agents()
BIASED = {"group_mean", "group_normalised"}
GOOD = [(name, {}) for name, agent in AGENTS.items() if agent.climbs_reward and name != "reinforce"]
GOOD += [("reinforce", {"baseline": baseline}) for baseline in BASELINES if baseline not in BIASED]


@pytest.mark.no_cover  # counting lines doubles the time; the tests below run the same
@pytest.mark.parametrize(("name", "options"), GOOD, ids=[options.get("baseline", name) for name, options in GOOD])
def test_good_agents_pass(name, options, capsys):
    report = prefgym.check_agent(AGENTS[name], estimates=256, **options)
    assert report.passed, str(report)
    assert report.p_value > 0.001
    assert report.cosine > 0.999
    assert report.share > 0.98
    assert report.kl_to_optimum == pytest.approx(2 * (report.optimum - report.objective), abs=1e-5)  # β = 0.5
    assert f"{AGENTS[name].__name__} on Enumerable-v0: passed" in capsys.readouterr().out


@pytest.mark.no_cover  # counting lines doubles the time; the tests below run the same
@pytest.mark.parametrize("agent", FAULTY)
def test_planted_faults_are_named(agent, capsys):
    report = prefgym.check_agent(agent, estimates=64, iterations=0)
    assert not report.passed
    assert report.faults[0].fault == agent.__doc__
    assert f"likely: {SENTENCES[agent.__doc__]}" in capsys.readouterr().out


def test_at_least_ten_faults_are_planted_and_all_are_different():
    assert len({agent.__doc__ for agent in FAULTY}) == len(FAULTY) >= 10


IN_LOSS = {"kl_loss_coef": 0.5}
PLACES = [
    ({"kl_level": "sequence"}, None),
    ({**IN_LOSS, "kl_loss_estimator": "k2", "kl_level": "sequence"}, None),
    ({**IN_LOSS, "kl_loss_estimator": "exact", "kl_estimator": "exact"}, None),
    ({**IN_LOSS, "kl_loss_estimator": "k1"}, "kl_missing"),
    ({**IN_LOSS, "kl_loss_estimator": "k2"}, "kl_without_credit"),
    ({**IN_LOSS, "kl_loss_estimator": "exact"}, "kl_without_credit"),
    ({**IN_LOSS, "kl_loss_estimator": "k3"}, "kl_forward"),
    ({"kl_estimator": "exact"}, "kl_own"),
]


@pytest.mark.parametrize(("options", "fault"), PLACES, ids=["-".join(map(str, o.values())) for o, _ in PLACES])
def test_where_the_kl_is_paid_decides_whose_gradient_it_has(options, fault):
    report = prefgym.check_agent(REINFORCE, estimates=64, iterations=0, **options)
    assert [finding.fault for finding in report.faults[:1]] == ([] if fault is None else [fault]), str(report)


@pytest.mark.parametrize(
    "loss",
    [{"kl_loss_estimator": estimator} for estimator in ("k2", "k3", "exact")]
    + [{"kl_loss_estimator": "k2", "kl_level": "sequence"}],
    ids=lambda loss: "-".join(loss.values()),
)
@pytest.mark.parametrize(("agent", "own"), [(REINFORCE, {}), (PPO, {"gae_lambda": 1.0, "normalize_advantage": False})])
def test_a_kl_loss_beside_the_kl_in_the_reward_counts_twice(agent, own, loss):
    """An agent that adds a loss of its own accord, where the rewards hold the KL already."""

    def make(policy, env, **options):
        return agent(policy, env, **own, **loss, **IN_LOSS, **options)

    report = prefgym.check_agent(make, estimates=64, iterations=0)
    assert report.faults[0].fault == "kl_twice", str(report)


def test_the_parts_say_how_often_kl_counts():
    twice = next(agent for agent in FAULTY if agent.__doc__ == "kl_twice")
    report = prefgym.check_agent(twice, estimates=64, iterations=0)
    assert report.score_part[0] == pytest.approx(1, abs=4 * report.score_part[1])
    assert report.kl_part[0] == pytest.approx(2, abs=4 * report.kl_part[1])


def test_a_wrong_factor_beside_a_fault_is_told():
    class Both(REINFORCE):
        def loss(self, minibatch):
            minibatch.log_probs = minibatch.log_probs.exp()
            loss, stats = super().loss(minibatch)
            return 3 * loss, stats

    (finding, *_) = prefgym.check_agent(Both, estimates=64, iterations=0).faults
    assert finding.fault == "probability"
    assert "length is off too" in finding.sentence


def test_what_is_on_no_list_is_unknown():
    class Odd(REINFORCE):
        def loss(self, minibatch):
            minibatch.advantages = minibatch.advantages.square()
            return super().loss(minibatch)

    (finding,) = prefgym.check_agent(Odd, estimates=64, iterations=0).faults
    assert finding.fault == "unknown"


def test_a_right_gradient_that_learns_nothing_is_told_apart():
    report = prefgym.check_agent(REINFORCE, estimates=128, iterations=2, learning_rate=1e-6)
    assert report.p_value > 0.001
    assert [finding.fault for finding in report.faults] == ["learning"]


def test_without_kl_there_is_no_part_of_it():
    report = prefgym.check_agent(REINFORCE, kl_coef=0.0, estimates=64, iterations=0)
    assert report.passed
    assert report.kl_part is None
    assert "KL part" not in str(report)


def test_a_function_that_makes_the_agent():
    def make(policy, env, **options):
        return PPO(policy, env, gae_lambda=1.0, normalize_advantage=False, **options)

    assert prefgym.check_agent(make, estimates=64, iterations=0).passed


@pytest.mark.parametrize(
    ("agent", "options", "message"),
    [
        (lambda policy, env, **options: env, {}, "made a Enumerable; give a subclass"),
        (PPO, {"clip_rang": 0.2}, 'Did you mean "clip_range"'),
    ],
)
def test_what_cannot_be_checked(agent, options, message):
    with pytest.raises(InputError, match=message):
        prefgym.check_agent(agent, **options)
