"""An agent of the user's that fails: exit code 4 and one sentence with the file, the line and the next step."""

import gymnasium as gym
import pytest

from prefgym import cli
from prefgym.agents import AGENTS
from prefgym.blame import blaming
from prefgym.errors import AgentError, InputError
from prefgym.options import AGENT_OPTIONS, agent_class, agent_options

CODE = """\
import sys
from prefgym.agents.base import Advantages, PolicyGradient
from prefgym.agents.losses import policy_gradient_loss

class Mine(PolicyGradient):
    name = "mine"
    {extra}
    def advantages(self, rollout):
        {advantages}
    def loss(self, minibatch):
        m = minibatch
        loss = policy_gradient_loss(m.log_probs, m.advantages, m.mask, m.denominator)
        {loss}
"""
SOUND = {"extra": "", "advantages": "return Advantages(rollout.rewards)", "loss": "return loss, {'loss': 1.0}"}


@pytest.fixture
def write(tmp_path):
    """``write(loss="...")`` -> the name of a sound agent, but for the lines given."""

    def made(**lines):
        (tmp_path / "mine.py").write_text(CODE.format(**{**SOUND, **lines}))
        return f"{tmp_path / 'mine.py'}:Mine"

    return made


def learn(name):
    kind = agent_class(name)
    with blaming(kind):
        kind("default", gym.make("Enumerable-v0"), seed=0, episodes_per_iteration=8).learn(8)


def test_a_sound_one_learns_and_may_log_plain_numbers(write):
    learn(write())


@pytest.mark.parametrize(
    ("lines", "line", "told"),
    [
        ({"advantages": "return Advantages(rollout.reward)"}, 9, "AttributeError: 'Rollout' object has no attribute"),
        ({"advantages": "raise SystemExit(0)"}, 9, "SystemExit: 0"),
        ({"loss": "sys.exit(0)"}, 13, "SystemExit: 0"),
        ({"extra": "def __init__(self, env): pass"}, 5, "TypeError: Mine.__init__() got an unexpected keyword"),
        ({"extra": "hyperparameter_type = dict"}, 5, "TypeError"),
    ],
)
def test_what_an_agent_raises_names_the_line(write, tmp_path, lines, line, told):
    with pytest.raises(AgentError) as error:
        learn(write(**lines))
    assert str(error.value).startswith(f"Agent Mine failed at {tmp_path}/mine.py, line {line}: {told}")
    assert str(error.value).endswith("; mend it there, and try it with prefgym.check_agent(Mine).")


@pytest.mark.parametrize(
    ("lines", "line", "told"),
    [
        ({"advantages": "return rollout.rewards"}, 8, "advantages, returns or None"),
        ({"advantages": "return Advantages(None)"}, 8, "not a NoneType"),
        ({"loss": "return loss"}, 10, "a pair, the loss and a dict of scalars to log, not a Tensor of size ()"),
        ({"loss": "return m.log_probs, {}"}, 10, "a scalar tensor as the loss, not a Tensor of size (8, "),
        ({"loss": "return loss, {'x': 'hello'}"}, 10, 'a number or a scalar tensor as "x", not a str'),
    ],
)
def test_a_wrong_answer_names_the_method(write, tmp_path, lines, line, told):
    method = "loss" if line == 10 else "advantages"
    with pytest.raises(AgentError) as error:
        learn(write(**lines))
    assert str(error.value).startswith(f"Mine.{method} ({tmp_path}/mine.py, line {line}) must return ")
    assert told in str(error.value)


def test_a_line_of_a_module_that_the_agent_imports_is_named(write, tmp_path, monkeypatch):
    (tmp_path / "its_helper.py").write_text("def weigh(rollout):\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AgentError, match=r"its_helper\.py, line 2: ZeroDivisionError"):
        learn(write(advantages="import its_helper; its_helper.weigh(rollout)"))


@pytest.mark.parametrize("error", [InputError("a"), KeyboardInterrupt(), FloatingPointError(), MemoryError()])
def test_other_failures_pass(write, error):
    with pytest.raises(type(error)), blaming(agent_class(write())):
        raise error


def test_so_does_everything_in_an_agent_of_prefgyms():
    with pytest.raises(LookupError), blaming(agent_class("ppo")):
        raise LookupError


def test_hyperparameters_of_no_dataclass(write):
    with pytest.raises(AgentError, match=r"mine\.py, line 5: TypeError"):
        agent_options(write(extra="hyperparameter_type = dict"))


def test_training_ends_with_code_4_and_one_line_and_leaves_nothing(run, write, train_flags, tmp_path):
    flags = list(train_flags)
    for option in ("--agent.n_epochs", "--agent.batch_size"):
        del flags[flags.index(option) : flags.index(option) + 2]
    words = ("--evaluation.prompts", "0", "--agent.name", write(loss="sys.exit(0)"), "--output", tmp_path / "run")
    result = run("train", *flags, *words)
    assert result.code == 4
    assert f"prefgym train: Agent Mine failed at {tmp_path}/mine.py, line 13: SystemExit: 0;" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "run").exists()


def test_code_that_ends_the_program_elsewhere_is_not_the_end_of_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setattr("prefgym.failures.tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(cli, "_command", lambda *_: (_ for _ in ()).throw(SystemExit(0)))
    result = run("train")
    assert result.code == 70
    assert "SystemExit: 0" in result.err


def test_help_names_every_agent():
    (told,) = [option.help for option in AGENT_OPTIONS if option.key == "agent.name"]
    assert all(name in told.replace(",", " ").split() for name in AGENTS)
