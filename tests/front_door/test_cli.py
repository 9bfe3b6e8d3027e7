import subprocess
import sys

import pytest

import prefgym
from prefgym import cli
from prefgym.errors import InputError, RewardError


def test_usage_names_every_command(run):
    result = run("--help")
    assert result.code == 0
    assert all(command in result.out for command in cli.COMMANDS)
    assert run().code == 2
    assert run("--version").out.split() == ["prefgym", prefgym.__version__]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_teaches_every_command(run, command):
    result = run(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: prefgym {command}")
    assert "(default" in result.out


def test_help_tells_an_agents_own_options_under_its_name(run):
    text = run("train", "--help").out
    of_reinforce, of_dpo = text.split("With --agent.name reinforce also:")[1].split("With --agent.name dpo also:")
    assert "--agent.baseline" in of_reinforce
    assert "--agent.labels" in of_dpo
    assert "--agent.labels" not in of_reinforce
    assert text.count("--agent.clip_range FLOAT") == 1


def test_unknown_command_names_the_nearest(refused):
    assert 'Did you mean "train"?' in refused("trian")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no\nfile"), 2),
        (RewardError("it raised\n  a thing"), 4),
        (KeyboardInterrupt("stopped"), 130),
        (FloatingPointError("diverged"), 1),
    ],
)
def test_errors_are_one_line_and_a_code(run, monkeypatch, error, code):
    def fail(command, arguments):
        raise error

    monkeypatch.setattr(cli, "_command", fail)
    result = run("train")
    assert (result.code, result.err) == (code, f"prefgym train: {' '.join(str(error).split())}\n")


def test_the_module_is_the_command_and_usage_loads_no_torch():
    code = "import sys; from prefgym.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    result = subprocess.run([sys.executable, "-m", "prefgym", "nonsense"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
