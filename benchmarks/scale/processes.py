"""Processes of a benchmark: none outlives it, and what each takes of the CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from tests.parent import end_with_parent

__all__ = ["cpu_of", "start"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def start(command: Sequence[str], *, log: IO[str]) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, however this one ends.

    Args:
        command: Its command line.
        log: Where its standard error goes.
    """
    # No thread of a benchmark lives where it starts a process.
    return subprocess.Popen(command, stderr=log, preexec_fn=end_with_parent)  # noqa: PLW1509


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
