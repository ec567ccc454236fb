"""A folder of entries that the processes of one node share, with a limit in bytes.

An entry is made in a file of its own under another name and put in its place as a whole. Who writes
or removes holds the folder's lock, so that the limit is kept by all together; who reads does not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mmrlhf_jobs.features.entry import DamagedEntryError, Entry

__all__ = ["FeatureFolder"]

_LOCK: Final = "lock"
_TOTAL: Final = "total"
_MAKING: Final = ".making"


class FeatureFolder:
    """Entries by key, the one that was not used for longest removed first.

    Args:
        folder: The folder; made if there is none.
        limit: Bytes of all entries together.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, key: str) -> Entry | None:
        """The entry of a key; None if there is none.

        Raises:
            DamagedEntryError: Its file is damaged; it is gone now.
            OSError: It cannot be read.
        """
        path = self._folder / key
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            entry = Entry.from_bytes(data)
        except DamagedEntryError:
            path.unlink(missing_ok=True)
            raise
        with suppress(FileNotFoundError):  # removed since, to make room
            os.utime(path)
        return entry

    def put(self, key: str, entry: Entry) -> int:
        """Write an entry, if it is not there and within the limit; how many made room for it.

        Raises:
            OSError: It cannot be written.
        """
        data = entry.to_bytes()
        path = self._folder / key
        if len(data) > self._limit:
            return 0
        with self._locked():
            if path.exists():
                return 0
            total, removed = self._total(), 0
            if total + len(data) > self._limit:
                total, removed = self._make_room(len(data))
            # Before the file is there: killed in between, the total is too large and not too small.
            (self._folder / _TOTAL).write_text(str(total + len(data)), encoding="ascii")
            making = self._folder / f"{key}{_MAKING}"
            making.write_bytes(data)
            making.replace(path)
        return removed

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def _total(self) -> int:
        try:
            return int((self._folder / _TOTAL).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return self.size()

    def _make_room(self, wanted: int) -> tuple[int, int]:
        """Remove entries until there is room; bytes that are left, and how many were removed."""
        for left in self._folder.glob(f"*{_MAKING}"):
            left.unlink()  # of a process that was killed: the lock is ours
        entries = sorted(self._entries())
        total, removed = sum(size for _, size, _ in entries), 0
        for _, size, path in entries:
            if total + wanted <= self._limit:
                break
            path.unlink(missing_ok=True)
            total, removed = total - size, removed + 1
        return total, removed

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Per entry when it was last used, its bytes and its place."""
        for path in self._folder.iterdir():
            if path.name in {_LOCK, _TOTAL} or path.suffix == _MAKING:
                continue
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime_ns, found.st_size, path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
