"""The code of a function as bytes: its file and what that imports, or what was compiled."""

from typing import Any

import pytest

from prefgym.rewards.importing import code_of, import_function, with_imports


def typed(text: str) -> Any:
    """The function ``f`` of a text that is in no file."""
    space: dict[str, Any] = {}
    exec(text, space)
    return space["f"]


def test_a_function_is_its_file_and_what_that_imports(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "seam_helper.py").write_text(
        "import functools\ndef kept(f):\n    return functools.wraps(f)(lambda: 2)\n"
    )
    (tmp_path / "mine.py").write_text("from seam_helper import kept\n@kept\ndef f(): return 1\n")
    code = code_of(import_function("mine.py:f"))  # its own file, not that of what is wrapped around it
    assert code == (tmp_path / "mine.py").read_bytes() + (tmp_path / "seam_helper.py").read_bytes()


def test_a_module_of_a_package_counts_with_the_packages_it_is_in(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / "seam_outer" / "__init__.py", tmp_path / "seam_outer" / "inner" / "__init__.py"]
    files.append(files[1].with_name("part.py"))
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    (tmp_path / "mine.py").write_text("import seam_outer.inner.part\n")
    assert sorted(with_imports([tmp_path / "mine.py"])) == sorted([tmp_path / "mine.py", *files])


def test_packages_count_as_installed_wherever_they_lie(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a user's own, of the system or of another environment are on the path alone."""
    home = tmp_path / "local" / "site-packages"
    home.mkdir(parents=True)
    monkeypatch.syspath_prepend(home)
    (home / "seam_package.py").write_text("import json\n")
    (tmp_path / "mine.py").write_text("import seam_package\n")
    assert with_imports([tmp_path / "mine.py"]) == [tmp_path / "mine.py"]


def test_what_was_typed_in_is_what_it_computes_wherever_it_lies() -> None:
    texts = [
        "def f(): return 1",
        "def f(): return 2",
        "def f(): return len",
        "def f(): return max",
        "def f(x): return x in {'a', 'b', 'c'}",
        "def f():\n def g(): return 1\n return g",
        "def f():\n def g(): return 2\n return g",
    ]
    assert len({code_of(typed(text)) for text in texts}) == len(texts)
    for text in texts:
        assert code_of(typed(text)) == code_of(typed("'further'\n" + text))
    assert b" at 0x" not in code_of(typed(texts[-1]))
    assert code_of(len) == b""
