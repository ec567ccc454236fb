"""Finding repeated ids among any number of rows in bounded memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

__all__ = ["Duplicate", "DuplicateFinder"]

_PARTITIONS: Final = 256
_BUFFER_BYTES: Final = 6 << 10
_ENTRY: Final = np.dtype([("digest", "S16"), ("ordinal", "<i8"), ("note", "<i4")])


class Duplicate(NamedTuple):
    """A row whose id an earlier row has."""

    ordinal: int
    """The row."""
    first: int
    """The first row with this id."""
    note: int
    """What was noted with the row."""


class DuplicateFinder:
    """Collects digests of ids in partitions by their first byte, and sorts one at a time.

    The partitions are buffers of 6 KiB that spill to files in a temporary folder: 28 bytes a row
    on disk, and in memory 1.5 MiB and a 256th of that.
    """

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="mmrlhf-ids-")
        self._buffers = [bytearray() for _ in range(_PARTITIONS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def add(self, identifier: str, *, ordinal: int, note: int) -> None:
        """Note that the row with this ordinal has this id, and a small number to remember."""
        digest = hashlib.blake2b(identifier.encode(), digest_size=16).digest()
        buffer = self._buffers[digest[0]]
        buffer += digest + ordinal.to_bytes(8, "little") + note.to_bytes(4, "little")
        if len(buffer) >= _BUFFER_BYTES:
            with self._path(digest[0]).open("ab") as file:
                file.write(buffer)
            buffer.clear()

    def find(self) -> Iterator[Duplicate]:
        """All repetitions, in no order."""
        for number, buffer in enumerate(self._buffers):
            path = self._path(number)
            spilled = path.read_bytes() if path.exists() else b""
            entries = np.frombuffer(spilled + bytes(buffer), _ENTRY)
            entries = entries[np.lexsort((entries["ordinal"], entries["digest"]))]
            digests, ordinals = entries["digest"], entries["ordinal"]
            first = 0
            for later in np.flatnonzero(digests[1:] == digests[:-1]) + 1:
                if digests[first] != digests[later]:
                    first = int(later) - 1
                yield Duplicate(
                    int(ordinals[later]), int(ordinals[first]), int(entries["note"][later])
                )

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number:02x}"
