"""The log of one node, stored while it is written.

Whoever writes hands over and goes on: nothing here makes them wait, and no failure reaches them.
What is handed over waits in memory within bounds, and is stored at intervals by a thread of its
own. A store that is away is asked again, more and more seldom; of what no longer fits meanwhile the
oldest is left out, counted, and the log says so where it is missing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from mmrlhf_api.backoff import doubling_wait
from mmrlhf_api.run_logs import PIECE_BYTES, expired_piece
from mmrlhf_jobs.errors import StorageUnavailableError
from mmrlhf_jobs.log_archive.lines import Lines
from mmrlhf_jobs.log_archive.secrets import Redaction

__all__ = ["LogArchive", "PieceStore", "Tell"]

Tell = Callable[[str], None]
"""Takes a line for people."""

_MOST_WAITING = 8 * 2**20
"""Bytes that wait to be read at most."""
_MOST_PIECES = 8
"""Pieces that wait to be stored at most."""
_EARLY = 2**19
"""Bytes that wait before they are looked at ahead of their time."""
_LONGEST_PAUSE = 300.0
_PAUSE_AT_END = 0.5


class PieceStore(Protocol):
    """Where the pieces of a log go."""

    @property
    def uri(self) -> str:
        """Their place, for people."""

    @property
    def secrets(self) -> Iterable[str]:
        """Values that must not be in them, the longest first."""

    def write(self, number: int, text: str) -> None:
        """Write or replace a piece."""

    def remove(self, number: int) -> None:
        """Remove a piece."""


@dataclass
class _Piece:
    """Lines, their bytes, and how many of these are stored."""

    number: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    stored: int = 0


@dataclass(frozen=True)
class _Chunk:
    stream: str
    at: datetime
    data: bytes


class LogArchive:
    """Stores a log; `take` may be called by any thread.

    Args:
        open_store: Opens the store; called by the thread that writes, again if it fails.
        tell: Takes a line where the store fails, once, and where it works again.
        seconds: Between two writes.
        clock: Seconds, growing steadily.
    """

    def __init__(
        self,
        open_store: Callable[[], PieceStore],
        *,
        tell: Tell,
        seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store = open_store
        self._tell = tell
        self._seconds = seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[_Chunk] = deque()
        self._size = 0
        self._missed = 0
        self._closed = False
        self._give_up_at = float("inf")
        # What follows is the thread's own.
        self._store: PieceStore | None = None
        self._streams: dict[str, tuple[Lines, Redaction]] = {}
        self._pieces: deque[_Piece] = deque([_Piece(0)])
        self._expired: list[int] = []
        self._failures = 0
        self._retry_at = 0.0
        self._may_heal = True
        self._lost = self._owed = 0
        self._thread = threading.Thread(target=self._run, name="log archive", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether what is handed over now puts nothing out that waits."""
        return self._size < _EARLY

    def take(self, stream: str, data: bytes) -> None:
        """Hand over what was written to a stream; where too much waits, the oldest goes."""
        with self._changed:
            self._waiting.append(_Chunk(stream, datetime.now(UTC), data))
            self._size += len(data)
            while self._size > _MOST_WAITING:
                oldest = self._waiting.popleft()
                self._size -= len(oldest.data)
                self._missed += len(oldest.data)
            if self._size >= _EARLY:
                self._changed.notify()

    def miss(self, size: int) -> None:
        """Say that bytes were not handed over."""
        with self._changed:
            self._missed += size

    def close(self, *, timeout: float = 15.0) -> None:
        """Store what is left, for at most `timeout` seconds, and say what could not be."""
        with self._changed:
            self._closed = True
            self._give_up_at = self._clock() + timeout
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            left = self._size + self._missed + self._lost + self._owed
        if left:
            place = "the store" if self._store is None else self._store.uri
            self._tell(f"log: {left} bytes of this node's log are not at {place}")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self._size >= _EARLY, timeout=self._seconds
                )
                closed = self._closed
            now = self._clock()
            if not closed and now < self._retry_at:
                with self._changed:  # memory is bounded; what comes meanwhile waits in it
                    self._changed.wait_for(
                        lambda: self._closed, timeout=min(self._seconds, self._retry_at - now)
                    )
                continue
            try:
                self._store_waiting(closed=closed)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
                self._may_heal = isinstance(error, StorageUnavailableError)
                self._fail(error)
            else:
                self._succeed()
                if closed:
                    return
            if closed:
                if not self._may_heal or self._clock() + _PAUSE_AT_END >= self._give_up_at:
                    return
                time.sleep(_PAUSE_AT_END)

    def _store_waiting(self, *, closed: bool) -> None:
        if self._store is None:
            self._store = self._open_store()
        self._read_waiting(self._store, closed=closed)
        for piece in self._pieces:
            if piece.stored < piece.size:
                self._store.write(piece.number, "".join(piece.lines))
                self._owed -= piece.size - piece.stored
                piece.stored = piece.size
        while len(self._pieces) > 1:
            self._pieces.popleft()
        while self._expired:
            self._store.remove(self._expired[0])
            self._expired.pop(0)

    def _read_waiting(self, store: PieceStore, *, closed: bool) -> None:
        """Put what waits into pieces."""
        with self._changed:
            chunks, self._waiting, self._size = self._waiting, deque(), 0
            missed, self._missed = self._missed, 0
        if missed:
            self._say_missing(missed)
        for chunk in chunks:
            if chunk.stream not in self._streams:
                self._streams[chunk.stream] = (Lines(), Redaction(store.secrets))
            lines, redaction = self._streams[chunk.stream]
            for line in lines.feed(chunk.data):
                self._append(chunk.at, redaction.hide(line))
        if closed:
            for lines, redaction in self._streams.values():
                for line in lines.end():
                    self._append(datetime.now(UTC), redaction.hide(line))

    def _append(self, at: datetime, text: str) -> None:
        line = f"{at:%Y-%m-%dT%H:%M:%S.%fZ} {text}\n"
        size = len(line.encode())
        piece = self._pieces[-1]
        if piece.size + size > PIECE_BYTES:
            piece = _Piece(piece.number + 1)
            self._pieces.append(piece)
            if (old := expired_piece(piece.number)) is not None:
                self._expired.append(old)
            if len(self._pieces) > _MOST_PIECES:
                self._drop_oldest()
        piece.lines.append(line)
        piece.size += size
        self._owed += size

    def _drop_oldest(self) -> None:
        oldest = self._pieces.popleft()
        self._owed -= oldest.size - oldest.stored
        self._lost += oldest.size - oldest.stored  # a reader sees that its number is missing

    def _say_missing(self, size: int) -> None:
        self._lost += size
        self._append(
            datetime.now(UTC),
            f"log: {size} bytes are missing before this line: they came faster than they could be"
            " stored, or while the store was away",
        )

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        pause = doubling_wait(self._failures, first=self._seconds, longest=_LONGEST_PAUSE)
        self._retry_at = self._clock() + pause
        if self._failures == 1:
            self._tell(
                f"log: cannot store this node's log: {error}. The job goes on; it is tried again"
            )

    def _succeed(self) -> None:
        if self._failures:
            self._tell("log: this node's log is stored again")
        self._failures, self._retry_at = 0, 0.0
