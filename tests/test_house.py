"""The floor plan: a room imports only from the rooms below it, and the package list is what stands on disk."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BELOW = {
    "data": set(),
    "models": set(),
    "rewards": {"data", "models"},
    "envs": {"data", "models", "rewards"},
    "agents": {"data", "models", "rewards", "envs"},
    "evaluation": {"data", "models", "rewards", "envs", "agents"},
    "assets": {"data", "models", "rewards", "envs", "agents", "evaluation"},
    "lecture": {"data", "models", "rewards", "envs", "agents", "evaluation", "assets"},
}
GROUND = {"errors", "files", "numbers", "paths", "storage", "typed_json"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported_rooms(path: Path, room: str) -> set[str]:
    """The rooms of this package that a module imports, and ``absolute:NAME`` where it does so by an absolute import."""
    depth = len(path.relative_to(ROOT).parts)  # room/module.py -> 2
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "prefgym":
            found.add(f"absolute:{node.module}")
        elif isinstance(node, ast.Import):
            found |= {f"absolute:{name.name}" for name in node.names if name.name.split(".")[0] == "prefgym"}
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            targets = [node.module] if node.module else [name.name for name in node.names]
            found |= {target.split(".")[0] for target in targets}
    return found - {room}


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_from_below(room):
    assert modules(room)
    for path in modules(room):
        wrong = imported_rooms(path, room) - BELOW[room] - GROUND
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_check_itself_finds_a_wrong_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    bad = tmp_path / "data" / "bad.py"
    bad.write_text("from ..agents.ppo import PPO\nimport prefgym.envs\nfrom ..errors import InputError\n")
    assert imported_rooms(bad, "data") == {"agents", "absolute:prefgym.envs", "errors"}


def test_package_list_is_what_stands_on_disk():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = project["tool"]["setuptools"]
    homes = {name: ROOT / folder for name, folder in setuptools["package-dir"].items()}
    expected = set()
    for name, folder in homes.items():
        for init in folder.rglob("__init__.py"):
            parts = init.parent.relative_to(folder).parts
            expected.add(".".join((name, *parts)))
    assert set(setuptools["packages"]) == expected


def test_rooms_and_front_door_are_all_that_stands_at_the_root():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(BELOW) | {"configs"}


def test_importing_prefgym_loads_no_torch():
    code = "import sys, prefgym; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_module_is_of_a_readable_size():
    """Content (the world's texts) may be long; code may not."""
    for room in [*BELOW, "src/prefgym"]:
        for path in modules(room):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            content = "world" in path.parts
            assert lines <= (800 if content else 400), f"{path.relative_to(ROOT)} has {lines} lines"
