"""Ports for servers that a test starts."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from mmrlhf.local.port import hold_port

__all__ = ["free_port"]

_HELD: Final = ExitStack()
"""Ports stay held to the end of the tests: a server may start late, and start anew."""


def free_port() -> int:
    """A port of this machine that nobody else is given while the tests run.

    It is for servers that say SO_REUSEADDR, as all do that are started anew at once.
    """
    return _HELD.enter_context(hold_port())
