"""How much memory this process may still take, as far as the machine and its container tell."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

__all__ = ["free_memory"]

_CGROUP: Final = Path("/sys/fs/cgroup")


def free_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes that are free: of the machine, and below the limit of the container if it has one.

    Files that the kernel keeps in memory count as free: it gives them up when it has to.

    Args:
        cgroup: Folder of the container's limits (kernel.org, ``admin-guide/cgroup-v2``).
    """
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        files = int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):
        # No limit (the word "max"), or an older kernel.
        return free
    return min(free, max(limit - used + files, 0))
