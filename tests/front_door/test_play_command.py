"""``prefgym play``, fed with lines as from a pipe."""

import io
import re
import shutil

import gymnasium as gym
import pytest
import torch
import yaml
from transformers import T5Config, T5ForConditionalGeneration

from prefgym.data.prompts import embedded_prompts
from prefgym.game import Game, write_out
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.gold import gold_score


@pytest.fixture
def game_flags(model_folder, preference_folder) -> list[str]:
    return [
        *("--env.model", str(model_folder), "--env.reward", str(preference_folder)),
        *("--env.max_prompt_tokens", "40", "--env.max_new_tokens", "6", "--env.kl_coef", "0.5"),
    ]


@pytest.fixture
def typed(monkeypatch):
    """``typed("1", "")``: the lines that standard input will give, then its end."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def env(model_folder, preference_folder):
    """The environment of ``game_flags``."""
    return gym.make(
        "Summarize-v0",
        model=str(model_folder),
        reward=str(preference_folder),
        prompts=embedded_prompts("test"),
        kl_coef=0.5,
        max_prompt_tokens=40,
        max_new_tokens=6,
    )


def choices(out: str) -> list[list[str]]:
    """The tokens offered at each turn, as they are shown."""
    turns = re.split(r"\n  \d+ left\n", out)[1:]
    return [re.findall(r"^ +\d+  (.+?) +\d+\.\d %$", turn, re.MULTILINE) for turn in turns]


def table(out: str) -> dict[str, list[float]]:
    """The last table: who -> numbers."""
    rows = re.findall(r"^(you|start policy, greedy|trained policy, greedy|reference) {2,}(.+)$", out, re.MULTILINE)
    return {name: [float(cell) for cell in cells.split()] for name, cells in rows}


def test_enter_takes_the_likeliest_token_as_the_start_policy_does(run, game_flags, typed):
    typed(*[""] * 6)
    result = run("play", *game_flags, "--index", 3)
    assert result.code == 0, result.err
    rows = table(result.out)
    assert rows["you"] == rows["start policy, greedy"]
    assert len(choices(result.out)) == 6
    assert "ended by length after 6 tokens" in " ".join(result.out.split())


def test_the_numbers_are_the_environments_own(run, game_flags, typed, env):
    typed("2", " a dog", '"!"', "e")
    out = run("play", *game_flags, "--index", 3, "--choices", 3).out
    offered = choices(out)
    assert all(len(turn) == 3 for turn in offered)
    core = env.unwrapped
    tokenizer = core.language_model.tokenizer
    second = next(i for i in range(core.vocab_size) if repr(tokenizer.decode([i])) == offered[0][1])
    middle = [*core.language_model.encode(" a dog"), *core.language_model.encode("!")]
    mine = write_out(env, 3, [second, *middle, core.eos_token_id])
    score, preference, penalty, gold, kl, reward = table(out)["you"]
    assert (score, kl) == pytest.approx((mine.info["score"], mine.info["kl"]), abs=0.006)
    assert preference == pytest.approx(mine.info["score_parts"]["preference"], abs=0.006)
    assert (penalty, reward) == pytest.approx((0.0, mine.reward), abs=0.006)
    assert mine.reward == pytest.approx(mine.info["score"] - 0.5 * mine.info["kl"])
    row = embedded_prompts("test")[3]
    assert gold == pytest.approx(gold_score(row["facts"], row["distractors"], mine.info["response"]).total, abs=0.006)
    last_paid = re.findall(r"KL so far (\d+\.\d\d) nats", out)[-1]
    assert float(last_paid) == kl


def test_the_reference_is_paid_like_a_player(run, game_flags, typed, env):
    typed("e")
    out = run("play", *game_flags, "--index", 3).out
    core = env.unwrapped
    text = core.template.render_response(embedded_prompts("test")[3]["reference"])
    theirs = write_out(env, 3, core.language_model.encode(text))
    assert table(out)["reference"][-1] == pytest.approx(theirs.reward, abs=0.006)
    assert table(out)["you"][0] == pytest.approx(write_out(env, 3, [core.eos_token_id]).info["score"], abs=0.006)


def test_a_run_plays_too_in_the_environment_it_was_trained_in(run, finished_run, typed):
    typed(*[""] * 6)
    result = run("play", finished_run, "--index", 1, "--env.kl_coef", 0.25)
    assert result.code == 0, result.err
    rows = table(result.out)
    assert set(rows) == {"you", "start policy, greedy", "trained policy, greedy", "reference"}
    assert rows["trained policy, greedy"] != rows["start policy, greedy"]
    assert "β = 0.25" in result.out
    assert "at most 6 tokens" in " ".join(result.out.split())


def test_undo_brings_the_same_state_back(env):
    game = Game(env, 3, 5)
    before = dict(game.choices())
    likeliest = next(iter(before))
    game.take([likeliest])
    after, kl = dict(game.choices()), game.kl
    assert after != pytest.approx(before)
    game.take(game.core.language_model.encode(" my boss")[:3])
    game.undo()
    assert dict(game.choices()) == pytest.approx(after)
    assert (game.tokens, game.kl) == ([likeliest], pytest.approx(kl))
    game.undo()
    assert dict(game.choices()) == pytest.approx(before)
    assert (game.tokens, game.kl, game.reward) == ([], 0.0, 0.0)


def test_a_pick_stops_at_the_end_and_what_was_expected_is_the_entropy(env):
    game = Game(env, 0, 4)
    core = env.unwrapped
    ids = torch.tensor([core.encode_prompts([0]).prompts[0].ids])
    log_probs = torch.log_softmax(core.language_model.model(ids).logits[0, -1, : core.vocab_size], -1)
    steps = game.take(core.language_model.encode(" a very very very very long text"))
    assert len(steps) == len(game.tokens) == 6
    assert game.ended
    assert steps[0].ref_log_prob == pytest.approx(float(log_probs[steps[0].token].detach()), abs=1e-4)
    assert steps[0].expected == pytest.approx(float((log_probs.exp() * log_probs).sum().detach()), abs=1e-4)


def test_undo_and_help_in_the_dialogue(run, game_flags, typed):
    typed("u", "1", "u", "?", "q")
    result = run("play", *game_flags)
    assert result.code == 0
    assert "nothing to undo" in result.out
    assert "undone; KL so far 0.00 nats" in result.out
    assert result.out.count("Enter takes the likeliest") == 2
    first, *_, last = choices(result.out)
    assert first == last


def test_the_end_of_the_input_ends_the_game(run, game_flags, typed):
    for lines in ((), ("1",), ("1", "q")):
        typed(*lines)
        result = run("play", *game_flags)
        assert (result.code, result.err) == (0, "")
        count = "1 token:" if lines else "0 tokens:"
        assert f"You left after {count}" in result.out
        assert "reward" not in result.out.split("You left")[1]


def test_ctrl_c_ends_the_game_in_one_line(run, game_flags, typed, monkeypatch):
    typed("1")
    read = iter(["1"])

    def interrupted(prompt):
        try:
            return next(read)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("builtins.input", interrupted)
    result = run("play", *game_flags)
    assert result.code == 130
    assert result.err == "prefgym play: you left after 1 token; there is no score.\n"


def test_the_seed_draws_the_post(run, game_flags, typed):
    def post_of(*words):
        typed()
        return re.search(r"^prompt (\d+)$", run("play", *game_flags, *words).out, re.MULTILINE).group(1)

    assert post_of("--seed", 5) == post_of("--seed", 5)
    assert len({post_of("--seed", seed) for seed in range(3)}) > 1
    assert post_of("--index", 7) == "7"


def test_a_preset_and_a_file_of_ones_own(run, model_folder, preference_folder, typed, write_rows, tmp_path):
    file = write_rows("posts.jsonl", [{"post": "My dog ate my shoe."}, {"post": "My cat ran away."}])
    model = ("--env.model", model_folder, "--env.reward", preference_folder, "--env.max_prompt_tokens", 40)
    (tmp_path / "mine.yaml").write_text("env:\n  kl_coef: 0.125\n  max_new_tokens: 4\nagent:\n  name: ppo\n")
    typed("e")
    words = ("--config", tmp_path / "mine.yaml", "--data.prompts", file, "--data.prompt_column", "post", "--index", 1)
    result = run("play", *model, *words)
    assert result.code == 0, result.err
    assert "My cat ran away." in result.out
    assert "β = 0.125" in result.out
    assert "gold" not in result.out
    assert set(table(result.out)) == {"you", "start policy, greedy"}


# Bad input.


def names(line: str, *words: object) -> None:
    for word in words:
        assert str(word) in line, line


def test_lines_that_mean_nothing_are_told_and_asked_again(run, game_flags, typed):
    typed("9", "0", "9" * 5000, "", "q")
    result = run("play", *game_flags)
    assert result.code == 0
    assert result.out.count('Choices are 1 to 8; to write the number itself, put it in quotes: " 9"') == 1
    assert result.out.count('put it in quotes: " 0"') == 1
    assert "You left after 1 token" in result.out


def test_what_cannot_be_played_is_refused(refused, finished_run, game_flags, typed, tmp_path):
    typed("1")
    names(refused("play", finished_run.with_name("finishd")), "finishd", 'Did you mean "finished"?')
    names(refused("play", "a", "b"), "at most one run")
    names(refused("play", *game_flags, "--index", 9999), "9999", "500")
    names(refused("play", *game_flags, "--index", -1), "index", "at least 0")
    names(refused("play", *game_flags, "--choices", 0), "choices", "at least 1")
    names(refused("play", "--config", "tldr-pop"), 'Did you mean "tldr-ppo"?')
    names(refused("play", "--env.kl_cof", 1), 'Did you mean "--env.kl_coef"?')
    (tmp_path / "mine.yaml").write_text("env:\n  kl_cof: 1\n")
    names(refused("play", "--config", tmp_path / "mine.yaml"), "mine.yaml", 'Did you mean "env.kl_coef"?')


def test_a_run_of_another_vocabulary(refused, game_flags, typed):
    typed("1")
    names(refused("play", "embedded", *game_flags), "vocabulary")


def test_a_run_of_another_kind(run, refused, finished_run, typed, preference_folder, tmp_path):
    typed("e")
    other = shutil.copytree(finished_run, tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["env"]["id"] = "Enumerable-v0"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    names(refused("play", other), other / "config.yaml", "Enumerable-v0", "Summarize-v0, Instruct-v0")
    names(refused("play", preference_folder), preference_folder, "language model")
    (tmp_path / "empty").mkdir()
    names(refused("play", tmp_path / "empty"), "empty", "config.json")
    config["env"] |= {"id": "Instruct-v0", "reward": None, "max_prompt_tokens": 100}
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    result = run("play", other, "--index", 0)  # a summarizer among instructions
    assert result.code == 0, result.err
    assert "### Response:" in result.out


def test_an_encoder_decoder_is_played_too(run, tokenizer, preference_folder, typed, tmp_path):
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "vocab_size": len(tokenizer)}
    ends = dict.fromkeys(("pad_token_id", "eos_token_id", "decoder_start_token_id"), tokenizer.eos_token_id)
    LanguageModel(T5ForConditionalGeneration(T5Config(**shape, **ends)), tokenizer).save(tmp_path / "t5")
    typed(*[""] * 6)
    flags = ("--env.model", tmp_path / "t5", "--env.reward", preference_folder, "--env.max_prompt_tokens", 40)
    result = run("play", *flags, "--env.max_new_tokens", 6, "--index", 2)
    assert result.code == 0, result.err
    rows = table(result.out)
    assert rows["you"] == rows["start policy, greedy"]


def test_no_standard_input(refused, game_flags, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    names(refused("play", *game_flags), "standard input", "closed")


def test_bytes_that_are_no_text(run, game_flags, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    result = run("play", *game_flags)
    assert result.code == 2
    names(result.err, "UTF-8")


def test_a_run_whose_reward_is_gone(refused, finished_run, typed, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["env"]["reward"] = str(tmp_path / "gone.py:score")
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    typed("1")
    names(refused("play", other), "gone.py")


def test_help_teaches(run):
    result = run("play", "--help")
    assert result.code == 0
    for word in ("You are the policy", "--index", "--env.kl_coef", "u to undo", "prefgym play runs/mine"):
        assert word in result.out
