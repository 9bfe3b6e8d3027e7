"""Finding a Python function that a user names by a dotted path or a file."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..errors import InputError, MachineError, RewardError, nearest
from ..paths import read_bytes, user_path
from .beside import importable, remember, remember_object
from .calling import told, undisturbed, working_folder
from .installed import homes_of_packages, is_installed

MOST_FILES = 1000
"""How many files of a user's own are read for what they import: a few seconds' worth."""
_NOT_FOLLOWED = {*sys.stdlib_module_names, "prefgym"}


def import_function(path: str, kind: str = "function") -> Callable[..., Any]:
    """Import ``"module:function"``, ``"module.function"`` or ``"file.py:function"``, in the current directory too.

    A file can import what lies beside it, as a script can, also while its functions run (see ``beside.py``).

    Args:
        path: where it is.
        kind: what messages call it; a class is found the same way.

    Raises:
        InputError: no such file, module or function.
        RewardError: the module raised while being imported, or is not Python.
    """
    module_name, _, attribute = path.rpartition(":" if ":" in path else ".")
    if not module_name or not attribute or path.endswith(".py"):
        raise InputError(f'"{path}" names no {kind}; write it as "module:{kind}", "module.{kind}" or "file.py:{kind}".')
    try:
        with undisturbed():
            module = _module_from_file(module_name) if module_name.endswith(".py") else _module_by_name(module_name)
            function = getattr(module, attribute, None)
            remember_object(function, module)
    except (InputError, MachineError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: a module that ends the program cannot be imported
        raise RewardError(f'The module "{module_name}" of "{path}" could not be imported ({told(error)}).') from error
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f'"{module_name}" has no {kind} "{attribute}".{nearest(attribute, names)}')
    return function


def sources_of(path: str) -> list[Path]:
    """The files that would run on importing what a path names, found without running any of them.

    They are the file or module itself, the packages it is in, and what :func:`with_imports` adds.
    """
    module, _, _ = path.rpartition(":" if ":" in path else ".")
    if module.endswith(".py"):
        return with_imports([Path(module)] if Path(module).is_file() else [])
    return with_imports(_files_of(module, [*sys.path, *_here()]))


def with_imports(files: Iterable[Path]) -> list[Path]:
    """Python files and all that they import in turn, except installed packages and Python's own modules.

    ``import`` statements are read wherever they are; an import by a computed name is not seen.
    Of thousands of files, the ones reached by the fewest imports are read.
    """
    found, left, homes = dict[Path, Path](), deque(files), homes_of_packages()
    while left and len(found) < MOST_FILES:
        file = left.popleft()
        place = file.resolve()
        if place not in found:
            found[place] = file
            if not is_installed(file, homes):
                left += [other for other in dict.fromkeys(_imported(file)) if not is_installed(other, homes)]
    return list(found.values())


def code_of(function: Any) -> bytes:
    """What a function or a class runs, as bytes: its source file and what :func:`with_imports` adds.

    Of what was typed into an interpreter it is the compiled code; of what is built in, nothing.
    """
    plain = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(plain)
        if file is not None:
            return b"".join(one.read_bytes() for one in with_imports([Path(file)]))
    except (TypeError, OSError):  # built in, or typed in
        pass
    code = getattr(plain, "__code__", None)
    return b"" if code is None else _compiled(code)


def _compiled(thing: Any) -> bytes:
    """Compiled code or a constant of it, as bytes that another process makes too."""
    if isinstance(thing, CodeType):
        return b"".join([thing.co_code, repr(thing.co_names).encode(), *map(_compiled, thing.co_consts)])
    return repr(sorted(map(repr, thing)) if isinstance(thing, frozenset) else thing).encode()


def _imported(file: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # importing it will report what is wrong
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, places = [name.name for name in node.names], [str(file.parent), *sys.path, *_here()]
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            names = [".".join([*base, name.name]) for name in node.names]  # a module of the package, or a name in it
            home = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else file.parent
            places = [str(home)] if node.level else [str(home), *sys.path, *_here()]
        else:
            continue
        for name in names:
            if name.split(".")[0] not in _NOT_FOLLOWED:
                yield from _files_of(name, places)


def _files_of(module: str, places: list[str]) -> list[Path]:
    """The files of a module and of each package it is in, where found."""
    found = []
    for name in module.split("."):  # not the whole name: that would ask the packages around it, which nobody imported
        try:
            spec = PathFinder.find_spec(name, places)
            places = list(spec.submodule_search_locations or ()) if spec is not None else []
        except Exception:  # whatever stands in the way of finding it
            break
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            found.append(Path(spec.origin))
        if not places:
            break
    return found


def _here() -> list[str]:
    """The working folder, if there still is one."""
    folder = working_folder()
    return [] if folder is None else [folder]


def _module_by_name(name: str) -> ModuleType:
    sys.path += [here for here in _here() if here not in sys.path]  # last: a user's file hides no installed package
    try:
        return importlib.import_module(name)
    except (ImportError, ValueError, TypeError) as error:  # of "", "a..b" and ".a" too
        if isinstance(error, ModuleNotFoundError) and not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, but lacks another
        if not isinstance(error, ModuleNotFoundError) and _is_name(name):
            raise  # what its own code does
        raise InputError(
            f'There is no module "{name}" to take it from, here or among the installed packages.'
        ) from None


def _is_name(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _module_from_file(name: str) -> ModuleType:
    file = user_path(name)
    if not file.is_file():
        raise InputError(f'There is no file "{file}" to take it from.')
    read_bytes(file, 0)  # if the machine refuses it, its code has not failed
    name = f"prefgym_reward_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    module_spec = importlib.util.spec_from_file_location(name, file)
    assert module_spec is not None  # a .py file always has a loader
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # before running it: dataclasses and pickle look their module up here
    folder = file.resolve().parent
    remember(name, folder)
    try:
        with importable(folder):
            module_spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
