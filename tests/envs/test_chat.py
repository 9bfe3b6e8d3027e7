"""Environments of models with a chat template: prompts are what the tokenizer renders, rewards read the content."""

import gymnasium as gym
import pytest

import prefgym  # noqa: F401
from prefgym.agents import REINFORCE
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel

SUM_UP = "Summarize this post in one sentence.\n\n"
TALK = [
    {"role": "user", "content": "one two three four"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "more"},
]


def make(model, id="Summarize-v0", **options):
    seen = []

    def reward(prompts, completions, **columns):
        seen.extend(zip(prompts, completions, strict=True))
        return [float(len(text)) for text in completions]

    rest = {"prompts": ["a post"], "reward": reward, "max_prompt_tokens": 160, "max_new_tokens": 4}
    env = gym.make(id, model=model, **{**rest, **options})
    env.unwrapped.seen = seen
    return env


def read(env, **options):
    """The tokens that the model reads."""
    observation, _ = env.reset(seed=0, options=options)
    return observation["tokens"][observation["attention_mask"] == 1].tolist()


def rendered(model, messages):
    return model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]


def user(text):
    return {"role": "user", "content": text}


@pytest.mark.parametrize("kind", ["plain", "bos", "strict"])
def test_prompts_are_tokens_of_the_tokenizers_own_template(chat_model, kind):
    model = chat_model(kind)
    assert read(make(model)) == rendered(model, [user(SUM_UP + "a post")])
    assert read(make(model, template="chat", instruction="Do: {prompt}")) == rendered(model, [user("Do: a post")])
    assert read(make(model, "Instruct-v0")) == rendered(model, [user("a post")])
    assert read(make(model, prompts=[TALK])) == rendered(model, TALK)
    if kind != "strict":
        system = {"role": "system", "content": "Be brief."}
        assert read(make(model, system_prompt="Be brief.")) == rendered(model, [system, user(SUM_UP + "a post")])
    plain = read(make(model, template="{prompt} So:"))
    assert plain == model.encode_prompt("a post So:")


def test_a_template_that_cannot_render_is_told(chat_model):
    with pytest.raises(InputError, match=r"System role not supported.*leave system_prompt out"):
        make(chat_model("strict"), system_prompt="Be brief.")
    with pytest.raises(InputError, match='"chat none" has no chat template'):
        make(chat_model("none"), template="chat")
    with pytest.raises(InputError, match="system_prompt is for chat templates"):
        make(chat_model("none"), system_prompt="x")
    env = make(chat_model("strict"), prompts=[[{"role": "assistant", "content": "Hi"}, user("Hi")]])
    with pytest.raises(InputError, match=r"Prompt 0: The chat template of .*roles must alternate"):
        env.reset(seed=0)


def test_rewards_read_the_content_alone(chat_model):
    model = chat_model("plain")
    end = model.eos_token_id
    for prompts, told in ((["a post"], SUM_UP + "a post"), ([TALK], TALK)):
        env = make(model, prompts=prompts)
        env.reset(seed=0)
        env.step(model.encode("x")[0])
        _, _, ended, _, info = env.step(end)
        assert (ended, info["finish_reason"]) == (True, "eos")
        said = "x" if told != TALK else [{"role": "assistant", "content": "x"}]
        assert env.unwrapped.seen == [(told, said)]


def test_a_cut_leaves_the_template_whole(chat_model):
    model = chat_model("bos")
    talk = [user("one two three four"), *TALK[1:]]
    shorter = [user("one two three"), *TALK[1:]]
    width = len(rendered(model, shorter))
    env = make(model, prompts=[talk], max_prompt_tokens=width)
    assert read(env) == rendered(model, shorter)
    assert env.unwrapped.truncated_prompts == 1
    assert env.unwrapped.encode_prompts([0]).rows[0]["conversation"] == shorter


def test_the_folder_of_a_run_keeps_its_template(chat_model, tmp_path):
    options = {"instruction": "Do: {prompt}", "system_prompt": "Be brief."}
    agent = REINFORCE("default", make(chat_model("plain"), **options), seed=0)
    agent.save(tmp_path / "run")
    kept = LanguageModel.load(tmp_path / "run")
    assert kept.prompting == {"template": "chat", **options}
    assert read(make(kept)) == read(make(chat_model("plain"), **options))
    with pytest.warns(UserWarning, match="was trained with its chat template"):
        other = make(tmp_path / "run", template="{prompt} So:")
    REINFORCE("default", other, seed=0).save(tmp_path / "other")
    with pytest.warns(UserWarning, match=r"with its chat template.* prompted with the template '{prompt} S"):
        REINFORCE(tmp_path / "run", make(chat_model("plain"), template="{prompt} So:"), seed=0)
    assert LanguageModel.load(tmp_path / "other").prompting == {"template": "{prompt} So:"}
    kept.prompting = None
    kept.save(tmp_path / "plain")
    assert LanguageModel.load(tmp_path / "plain").prompting is None


def test_a_damaged_file_is_named(chat_model, tmp_path):
    model = chat_model("plain")
    model.prompting = {"template": "chat"}
    model.save(tmp_path)
    (tmp_path / "prompt_template.json").write_text('{"template": 3}')
    with pytest.raises(InputError, match=r"prompt_template\.json.*remove it and give the template by hand"):
        LanguageModel.load(tmp_path)
