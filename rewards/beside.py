"""The folder of a user's file, importable while its code runs and at no other time.

Python puts the folder of a script first on ``sys.path``, so that it can import what lies beside it. A reward, judge or
agent that is named by its file gets the same; but here several files may be in use, each with its own module
``helpers``, and nothing around them may find theirs.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from .installed import homes_of_packages, is_installed

_imported: dict[Path, dict[str, ModuleType]] = {}
"""What files in a folder have imported from it, by name; in ``sys.modules`` only while their code runs."""
_homes: dict[str, Path] = {}
"""The folder of each module that was imported from a file."""
_homes_of_objects: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()
"""The same of what was named in such a file, wherever it was defined."""


def remember(module: str, folder: Path) -> None:
    """Note that a module is a file of this folder."""
    _homes[module] = folder


def remember_object(found: Any, module: ModuleType) -> None:
    """Note that a user named this object in this module."""
    if module.__name__ in _homes:
        with suppress(TypeError):  # what has no weak references or no hash
            _homes_of_objects[found] = _homes[module.__name__]


@contextmanager
def beside(thing: Any) -> Iterator[None]:
    """Around code of a function, class or instance: if it was named by its file, that folder can be imported from."""
    folder = _home_of(thing)
    if folder is None:
        yield
    else:
        with importable(folder):
            yield


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """The folder is first on ``sys.path``, and what was imported from it before is there.

    A user's modules of the same name from elsewhere stand aside meanwhile; those of Python and of packages stay.
    """
    place, kept = str(folder), _imported.setdefault(folder, {})
    if place in sys.path:  # everybody may import from it
        yield
        return
    aside = _others(folder, kept)
    for name in aside:
        del sys.modules[name]
    before = set(sys.modules)
    sys.modules.update(kept)
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
        kept.update(_from(folder, before))
    finally:
        with suppress(ValueError):  # the code took it away
            sys.path.remove(place)
        for name in _from(folder, before):
            del sys.modules[name]
        sys.modules.update(aside)


def _home_of(thing: Any) -> Path | None:
    with suppress(TypeError):
        if thing in _homes_of_objects:
            return _homes_of_objects[thing]
    for one in (inspect.unwrap(thing) if callable(thing) else thing, type(thing)):
        name = getattr(one, "__module__", None)
        if isinstance(name, str) and name in _homes:
            return _homes[name]
    return None


def _others(folder: Path, kept: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """The loaded modules of a user's that have the name of one in this folder, but are from elsewhere."""
    names = {*_names_in(folder), *(name.partition(".")[0] for name in kept)} & sys.modules.keys()
    names = {name for name in names if not _is_in(sys.modules[name], folder)}
    homes = homes_of_packages() if names else set()
    names = {name for name in names if _is_a_users(name, homes)}
    return {name: module for name, module in list(sys.modules.items()) if names and name.partition(".")[0] in names}


def _is_a_users(name: str, homes: set[Path]) -> bool:
    places = _places(sys.modules[name])
    return bool(places) and not any(is_installed(place, homes) for place in places)


def _names_in(folder: Path) -> Iterator[str]:
    """The names of modules and packages in a folder."""
    with suppress(OSError):  # somebody removed it
        for entry in os.scandir(folder):
            if entry.name.endswith(".py"):
                yield entry.name.removesuffix(".py")
            elif os.path.isfile(os.path.join(entry.path, "__init__.py")):
                yield entry.name


def _from(folder: Path, before: set[str]) -> dict[str, ModuleType]:
    """The modules that are in this folder and were not loaded before."""
    new = ((name, sys.modules.get(name)) for name in sys.modules.keys() - before - _homes.keys())
    return {name: module for name, module in new if module is not None and _is_in(module, folder)}


def _places(module: Any) -> list[Path]:
    """The file of a module, or the folders of a package without one."""
    try:
        file = getattr(module, "__file__", None)
        return [Path(file)] if file else [Path(place) for place in getattr(module, "__path__", ())]
    except Exception:  # modules that are loaded late may answer by an error
        return []


def _is_in(module: Any, folder: Path) -> bool:
    return any(folder in place.parents for place in _places(module))
