"""Options that are lists of texts, as words of a shell and as YAML."""

import pytest

from prefgym.errors import InputError
from prefgym.experiment import read_texts


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (None, None),
        (["none"], None),
        (["User:"], ["User:"]),
        (["\\n\\n", "User:"], ["\n\n", "User:"]),
        (["\n"], ["\n"]),
        (['["User:", "\\n"]'], ["User:", "\n"]),
        (["[INST]"], ["[INST]"]),
    ],
)
def test_texts_are_read(given, texts):
    assert read_texts(given, "env.stop_strings") == texts


@pytest.mark.parametrize("given", [[], [""], "User:", ["a", 1], ['["a", ""]'], {"a": None}])
def test_anything_else_is_refused(given):
    with pytest.raises(InputError, match=r"env\.stop_strings must be texts that are not empty"):
        read_texts(given, "env.stop_strings")
