"""Prometheus and its promtool: those on PATH, or Debian's, unpacked into the cache.

Unpacked and not installed: an installed Prometheus would run as a service of this machine.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

from tests.cluster import debian, layout

__all__ = ["program"]

_PACKAGE = "prometheus"


def program(name: str) -> Path:
    """`prometheus` or `promtool`; the first to ask for one fetches both.

    Raises:
        PrerequisiteError: none is there, and Debian's cannot be had.
    """
    found = shutil.which(name)
    return Path(found) if found else _unpacked() / "usr/bin" / name


def _unpacked() -> Path:
    folder = layout.cache() / _PACKAGE
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{_PACKAGE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                debian.unpack(_PACKAGE, Path(scratch)).rename(folder)
    return folder
