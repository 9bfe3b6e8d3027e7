"""Fixtures every room shares. No test may reach the network."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real files; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("PREFGYM_REAL_DATA", ROOT / ".." / "shared" / "real")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PREFGYM_REAL_DATA to their folder")
    return folder
