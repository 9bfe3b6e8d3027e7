"""Chat templates as templates of prompts: what the tokenizer renders, cut inside the user's text."""

import warnings
from dataclasses import dataclass

import pytest

from prefgym.data.chat_template import ChatTemplate
from prefgym.data.prompting import INSTRUCTIONS, SUMMARIES, resolve_template, restored
from prefgym.data.templates import INSTRUCT, SUMMARIZE, Template
from prefgym.data.truncation import fit_prompt
from prefgym.errors import InputError


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("kind", ["plain", "bos", "strict"])
def test_a_prompt_is_what_the_tokenizer_renders(chat_tokenizer, kind):
    tokenizer = chat_tokenizer(kind)
    template = ChatTemplate(tokenizer)
    for messages in ([user("Hi {there}")], [user("Hi"), assistant("Hello"), user("More")]):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert template.render(messages) == text
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        assert ids == whole["input_ids"]
    assert template.render("Hi") == template.render([user("Hi")])
    assert template.render_response(" Hello ") == "Hello"
    assert (template.framed, SUMMARIZE.framed) == (True, False)


def test_instruction_and_system_prompt(chat_tokenizer):
    template = ChatTemplate(chat_tokenizer("plain"), "Be brief.", "Sum up:\n{prompt}")
    assert template.render("a post") == template.render([user("Sum up:\na post")])
    assert template.render("Sum up:\na post") == template.render("a post")
    assert template.messages("a post") == [SYSTEM, user("Sum up:\na post")]
    own = [{"role": "system", "content": "Be long."}, user("Hi")]
    assert template.messages(own) == own
    assert template.told("a post") == "Sum up:\na post"
    empty = ChatTemplate(chat_tokenizer("plain"), "")
    assert empty.messages("x")[0] == {"role": "system", "content": ""}
    begun = [user("Hi"), assistant("I say")]
    assert template.render(begun).endswith("<|im_start|>assistant\nI say")


def test_what_cannot_be_rendered_is_told_in_the_words_of_the_template(chat_tokenizer):
    strict = chat_tokenizer("strict")
    with pytest.raises(
        InputError, match=r'"tiny" cannot render .*system, user.*System role not supported.*leave system'
    ):
        ChatTemplate(strict, "Be brief.", name="tiny").render("Hi")
    with pytest.raises(InputError, match=r"user, user.*roles must alternate"):
        ChatTemplate(strict).render([user("a"), user("b")])
    with pytest.raises(InputError, match="empty conversation"):
        ChatTemplate(strict).render([])
    with pytest.raises(InputError, match="has no chat template"):
        ChatTemplate(chat_tokenizer("none"))
    with pytest.raises(InputError, match=r"instruction must contain \{prompt\} exactly once"):
        ChatTemplate(strict, instruction="Sum up")
    with pytest.raises(InputError, match="half a character"):
        ChatTemplate(strict, "\ud83d")


@pytest.mark.parametrize("kind", ["plain", "bos", "strict"])
def test_a_cut_falls_in_the_text_of_the_user(chat_tokenizer, kind):
    tokenizer = chat_tokenizer(kind)
    template = ChatTemplate(tokenizer, instruction="Sum up: {prompt}!")

    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    post = " ".join(f"word{i}" for i in range(30))
    whole, room = encode(template.render(post)), len(encode(template.render("")))
    assert not fit_prompt(encode, template, post, len(whole)).cut
    fitted = fit_prompt(encode, template, post, room + 20)
    assert (fitted.cut, len(fitted.ids) <= room + 20) == (True, True)
    assert fitted.prompt == "word0 word1 word2"
    assert fitted.text == template.render(fitted.prompt)
    with pytest.raises(InputError, match="alone does not fit"):
        fit_prompt(encode, template, post, room - 1)


def test_the_longest_message_of_the_user_is_cut_then_old_exchanges_go(chat_tokenizer):
    template = ChatTemplate(chat_tokenizer("plain"))
    talk = [SYSTEM, user("one two three"), assistant("yes"), user("more")]
    fitted = fit_prompt(list, template, talk, len(template.render(talk)) - 4)
    assert fitted.prompt == [SYSTEM, user("one two"), assistant("yes"), user("more")]
    assert fitted.text == template.render(fitted.prompt)
    fitted = fit_prompt(list, template, talk, len(template.render([SYSTEM, user("more")])))
    assert (fitted.cut, fitted.prompt) == (True, [SYSTEM, user("more")])


def test_which_template_a_model_is_prompted_with(chat_tokenizer):
    chat, bare = chat_tokenizer("plain"), chat_tokenizer("none")
    assert resolve_template(None, bare) == resolve_template(SUMMARIES, bare) == SUMMARIZE
    assert resolve_template(INSTRUCTIONS, bare) == INSTRUCT
    assert resolve_template(None, chat) == ChatTemplate(chat, instruction=SUMMARIES.instruction)
    assert resolve_template(INSTRUCTIONS, chat) == ChatTemplate(chat)
    assert resolve_template("chat", chat, instruction="{prompt}", system_prompt="x") == ChatTemplate(chat, "x")
    assert resolve_template("A: {prompt}", chat) == Template("A: {prompt}")
    with pytest.raises(InputError, match="has no chat template"):
        resolve_template("chat", bare)
    with pytest.raises(InputError, match="system_prompt is for chat templates"):
        resolve_template(None, bare, system_prompt="x")


def test_the_template_that_a_model_was_trained_with_goes_first(chat_tokenizer):
    chat, bare = chat_tokenizer("plain"), chat_tokenizer("none")
    mine = ChatTemplate(chat, "Be brief.", "Do: {prompt}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for template, tokenizer in ((INSTRUCT, bare), (INSTRUCT, chat), (mine, chat)):
            stored = template.stored()
            assert restored(stored, tokenizer) == resolve_template(SUMMARIES, tokenizer, stored=stored) == template
            assert resolve_template(template, tokenizer, stored=stored) == template
        assert resolve_template("chat", chat, stored=mine.stored()) == mine
    with pytest.warns(UserWarning, match=r'"m" was trained with the template .*Response:.* is prompted with .*TL;DR'):
        assert resolve_template(SUMMARIZE.text, bare, stored=INSTRUCT.stored(), name="m") == SUMMARIZE
    with pytest.warns(UserWarning, match="its chat template, instruction"):
        assert resolve_template(None, chat, stored=mine.stored(), system_prompt="x").system_prompt == "x"


@dataclass(frozen=True)
class Numbered(Template):
    """A template that is no fixed text."""

    def render(self, prompt):
        return f"{len(prompt)}: {prompt}"


def test_what_is_no_template_is_refused_and_what_no_folder_can_keep_too(chat_tokenizer):
    for given in (object(), 3, ["{prompt}"], lambda prompt: prompt):
        for kind in ("none", "plain"):
            with pytest.raises(InputError, match="template must be a text"):
                resolve_template(given, chat_tokenizer(kind))
    own = Numbered()
    assert resolve_template(own, chat_tokenizer("plain")) is own
    with pytest.raises(InputError, match="cannot keep the template Numbered"):
        own.stored()


R1 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<User>{{ m['content'] }}{% else %}"
    "<Assistant>{{ m['content'].split('</think>')[-1] | trim }}<end_of_turn>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<Assistant><think>\n{% endif %}"
)
UNTHOUGHT = R1.replace("<think>\n", "<think>\n\n</think>\n\n")


@pytest.mark.parametrize("said", ["The cat ran.", "of", "end", "turn", "a", "<"])
def test_a_turn_is_what_follows_what_the_template_begins_it_with(chat_tokenizer, said):
    tokenizer = chat_tokenizer("plain")
    answer = assistant(f"<think>\nHm.\n</think>\n{said}")
    tokenizer.chat_template = R1
    template = ChatTemplate(tokenizer, name="r1")
    for prompt in ("Who?", [user("Hi"), assistant(said), user("Who?")]):
        assert template.render(prompt).endswith("<Assistant><think>\n")
        assert template.turn(prompt, answer) == f"Hm.\n</think>\n{said}<end_of_turn>"
    with pytest.raises(InputError, match=r"\"r1\" begins an answer with '<think>', and the answer .* does not"):
        template.turn("Who?", assistant(said))
    tokenizer.chat_template = UNTHOUGHT
    assert ChatTemplate(tokenizer).turn("Who?", assistant(said)) == f"{said}<end_of_turn>"


def test_templates_that_read_parts_get_parts_and_those_that_read_nothing_are_refused(chat_tokenizer):
    tokenizer = chat_tokenizer("plain")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}"
        "{% endif %}{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    template = ChatTemplate(tokenizer, instruction="Do: {prompt}")
    assert template.render("it") == "user:Do: it<|im_end|>assistant:"
    assert template.turn("it", assistant("yes")) == "yes<|im_end|>"
    tokenizer.chat_template = "{% if messages %}  {% endif %}"
    with pytest.raises(InputError, match='"m" leaves out what the user says'):
        ChatTemplate(tokenizer, name="m").render("it")
