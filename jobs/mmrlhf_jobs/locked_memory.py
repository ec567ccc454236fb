"""The limit of locked memory, which RDMA needs for the buffers that it registers.

A container starts with the soft limit of its runtime, often 64 KiB or 8 MiB, where registration
fails with an error of NCCL that names neither the limit nor the node.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

__all__ = ["raise_locked_memory"]

_DEVICES = Path("/dev/infiniband")
_LIMIT = resource.RLIMIT_MEMLOCK


def raise_locked_memory(
    *,
    get: Callable[[int], tuple[int, int]] = resource.getrlimit,
    put: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
    devices: Path = _DEVICES,
) -> str | None:
    """Raise the limit as far as the node lets this process.

    Args:
        get: Reads soft and hard limit of a resource.
        put: Sets them.
        devices: Folder that is there where the pod has RDMA.

    Returns:
        What to tell: that there is RDMA, and a limit all the same; None when all is well.
    """
    soft, hard = get(_LIMIT)
    if soft != hard:
        put(_LIMIT, (hard, hard))
    if hard == resource.RLIM_INFINITY or not devices.is_dir():
        return None
    return (
        f"locked memory is limited to {hard // 1024} KiB, and RDMA wants it unlimited; raise"
        " memlock in the container runtime of the node (default_ulimits, LimitMEMLOCK), or give the"
        " node pool the capability IPC_LOCK"
    )
