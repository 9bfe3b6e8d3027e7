"""Finding a Python function that a user names by a dotted path or by a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError, nearest


def import_function(path: str, kind: str = "function") -> Callable[..., Any]:
    """Import ``"module:function"``, ``"module.function"`` or ``"file.py:function"``, in the current directory too.

    Args:
        path: where it is.
        kind: what messages call it; a class is found in the same way.

    Raises:
        InputError: no such file, module or function, or the module raised while it was imported.
    """
    module_name, _, attribute = path.rpartition(":" if ":" in path else ".")
    if not module_name or not attribute or path.endswith(".py"):
        raise InputError(f'"{path}" names no {kind}; write it as "module:{kind}", "module.{kind}" or "file.py:{kind}".')
    try:
        module = _module_from_file(Path(module_name)) if module_name.endswith(".py") else _module_by_name(module_name)
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f'The module "{module_name}" of "{path}" could not be imported ({reason}).') from error
    function = getattr(module, attribute, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f'"{module_name}" has no {kind} "{attribute}".{nearest(attribute, names)}')
    return function


def source_of(path: str) -> Path | None:
    """The file that holds what a path names, found without running any of it; None where it cannot be found."""
    module, _, _ = path.rpartition(":" if ":" in path else ".")
    if module.endswith(".py"):
        return Path(module) if Path(module).is_file() else None
    places: Any = [*sys.path, os.getcwd()]
    found = None
    for depth in range(1, module.count(".") + 2):
        found = PathFinder.find_spec(".".join(module.split(".")[:depth]), places)
        if found is None:
            return None
        places = found.submodule_search_locations or []
    origin = None if found is None else found.origin
    return Path(origin) if origin is not None and Path(origin).is_file() else None


def _module_by_name(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a user's file never hides an installed package
    return importlib.import_module(name)


def _module_from_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f'There is no file "{file}" to take it from.')
    name = f"prefgym_reward_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    module_spec = importlib.util.spec_from_file_location(name, file)
    assert module_spec is not None  # a .py file always has a loader
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # before running it: dataclasses and pickle look their module up here
    module_spec.loader.exec_module(module)
    return module
