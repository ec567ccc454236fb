"""Bounds that those know too who check no types."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_COUNT", "MAX_JOB_NAME"]

MAX_JOB_NAME: Final = 52
"""Longest job name: pods are named ``<job>-<attempt>-<index>`` and a host name holds 63 characters,
which leaves five digits for the attempt and four for the index."""
MAX_COUNT: Final = 2**53
"""JSON holds integers up to this one exactly."""
