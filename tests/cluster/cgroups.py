"""The parent cgroup of a cluster's pods, in every hierarchy of the machine (version 1 or 2)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cluster.wait import wait_until


def create(name: str) -> None:
    """Make the cgroup `name` in every hierarchy; the kubelet wants to find it."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # Version 1: a new cpuset is empty, and nothing can run in it.
        for file in ("cpuset.mems", "cpuset.cpus"):
            if (group / file).exists() and not (group / file).read_text().strip():
                with contextlib.suppress(OSError):
                    (group / file).write_text((hierarchy / file).read_text())
        # Version 2: controllers are handed down level by level.
        if (group / "cgroup.controllers").exists():
            _hand_down(hierarchy)
            _hand_down(group)


def remove(name: str) -> None:
    """Remove the cgroup `name` and all below it; its processes must have ended."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        wait_until(
            lambda group=group: _removed(group),  # type: ignore[misc]
            timeout=60,
            what=f"the removal of {group}",
        )


def remaining(name: str) -> list[Path]:
    """The hierarchies' cgroups of that name that still exist."""
    return [h / name for h in _hierarchies() if (h / name).exists()]


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]


def _hand_down(group: Path) -> None:
    for controller in (group / "cgroup.controllers").read_text().split():
        # The root of a container may refuse, because it holds processes.
        with contextlib.suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    folders = [path for path in group.rglob("*") if path.is_dir()]
    for folder in [*sorted(folders, key=lambda path: len(path.parts), reverse=True), group]:
        # Busy until the kernel has let go of the last process.
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not group.exists()
