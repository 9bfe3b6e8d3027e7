"""Every option of every command reaches its place: giving it changes what it is there for, and nothing else.

An option that is added to a command without a line in ``option_table.py`` fails, and so does one without an effect.
"""

import importlib.util
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from prefgym import cli, config
from prefgym.agents import AGENTS
from prefgym.config import Option
from prefgym.errors import InputError
from prefgym.options import agent_options


def _loaded(path: Path) -> Any:
    """The module in that file; tests are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
PARTS = ("data", "screens", "probes", "scenes", "table")
data, _, probes, scenes, table = (_loaded(HERE / f"option_{name}.py") for name in PARTS)
agents_test = _loaded(HERE.parent / "agents" / "test_every_hyperparameter.py")


HYPERPARAMETERS = {option.key for name in AGENTS for option in agent_options(name)[3:]}
"""Those have a test of their own below, and ``tests/agents/test_every_hyperparameter.py`` holds what they do."""
CASES = [(command, key) for command, lines in table.TABLE.items() for key in lines]


class Parsed(InputError):
    """The options that a command reads its words by."""

    def __init__(self, options: Sequence[Option]) -> None:
        super().__init__("nothing is done")
        self.options = options


def parser_of(command: str) -> dict[str, Option]:
    """Every option that a command takes, from the call that reads its words."""
    found: list[Option] = []

    def parse_flags(arguments: Sequence[str], options: Sequence[Option], positional: Any = None) -> Any:
        found.extend(options)
        raise Parsed(options)

    module = importlib.import_module(f"prefgym.commands.{command.replace('-', '_')}")
    plain = config.parse_flags
    with pytest.MonkeyPatch.context() as patch:
        for name, loaded in list(sys.modules.items()):
            if name.startswith("prefgym.") and getattr(loaded, "parse_flags", None) is plain:
                patch.setattr(loaded, "parse_flags", parse_flags)
        with pytest.raises(Parsed):
            module.run(["--no-such-option"])
    assert len({option.key for option in found}) == len(found) > 0
    return {option.key: option for option in found}


PARSERS = {command: parser_of(command) for command in cli.COMMANDS}


@pytest.fixture(scope="module")
def places(model_folder, preference_folder, finished_run, language_model, posts, tmp_path_factory) -> dict[str, Path]:
    """Models and data, by the names that words call them."""
    made = {"model": model_folder, "preference": preference_folder, "run": finished_run}
    return {**made, **data.make_places(tmp_path_factory.mktemp("options"), language_model, posts)}


@pytest.fixture(scope="module")
def observe(places, tmp_path_factory):
    """``observe("train", words, given)`` -> what is seen, of a call in an empty folder."""
    known: dict[Any, dict[str, Any]] = {}

    def call(name: str, words: Sequence[str], given: Any = None) -> dict[str, Any]:
        if (name, *words, given) not in known:
            known[name, *words, given] = fresh(name, words, given)
        return known[name, *words, given]

    def at(found: re.Match[str]) -> str:
        return str(places[found[1]])

    def fresh(name: str, words: Sequence[str], given: Any) -> dict[str, Any]:
        scene, seen = scenes.SCENES[name], dict[str, Any]()
        base, more = ([re.sub(r"^@(\w+)", at, word) for word in said] for said in (scene.words, words))
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(tmp_path_factory.mktemp("case"))
            scene.probe(patch, seen)
            if given is not None:
                given(places, base, scene.command)
                seen.clear()
            code = cli.main([scene.command, *base, *more])
            seen.update(scene.read(out.getvalue()))
        reached = code == 0 or "as far as this goes" in err.getvalue()
        assert code in (0, 2), err.getvalue()
        return seen if reached else {"refused": err.getvalue().splitlines()[-1]}

    return call


@pytest.mark.parametrize(("command", "key"), CASES)
def test_an_option_changes_what_it_is_there_for(command: str, key: str, observe) -> None:
    line = table.TABLE[command][key]
    flag = f"--{key.replace('_', '-') if '.' not in key else key}"
    off = [f"{flag}=false"] if PARSERS[command][key].kind is bool else []
    before = observe(line.scene or command, [*line.beside, *off], line.given)
    after = observe(line.scene or command, [*line.beside, flag, *line.words], line.given)
    assert "refused" not in after, after
    if "refused" in before:
        changed = {"refused"}
    else:
        changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    assert changed == set(line.changes), sorted(changed)
    for name, value in line.changes.items():
        assert value is table.ANY or after[name] == value


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_has_a_line_and_every_line_an_option(command: str) -> None:
    assert set(PARSERS[command]) - HYPERPARAMETERS == set(table.TABLE[command])


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_tells_the_options_that_a_command_takes(command: str) -> None:
    text = importlib.import_module(f"prefgym.commands.{command.replace('-', '_')}").help_text()
    told = {name.replace("-", "_") for name in re.findall(r"^  --([\w.-]+).*\(default", text, re.MULTILINE)}
    assert told == set(PARSERS[command])


@pytest.fixture
def cheap_world(places, monkeypatch) -> None:
    """An environment and prompts that are made once, for ``train`` and ``compare``."""
    import gymnasium as gym

    from prefgym.commands import compare, train
    from prefgym.data.prompts import embedded_prompts

    splits = {split: embedded_prompts(split, 2) for split in ("train", "validation", "test")}
    models = {"model": str(places["model"]), "reward": str(places["preference"])}
    env = gym.make("Summarize-v0", **models, prompts=splits["train"], max_prompt_tokens=40, max_new_tokens=6)
    for command in (train, compare):
        monkeypatch.setattr(command, "load_splits", lambda config: splits)
        monkeypatch.setattr(command, "make_env", lambda config, *prompts: env)


def changed_hyperparameters() -> Iterator[tuple[str, str, Any]]:
    """Agent, hyperparameter and another value than its default, as in the agents' own test; shared ones once."""
    for agent, name in [*agents_test.CASES, *(("ppo", name) for name in agents_test.EXACT)]:
        default = getattr(AGENTS[agent].hyperparameter_type(), name)
        value = {**agents_test.EXACT, **agents_test.CHANGES.get(name, {})}[name]
        value = not default if value is None else value
        assert value != default, (agent, name)
        yield agent, name, value


def test_every_hyperparameter_reaches_the_agent_that_is_trained(cheap_world, monkeypatch) -> None:
    from prefgym import dry_run

    agents: list[Any] = []
    monkeypatch.setattr(dry_run, "Trial", lambda agent: agents.append(agent) or probes.stop())
    for agent, name, value in changed_hyperparameters():
        assert cli.main(["train", "--dry-run", "--agent.name", agent, f"--agent.{name}", str(value)]) == 2
        made = agents.pop()
        assert (made.name, getattr(made.hyperparameters, name)) == (agent, value)


def test_every_hyperparameter_reaches_the_runs_that_are_compared(cheap_world, monkeypatch, tmp_path) -> None:
    from prefgym.commands import compare

    trained: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "train", trained.append)
    monkeypatch.setattr(compare, "_load", probes.stop)
    for agent in AGENTS:
        (tmp_path / f"my_{agent}.yaml").write_text(f"agent:\n  name: {agent}\n")
    for agent, name, value in changed_hyperparameters():
        words = ["--config", f"my_{agent}.yaml", "--seeds", "1", f"--agent.{name}", str(value)]
        assert cli.main(["compare", *words]) == 2
        assert trained.pop()[f"agent.{name}"] == value
