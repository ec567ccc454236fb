"""What processes write to files of their own, handed over as the files grow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmrlhf_jobs.log_archive.archive import LogArchive

__all__ = ["FollowedFiles"]

_READ_BYTES = 2**18
_NAMES = ("stdout.log", "stderr.log")


class FollowedFiles:
    """Follows the files that torchrun redirects its processes to.

    Args:
        folder: Its folder of logs; files in it come as processes start.
        archive: Takes what they write. What it has no room for stays in the files until it has.
        seconds: Between two looks.
        wait: Waits for some seconds; True if it is to stop.
    """

    def __init__(
        self,
        folder: Path,
        archive: LogArchive,
        *,
        seconds: float = 1.0,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._folder = folder
        self._archive = archive
        self._seconds = seconds
        self._read: dict[Path, int] = {}
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._thread = threading.Thread(target=self._follow, name="log files", daemon=True)
        self._thread.start()

    def close(self, *, timeout: float = 5.0) -> None:
        """Hand over what is left, for at most `timeout` seconds; the rest is counted as missing."""
        self._stop.set()
        self._thread.join(timeout)
        self._archive.miss(sum(self._left(path) for path in self._files()))

    def _follow(self) -> None:
        while not self._wait(self._seconds):
            self._hand_over()
        while self._hand_over():
            pass

    def _hand_over(self) -> bool:
        """Hand over a part of each file; False if there was nothing, or no room."""
        found = False
        for path in self._files():
            if not self._archive.has_room:
                return False
            with suppress(OSError), path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read(_READ_BYTES)
                self._read[path] = file.tell()
                if data:
                    found = True
                    self._archive.take(str(path), data)
        return found

    def _left(self, path: Path) -> int:
        with suppress(OSError):
            return max(0, path.stat().st_size - self._read.get(path, 0))
        return 0

    def _files(self) -> list[Path]:
        return sorted(path for name in _NAMES for path in self._folder.rglob(name))
