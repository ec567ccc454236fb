"""What is known of media, by content: a database on local disk, so that memory does not grow."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmrlhf_jobs.errors import StorageError, StorageFullError
from mmrlhf_jobs.sampling.corpora.media import MediaKind
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["Known", "MediaIndex"]

# Nothing here outlives the process: neither a journal nor a sync is worth its time.
_SETUP: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE media (
    sha256 BLOB, kind TEXT, width INTEGER, height INTEGER, pts_ms REAL, black_start INTEGER,
    PRIMARY KEY (sha256, kind)
) WITHOUT ROWID;
"""
_FIND: Final = """
SELECT width, height, pts_ms, black_start FROM media WHERE sha256 = ? AND kind = ?
"""


@dataclass(frozen=True)
class Known:
    """What is kept of a medium beside its vector.

    Attributes:
        sha256: Digest of its bytes, 32 bytes.
        width: Width of the picture in the file.
        height: Height of it.
        pts_ms: Presentation time of a video's frame, in milliseconds.
        black_start: Whether a video begins in black.
    """

    sha256: bytes
    width: int
    height: int
    pts_ms: float | None = None
    black_start: bool = False

    @property
    def kind(self) -> MediaKind:
        """What the bytes were decoded as; only frames have a time."""
        return "image" if self.pts_ms is None else "video"


class MediaIndex:
    """Media by digest, for any number of threads; memory is that of a cache of 16 MiB.

    Args:
        path: Local file, which is replaced.

    Raises:
        StorageError: The disk is full, and so on; so do all methods.
    """

    def __init__(self, path: Path) -> None:
        with storage_errors(str(path), "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        self._path = path
        self._lock = threading.Lock()
        with self._errors():
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._base.executescript(_SETUP)

    def add(self, media: Iterable[Known]) -> None:
        """Note media; those that are there already stay as they are."""
        with self._lock, self._errors():
            self._base.execute("BEGIN")
            self._base.executemany(
                "INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?, ?)", map(_row, media)
            )
            self._base.execute("COMMIT")

    def find(self, sha256: bytes, kind: MediaKind) -> Known | None:
        """What is known of a medium, if bytes of this kind were seen."""
        with self._lock, self._errors():
            row = self._base.execute(_FIND, [sha256, kind]).fetchone()
        if row is None:
            return None
        width, height, pts_ms, black_start = row
        return Known(sha256, width, height, pts_ms, bool(black_start))

    def close(self) -> None:
        """Forget all."""
        self._base.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFullError(
                    f"disk full: cannot write {self._path}; free space there or choose another"
                    " place"
                ) from error
            raise StorageError(f"{self._path}: {error}; is the local disk in order?") from error


def _row(one: Known) -> tuple[Any, ...]:
    return one.sha256, one.kind, one.width, one.height, one.pts_ms, one.black_start
