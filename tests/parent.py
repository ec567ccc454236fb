"""Processes that end with the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

__all__ = ["end_with_parent"]

_WITH_PARENT: Final = 1
"""``PR_SET_PDEATHSIG`` of ``prctl(2)``: the signal that comes when the parent has ended."""
_LIBC: Final = ctypes.CDLL(None)
"""Loaded before any fork, after which little may be done."""


def end_with_parent() -> None:
    """Have this process killed once its parent has ended; a child says so right after the fork."""
    _LIBC.prctl(_WITH_PARENT, signal.SIGKILL)
