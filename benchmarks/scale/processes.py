"""Processes of a benchmark: none outlives it, and what each takes of the CPU."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

__all__ = ["cpu_of", "start"]

_WITH_PARENT: Final = 1
"""``PR_SET_PDEATHSIG`` of ``prctl(2)``: the signal that comes when the parent has ended."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def start(command: Sequence[str], *, log: IO[str]) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, however this one ends.

    Args:
        command: Its command line.
        log: Where its standard error goes.
    """
    libc = ctypes.CDLL(None)

    def bind() -> None:
        libc.prctl(_WITH_PARENT, signal.SIGKILL)

    # No thread of a benchmark lives where it starts a process.
    return subprocess.Popen(command, stderr=log, preexec_fn=bind)  # noqa: PLW1509


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
