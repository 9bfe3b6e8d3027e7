"""How far memory rose above a level: resident memory of the process, or what CUDA has allocated. Linux."""

from __future__ import annotations

import re
from pathlib import Path

import torch


class Peak:
    """Measures from the moment it is made."""

    def __init__(self) -> None:
        self.cuda = torch.cuda.is_initialized()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.level = torch.cuda.memory_allocated()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
            self.level = _status("VmRSS")

    def above(self) -> int:
        """Bytes from the level to the highest point since."""
        return (torch.cuda.max_memory_allocated() if self.cuda else _status("VmHWM")) - self.level


def resident() -> int:
    """Bytes of memory that the process holds now."""
    return _status("VmRSS")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024
