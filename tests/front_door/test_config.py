import inspect
from pathlib import Path

import pytest

from prefgym.agents import AGENTS
from prefgym.commands.reward import read_config as read_reward_config
from prefgym.commands.sft import read_config as read_sft_config
from prefgym.config import Config, Option, describe, find_preset, parse_flags, preset_names, read_yaml, resolve
from prefgym.data.prompting import SUMMARIES
from prefgym.envs import TokenMDP
from prefgym.envs.instruct import instruct_options
from prefgym.errors import InputError
from prefgym.experiment import hyperparameters, prompt_shape, world_of
from prefgym.options import ENV_OPTIONS, agent_options
from prefgym.training_config import read_config

OF_AN_AGENT = [name for name in preset_names() if name.startswith(("tldr-", "instruct-"))]
READ = {"train": read_config, "sft": read_sft_config, "reward": read_reward_config}
NEEDED = {"train": [], "sft": ["--data.pairs", "pairs.jsonl"], "reward": ["--data.comparisons", "votes.jsonl"]}
OPTIONS = [
    Option("seed", int, 0, "Seed.", minimum=0),
    Option("quick", bool, False, "Be quick."),
    Option("env.kl_coef", float, 0.05, "Price.", minimum=0),
    Option("env.temperature", float, 1.0, "Heat.", above=0),
    Option("env.share", float, 0.5, "Share.", below=1),
    Option("env.reward", object, None, "Reward."),
    Option("env.kind", str, "alpha", "Kind.", choices=("alpha", "beta")),
    Option("data.prompts", str, None, "Prompts."),
    Option("agent.clip", float, 0.2, "Clip.", optional=True),
]


def resolved(*flags: str) -> Config:
    return resolve(OPTIONS, [("command line", parse_flags(flags, OPTIONS))])


def test_later_sources_win_over_earlier_ones_and_defaults():
    config = resolve(OPTIONS, [("file", {"seed": 1, "env.kl_coef": 1}), ("command line", {"seed": 2})])
    assert (config["seed"], config["env.kl_coef"], config["env.temperature"]) == (2, 1.0, 1.0)
    assert isinstance(config["env.kl_coef"], float)


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (["--seed", "3"], "seed", 3),
        (["--seed=3"], "seed", 3),
        (["--env.kl_coef", "1e-3"], "env.kl_coef", 0.001),
        (["--quick"], "quick", True),
        (["--quick", "--seed", "1"], "quick", True),
        (["--quick", "false"], "quick", False),
        (["--data.prompts", "none"], "data.prompts", None),
        (["--agent.clip", "none"], "agent.clip", None),
        (["--env.reward", "my.py:f"], "env.reward", "my.py:f"),
        (["--env.reward", "{a: {function: f, weight: 2}}"], "env.reward", {"a": {"function": "f", "weight": 2}}),
        (["--env.kind", "beta"], "env.kind", "beta"),
    ],
)
def test_flags_become_typed_values(flags, key, value):
    assert resolved(*flags)[key] == value


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seed", "1.5"], ["seed", "1.5", "whole number"]),
        (["--seed", "-1"], ["seed", "-1", "at least 0"]),
        (["--env.kl_coef", "-0.1"], ["env.kl_coef", "-0.1", "at least 0"]),
        (["--env.kl_coef", "nan"], ["env.kl_coef", "number"]),
        (["--env.kl_coef", "lots"], ["env.kl_coef", "lots"]),
        (["--env.kl_coef", "none"], ["env.kl_coef"]),
        (["--env.temperature", "0"], ["env.temperature", "above 0"]),
        (["--env.share", "1"], ["env.share", "is 1", "below 1"]),
        (["--quick", "maybe"], ["quick", "maybe"]),
        (["--env.kind", "bet"], ["env.kind", "bet", "alpha, beta", 'Did you mean "beta"?']),
        (["--seed"], ["--seed", "needs a value"]),
        (["--data.prompts", "--seed", "1"], ["--data.prompts", "needs a value"]),
        (["stray"], ["stray"]),
        (["--sead", "1"], ["--sead", 'Did you mean "--seed"?']),
        (["--kl_coef", "1"], ["--kl_coef", 'Did you mean "--env.kl_coef"?']),
        (["--agent.kl_coef", "1"], ['Did you mean "--env.kl_coef"?']),
        (["--data.promps", "f"], ['Did you mean "--data.prompts"?']),
        (["--kl_coff", "1"], ['Did you mean "--env.kl_coef"?']),
        (["--zzz", "1"], ["--zzz", "--help"]),
    ],
)
def test_wrong_flags_are_refused_by_name(flags, words):
    with pytest.raises(InputError) as error:
        resolved(*flags)
    assert all(word in str(error.value) for word in words), error.value


def test_positional_words_are_taken_where_a_command_asks_for_them():
    words: list[str] = []
    assert parse_flags(["RUN", "--seed", "1"], OPTIONS, words) == {"seed": 1}
    assert words == ["RUN"]


def test_a_config_is_read_back_as_it_was_saved(tmp_path):
    config = resolved("--env.reward", "{a.b: {function: f, weight: 2}}", "--data.prompts", "ä.jsonl", "--quick")
    config.save(tmp_path / "config.yaml")
    again = resolve(OPTIONS, [("file", read_yaml(tmp_path / "config.yaml", OPTIONS))])
    assert again == config
    assert list(tmp_path.iterdir()) == [tmp_path / "config.yaml"]


def test_sections_may_be_empty(tmp_path):
    (tmp_path / "c.yaml").write_text("env:\nseed: 4\n")
    assert resolve(OPTIONS, [("file", read_yaml(tmp_path / "c.yaml", OPTIONS))])["seed"] == 4
    (tmp_path / "c.yaml").write_text("")
    assert read_yaml(tmp_path / "c.yaml", OPTIONS) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env:\n  kl_coef: [1\n", ["c.yaml", "line"]),
        ("- 1\n- 2\n", ["c.yaml", "sections"]),
        ("env:\n  kl_koef: 1\n", ["c.yaml", "env.kl_koef", 'Did you mean "env.kl_coef"?']),
        ("env:\n  kl_coef: {a: 1}\n", ["c.yaml", "env.kl_coef.a", 'Did you mean "env.kl_coef"?']),
        ("data:\n  prompts: [a]\n", ["c.yaml", "data.prompts", "text"]),
        ("seed:\n", ["c.yaml", "seed", "nothing"]),
    ],
)
def test_a_wrong_file_is_refused_by_name(text, words, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        resolve(OPTIONS, [(str(tmp_path / "c.yaml"), read_yaml(tmp_path / "c.yaml", OPTIONS))])
    assert all(word in str(error.value) for word in words), error.value


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"c\.yaml"):
        read_yaml(tmp_path / "c.yaml", OPTIONS)


def test_help_tells_every_option_and_its_default():
    text = describe(OPTIONS)
    for option in OPTIONS:
        assert f"--{option.key}" in text
        assert option.help in text
    assert "default 0.05" in text
    assert "One of alpha, beta." in text


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in READ for name in preset_names(command)])
def test_presets_resolve_and_their_head_says_how_to_launch(command, name):
    config = READ[command](["--config", name, *NEEDED[command]])
    assert config["output"] == (f"runs/{name}" if command == "train" else None)
    first = "\nenv:" if command == "train" else "\ncommand:"
    head = Path(find_preset(name, command)).read_text(encoding="utf-8").split(first)[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for word in ("What it does", "Hardware", "Launch", f"prefgym {command} --config {name}", "Your own", "Expect"):
        assert word in head


def test_a_preset_of_another_command_is_refused():
    assert preset_names("sft") == ["real-sft"]
    assert preset_names("reward") == ["real-reward"]
    with pytest.raises(InputError, match=r"--config real-sft is for prefgym sft, not for prefgym train\."):
        read_config(["--config", "real-sft"])
    with pytest.raises(InputError, match=r"--config tldr-ppo is for prefgym train, not for prefgym reward\."):
        read_reward_config(["--config", "tldr-ppo", *NEEDED["reward"]])
    with pytest.raises(
        InputError, match=r'There is no preset "real-sf"; presets are real-sft\. Did you mean "real-sft"'
    ):
        read_sft_config(["--config", "real-sf", *NEEDED["sft"]])


def test_the_command_line_wins_over_a_preset_of_fine_tuning():
    config = read_sft_config(["--config", "real-sft", "--data.pairs", "pairs.jsonl", "--training.epochs", "2"])
    assert (config["training.epochs"], config["training.lora_rank"]) == (2.0, 16)


def test_the_promised_presets_exist_and_train_the_agents_in_their_names():
    assert {"tldr-ppo", "tldr-reinforce", "hack"} <= set(preset_names())
    for preset in OF_AN_AGENT:
        world, _, agent = preset.partition("-")
        config = read_config(["--config", preset])
        assert config["agent.name"] == agent.replace("-", "_")
        assert config["env.id"] == {"tldr": "Summarize-v0", "instruct": "Instruct-v0"}[world]


def test_every_agent_has_a_preset_and_all_presets_have_one_budget():
    configs = [read_config(["--config", preset]) for preset in OF_AN_AGENT]
    assert {config["agent.name"] for config in configs} == set(AGENTS)
    assert {config["agent.total_episodes"] for config in configs} == {3072}


def test_hack_is_ppo_that_pays_for_no_kl_and_watches_gold():
    config = read_config(["--config", "hack"])
    assert config["agent.name"] == "ppo"
    assert config["env.kl_coef"] == 0
    paid, watched = config["env.reward"].values()
    assert (paid["weight"], watched) == (1, {"function": "gold", "weight": 0})


def test_environment_options_are_the_arguments_of_the_environment():
    arguments = inspect.signature(TokenMDP).parameters
    given = {option.key.removeprefix("env."): option.default for option in ENV_OPTIONS}
    assert given.pop("id") == "Summarize-v0"
    assert given.pop("max_prompt_tokens") is None  # the environment's own
    left_out = {"num_rows", "prompts", "split", "max_prompt_tokens", "mask_top_k", "mask_top_p"}  # no agent masks
    assert set(given) == set(arguments) - left_out
    assert given == {name: arguments[name].default for name in given}


@pytest.mark.parametrize(("id", "made_by"), [("Summarize-v0", TokenMDP), ("Instruct-v0", instruct_options)])
def test_the_command_line_knows_what_an_environment_comes_with(id, made_by):
    assert world_of(id).max_prompt_tokens == inspect.signature(made_by).parameters["max_prompt_tokens"].default
    assert world_of(id).template == {"Summarize-v0": SUMMARIES, "Instruct-v0": instruct_options()["template"]}[id]
    own = prompt_shape(Config({"env.id": id, "env.template": "Q: {prompt}\\nA:", "env.max_prompt_tokens": 7}))
    assert own == ("Q: {prompt}\nA:", 7)


@pytest.mark.parametrize("name", AGENTS)
def test_every_hyperparameter_is_an_option_with_its_default_and_a_sentence(name):
    options = agent_options(name)
    config = resolve(options, [])
    assert AGENTS[name].hyperparameter_type(**hyperparameters(config)) == AGENTS[name].hyperparameter_type()
    assert all(option.help for option in options)


def test_an_agents_own_option_is_unknown_to_another():
    assert read_config(["--agent.clip_range", "0.1"])["agent.clip_range"] == 0.1
    with pytest.raises(InputError, match=r"agent\.clip_range"):
        read_config(["--agent.name", "reinforce", "--agent.clip_range", "0.1"])
    assert read_config(["--config", "tldr-reinforce", "--agent.baseline", "none"])["agent.baseline"] == "none"
