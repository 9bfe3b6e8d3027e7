"""Which files belong to Python, to installed packages or to prefgym, rather than to the user."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

_PACKAGES = {"site-packages", "dist-packages"}
"""Folders of these names hold installed packages, be they of a user, of the system or of another environment."""


def is_installed(file: Path, homes: set[Path]) -> bool:
    """Whether a file belongs to Python, an installed package or prefgym, rather than to the user."""
    place = file.resolve()
    is_package = not _PACKAGES.isdisjoint((*file.parts, *place.parts))
    return file.suffix != ".py" or is_package or not homes.isdisjoint(place.parents)


def homes_of_packages() -> set[Path]:
    """The folders of Python, installed packages and prefgym."""
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "prefgym":  # in an editable install it is elsewhere
            homes.update(getattr(module, "__path__", ()))
    return {Path(home).resolve() for home in homes}
