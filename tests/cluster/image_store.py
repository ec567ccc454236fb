"""What containerd has on disk, kept below the cache from one cluster to the next.

One cluster at a time has it. There is one store, for the version of containerd that is installed.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster import layout
from tests.cluster.binaries import program


@dataclass(frozen=True)
class ImageStore:
    """A store that this process has, until it gives it back or ends.

    Attributes:
        root: containerd's root.
    """

    root: Path
    _lock: IO[str]

    @classmethod
    def take(cls) -> ImageStore | None:
        """Take the store, and begin one if there is none; None if another cluster has it."""
        stores = layout.cache() / "containerd"
        stores.mkdir(parents=True, exist_ok=True)
        name = _version()
        lock = _locked(stores / f"{name}.lock")
        if lock is None:
            return None
        for other in stores.glob("*.lock"):
            if other.stem != name and (theirs := _locked(other)) is not None:
                shutil.rmtree(stores / other.stem, ignore_errors=True)
                other.unlink()
                theirs.close()
        root = stores / name
        root.mkdir(exist_ok=True)
        return cls(root, lock)

    def give_back(self) -> None:
        """Let the next cluster have it; nothing may run on it any more."""
        self._lock.close()


def _version() -> str:
    shown = subprocess.run(
        [program("containerd"), "--version"], capture_output=True, text=True, check=True
    )
    return re.sub(r"[^\w.+~-]+", "-", shown.stdout.strip().rpartition("/")[2])


def _locked(path: Path) -> IO[str] | None:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
