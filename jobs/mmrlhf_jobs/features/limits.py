"""How much of what frozen vision towers make is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mmrlhf_api import Resources
from mmrlhf_api.quantities import parse_quantity

__all__ = ["DISK", "MEMORY", "FeatureLimits", "limits_of_job", "read_limits"]

MEMORY: Final = "512Mi"
"""Memory of each node, where nothing says how much memory the work has."""
DISK: Final = "8Gi"
"""Local disk of each node."""
_PART_OF_MEMORY: Final = 16


@dataclass(frozen=True)
class FeatureLimits:
    """Limits of one node.

    Attributes:
        memory: Bytes of memory, of all processes together.
        disk: Bytes of local disk; 0 keeps nothing there.
    """

    memory: int
    disk: int


def read_limits(cache: Literal["on", "off"], memory: str, disk: str | None) -> FeatureLimits | None:
    """Limits as they are written: quantities, no disk for None; None where nothing is kept.

    Raises:
        ValueError: An amount is no quantity.
    """
    amount, place = parse_quantity(memory), parse_quantity(disk) if disk else 0
    return None if cache == "off" else FeatureLimits(int(amount), int(place))


def limits_of_job(resources: Resources) -> FeatureLimits | None:
    """Limits of a job; None where it keeps nothing."""
    limits = read_limits(
        resources.feature_cache or "on",
        resources.feature_memory or resources.memory,
        resources.feature_disk or DISK,
    )
    if limits is None or resources.feature_memory:
        return limits
    return FeatureLimits(limits.memory // _PART_OF_MEMORY, limits.disk)
