import doctest

import pytest

from prefgym.data import templates
from prefgym.data.templates import INSTRUCT, Template, is_conversation, render_conversation, render_instruction
from prefgym.errors import InputError


def test_docstring_examples():
    assert doctest.testmod(templates).failed == 0


@pytest.mark.parametrize("post", ["A post.", "A post.\n\nTL;DR:", "A post. TL;DR: ", "A post.\nTL;DR:\n"])
def test_suffix_stands_once_whatever_the_post_carries(post):
    assert Template().render(post) == "A post.\n\nTL;DR:"


def test_text_before_and_after():
    template = Template("Post: {prompt}\nSummary:")
    assert template.render("hello {x}") == "Post: hello {x}\nSummary:"
    assert template.render(template.render("hello")) == template.render("hello")


def test_response_begins_with_one_space():
    assert Template().render_response("\n  my cat left ") == " my cat left"


@pytest.mark.parametrize("text", ["TL;DR:", "{prompt} and {prompt}"])
def test_template_holds_the_prompt_once(text):
    with pytest.raises(InputError, match="exactly once"):
        Template(text)


def test_instruction_without_input_has_no_input_part():
    assert render_instruction(" Write a poem. ", " ") == "### Instruction:\nWrite a poem.\n\n### Response:"
    assert INSTRUCT.render(render_instruction("Write.")) == render_instruction("Write.")


def test_conversations():
    ask = {"role": "user", "content": "Hi"}
    answer = {"role": "assistant", "content": "Hello"}
    assert is_conversation([ask])
    assert not any(is_conversation(value) for value in ("Hi", [], ["Hi"], [{"role": "user"}], None, {"role": "user"}))
    assert render_conversation([ask, answer]) == "User: Hi\n\nAssistant: Hello"
    assert render_conversation([ask, answer, ask]).endswith("User: Hi\n\nAssistant:")
