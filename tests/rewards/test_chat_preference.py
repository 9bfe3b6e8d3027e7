"""Preference models with a chat template read conversations as transformers and TRL do, never the policy's own text."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import prefgym  # noqa: F401
from prefgym.data.chat_template import ChatTemplate
from prefgym.data.comparisons import Comparison, load_comparisons
from prefgym.data.templates import SUMMARIZE, render_conversation
from prefgym.errors import InputError
from prefgym.rewards.accuracy import leads
from prefgym.rewards.ai_feedback import load_annotator
from prefgym.rewards.encoded import Cuts
from prefgym.rewards.ensemble import PreferenceEnsemble
from prefgym.rewards.preference_model import PreferenceModel
from prefgym.rewards.training import encode_comparisons

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who ran?"},
    {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "Where?"},
]
HOME = {"role": "assistant", "content": "Home."}


def user(text):
    return {"role": "user", "content": text}


def by_transformers(pm, messages):
    """The score of a conversation alone, by transformers itself."""
    ids = pm.tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return float(pm.model(ids).logits[0, 0])


@pytest.fixture
def make(chat_model):
    def make(kind):
        torch.manual_seed(1)
        pm = PreferenceModel.from_language_model(chat_model(kind), seed=1)
        pm.model.score.weight.data.normal_()
        return pm

    return make


@pytest.mark.parametrize("kind", ["plain", "bos"])
def test_scores_are_those_of_transformers(make, kind):
    pm = make(kind)
    assert pm.chat
    found = pm.score(["Who ran?", TALK, "Who ran?"], ["The cat.", "Home.", " A dog. "])
    asked = [user("Who ran?")]
    expected = [
        by_transformers(pm, [*asked, TALK[2]]),
        by_transformers(pm, [*TALK, HOME]),
        by_transformers(pm, [*asked, {"role": "assistant", "content": " A dog. "}]),
    ]
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 1e-3
    assert pm(["x"], ["Home."], conversation=[TALK]) == pytest.approx(expected[1:2], abs=1e-5)
    assert pm(["Who ran?"], ["The cat."], conversation=[None]) == pytest.approx(expected[:1], abs=1e-5)
    both = PreferenceEnsemble([pm, pm])
    assert both(["x"], ["Home."], conversation=[TALK]) == pytest.approx(expected[1:2], abs=1e-5)


def test_folders_say_whether_they_read_conversations(make, chat_model, tmp_path):
    pm = make("plain")
    expected = pm.score([TALK], ["Home."])
    pm.save(tmp_path / "new")
    assert PreferenceModel.load(tmp_path / "new").score([TALK], ["Home."]) == pytest.approx(expected, abs=1e-5)
    assert not PreferenceModel.load(tmp_path / "new", chat=False).chat
    assert PreferenceModel.start(tmp_path / "new").chat
    file = tmp_path / "new" / "preference.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in facts.items() if key != "chat"}))
    assert not PreferenceModel.load(tmp_path / "new").chat  # of an earlier version
    file.unlink()
    assert PreferenceModel.load(tmp_path / "new").chat  # made elsewhere
    assert not make("none").chat


def test_a_text_that_is_too_long_is_cut_in_the_users_words(make):
    pm = make("plain")
    whole = pm.encode(["one two three"], ["yes"])[0].input_ids
    shorter = pm.encode(["one two"], ["yes"])[0].input_ids
    pm.max_length = len(whole) - 1
    (row,) = pm.encode(["one two three"], ["yes"])
    assert row.input_ids == shorter
    assert 0 < row.prompt_length < len(shorter)
    assert pm.cuts == Cuts(prompts=1, responses=0)
    assert len(pm.encode(["one"], ["x" * 300])[0].input_ids) == pm.max_length
    assert pm.cuts.responses == 1


def test_a_policy_gives_the_content_and_not_its_control_tokens(make, chat_model):
    pm = make("bos")
    for prompts, messages in (([TALK], TALK), (["Who ran?"], [user("Say: Who ran?")])):
        env = gym.make(
            "Summarize-v0", model=chat_model("plain"), prompts=prompts, reward=pm, instruction="Say: {prompt}"
        )
        env.reset(seed=0)
        for token in env.unwrapped.language_model.encode("Home."):
            env.step(token)
        info = env.step(env.unwrapped.eos_token_id)[-1]
        assert info["score"] == pytest.approx(by_transformers(pm, [*messages, HOME]), abs=1e-5)


def test_training_reads_the_same(make, chat_model, tmp_path):
    rows = [{"prompt": TALK, "chosen": [HOME], "rejected": [TALK[2]]}]
    comparisons = [*load_comparisons(rows), Comparison("Who ran?", "The cat.", "A dog.")]
    pm = make("plain")
    first, second = encode_comparisons(pm, comparisons)
    for row, asked in ((first, TALK), (second, [user("Who ran?")])):
        said = [HOME["content"], TALK[2]["content"]] if asked is TALK else ["The cat.", "A dog."]
        for text, content in zip(row["texts"], said, strict=True):
            messages = [*asked, {"role": "assistant", "content": content}]
            ids = pm.tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
            assert text.input_ids == ids
    expected = by_transformers(pm, [*TALK, HOME]) - by_transformers(pm, [*TALK, TALK[2]])
    assert leads(pm, comparisons)[0] == pytest.approx(expected, abs=1e-5)


def test_an_annotator_reads_posts_alone(make, tmp_path):
    pm = make("plain")
    pm.save(tmp_path)
    judge = load_annotator(str(tmp_path))
    assert judge(["Who ran?"], ["The cat."], ["A dog."]) == pytest.approx(
        pm.probability(["Who ran?"], ["The cat."], ["A dog."]), abs=1e-6
    )


def scored(env, text):
    """The score of a response in the environment's first episode."""
    env.reset(seed=0)
    for token in env.unwrapped.language_model.encode(text):
        env.step(token)
    return env.step(env.unwrapped.eos_token_id)[-1]["score"]


def test_a_model_of_bare_texts_reads_a_chat_policys_prompt_by_its_own_template(chat_model):
    asked = {"model": chat_model("plain"), "prompts": ["Who ran?"], "max_new_tokens": 40}
    embedded = PreferenceModel.load("embedded")
    assert embedded.template == SUMMARIZE
    expected = embedded.score(["Who ran?\n\nTL;DR:"], [" The cat."])
    assert scored(gym.make("Summarize-v0", **asked), "The cat.") == pytest.approx(expected[0], abs=1e-5)
    one = {**asked, "prompts": [[user("Who ran?")]]}
    assert scored(gym.make("Summarize-v0", **one), "The cat.") == pytest.approx(expected[0], abs=1e-5)
    talk = {**asked, "prompts": [TALK]}
    content = embedded.score([render_conversation(TALK)], ["Home."])
    assert scored(gym.make("Summarize-v0", **talk), "Home.") == pytest.approx(content[0], abs=1e-5)
    other = {**asked, "template": "Q: {prompt}\nA:"}
    assert scored(gym.make("Summarize-v0", **other), " The cat.") == pytest.approx(expected[0], abs=1e-5)


def test_a_prompt_that_was_cut_is_read_as_it_was_cut(chat_model):
    words = "one two three four five six"
    env = gym.make("Summarize-v0", model=chat_model("plain"), prompts=[words], max_prompt_tokens=72, max_new_tokens=40)
    score = scored(env, "yes")
    kept = env.unwrapped.mdp.source.at(0).body
    assert words.startswith(kept)
    assert kept not in ("", words)
    assert score == pytest.approx(PreferenceModel.load("embedded").score([f"{kept}\n\nTL;DR:"], [" yes"])[0], abs=1e-5)


def test_a_chat_model_keeps_its_own_instruction(make, chat_model, tmp_path):
    pm = make("plain")
    pm.prompted_with(ChatTemplate(pm.tokenizer, instruction="Judge: {prompt}", system_prompt="Be fair."))
    pm.save(tmp_path)
    again = PreferenceModel.load(tmp_path)
    assert again.template == pm.template
    system = {"role": "system", "content": "Be fair."}
    expected = by_transformers(pm, [system, user("Judge: Who ran?"), {"role": "assistant", "content": "The cat."}])
    assert again.score(["Who ran?"], ["The cat."])[0] == pytest.approx(expected, abs=1e-5)
    for options in ({"instruction": "Say: {prompt}"}, {"template": "{prompt} So:"}):
        asked = {"model": chat_model("plain"), "prompts": ["Who ran?"], "max_new_tokens": 40, **options}
        assert scored(gym.make("Summarize-v0", reward=again, **asked), "The cat.") == pytest.approx(expected, abs=1e-5)
    assert not PreferenceModel.load(tmp_path, chat=False).chat


def test_functions_get_the_prompt_itself(chat_model):
    seen = []

    def reward(prompts, completions, prompt_body):
        seen.extend(prompt_body)
        return [0.0 for _ in completions]

    asked = {"model": chat_model("plain"), "reward": reward, "max_new_tokens": 4}
    env = gym.make("Summarize-v0", prompts=["a post", [user("a text")], TALK], **asked)
    for index in range(3):
        env.reset(options={"index": index})
        env.step(env.unwrapped.eos_token_id)
    assert seen == ["a post", "a text", None]
    texts = [env.reset(options=asked)[0]["tokens"].tolist() for asked in ({"prompt": TALK}, {"index": 2})]
    assert texts[0] == texts[1]
    with pytest.raises(InputError, match='Prompt 0 has a column "prompt_body"'):
        gym.make("Summarize-v0", prompts=[{"prompt": "x", "prompt_body": "y"}], **asked).reset()


def test_encoders_made_elsewhere_are_read_as_their_tokenizer_and_template_say(chat_tokenizer, tmp_path):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(BertConfig(vocab_size=262, num_labels=1, pad_token_id=2, **shape)).eval()
    model.bert.embeddings.token_type_embeddings.weight.data.normal_()
    for kind in ("none", "plain"):
        tokenizer = chat_tokenizer(kind)
        model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        pm = PreferenceModel.load(tmp_path / kind)
        assert pm.chat == (kind == "plain")
        talk = [user("Who?"), {"role": "assistant", "content": "It."}]
        text = tokenizer.apply_chat_template(talk, tokenize=False) if pm.chat else None
        given = tokenizer(text, add_special_tokens=False) if pm.chat else tokenizer("Who?", "It.")
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([given["input_ids"]])).logits.item()
        assert pm.logits(["Who?"], ["It."])[0] == pytest.approx(expected, abs=1e-5)
        pm.save(tmp_path / "again")
        assert PreferenceModel.load(tmp_path / "again").logits(["Who?"], ["It."])[0] == pytest.approx(
            expected, abs=1e-5
        )
    trained = PreferenceModel(model, chat_tokenizer("none"))
    assert trained.types
    assert abs(trained.logits(["Who?"], ["It."])[0] - expected) > 1e-4


def test_a_response_is_scored_as_it_is_and_without_the_space_of_our_own_templates(make, chat_model):
    pm = make("plain")
    said = by_transformers(pm, [user("Who?"), {"role": "assistant", "content": "Home."}])
    asked = {"model": chat_model("plain"), "prompts": ["Who?"], "reward": pm, "max_new_tokens": 40}
    pm.prompted_with(ChatTemplate(pm.tokenizer))
    assert scored(gym.make("Summarize-v0", template="{prompt} So:", **asked), " Home.") == pytest.approx(said, abs=1e-5)
    assert scored(gym.make("Summarize-v0", instruction="{prompt}", **asked), "Home.") == pytest.approx(said, abs=1e-5)
    spaced = by_transformers(pm, [user("Who?"), {"role": "assistant", "content": " Home.\n"}])
    assert scored(gym.make("Summarize-v0", instruction="{prompt}", **asked), " Home.\n") == pytest.approx(
        spaced, abs=1e-5
    )
    assert abs(spaced - said) > 1e-3
