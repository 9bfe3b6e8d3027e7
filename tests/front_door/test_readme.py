"""What README.md shows in Python runs as it is printed, but for the sizes; its Korean form shows the same."""

import re
from pathlib import Path

import pytest

from prefgym.errors import InputError
from prefgym.models.language_model import embedded_path

FOLDER = Path(__file__).parents[2]


def text_of(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def blocks(name):
    return [block.split("```")[0] for block in text_of(name).split("```python")[1:]]


BLOCKS = blocks("README.md")
SMALLER = {
    "samples_per_prompt=4": "samples_per_prompt=4, episodes_per_iteration=8, batch_size=8, n_epochs=1",
    "total_episodes=2048": "total_episodes=8",
    'make_vec_env("Summarize-v0", 8)': 'make_vec_env("Summarize-v0", 2)',
    "n_steps=192": "n_steps=8, n_epochs=1",
    "learn(50_000": "learn(16",
}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
@pytest.mark.filterwarnings("ignore:.*rich is experimental")
def test_a_block_of_the_readme_runs(number, tmp_path, monkeypatch):
    try:
        embedded_path("start"), embedded_path("preference")
    except InputError as missing:
        pytest.skip(str(missing))
    monkeypatch.chdir(tmp_path)
    code = BLOCKS[number]
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    exec(compile(code, f"README block {number}", "exec"), {"__name__": "readme"})


def test_every_size_is_still_in_the_readme():
    for large in SMALLER:
        assert sum(block.count(large) for block in BLOCKS) == 1, large


def test_the_korean_readme_shows_the_same_code_and_commands():
    assert blocks("README.ko.md") == BLOCKS
    english, korean = (set(re.findall(r"`[^`\n]*--[^`\n]*`", text_of(name))) for name in ("README.md", "README.ko.md"))
    assert korean == english


def test_every_link_of_both_readmes_leads_somewhere():
    for name in ("README.md", "README.ko.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", text_of(name))
        assert links
        assert [link for link in links if not (FOLDER / link).exists()] == []
