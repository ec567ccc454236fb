"""Lines for a person, by what happens: the caller says where they go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Tell", "log_line"]

Tell: TypeAlias = Callable[[str], None]
"""Takes a line; `mmrlhfctl` writes it to standard error."""


def log_line(line: str) -> None:
    """Log a line as ``mmrlhf``, where nobody asked for something else."""
    import logging  # nothing else of a call does

    logging.getLogger("mmrlhf").info(line)
