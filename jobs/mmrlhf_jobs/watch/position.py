"""Where a process of a job is, told to whoever watches it.

Each process has a file of one page, mapped into memory: to tell is to copy some bytes, and they can
be read whether the process runs, is stopped, hangs or has been killed.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from mmrlhf_api.constants import ENV_WATCH

__all__ = ["Place", "Position", "place_file", "read_place"]

_PAGE: Final = 4096
_HEAD: Final = struct.Struct("<II")
"""Length of the text, and its CRC: a reader that comes in between reads again."""
_NAMES: Final = 4
_NAME_LENGTH: Final = 120
"""Characters; with four bytes or an escape each, four names still fit into the page."""


@dataclass(frozen=True)
class Place:
    """Where a process is.

    Attributes:
        rank: Its rank.
        pid: Its process id.
        beat: Grows with everything that it tells: it stands still while this does.
        step: Optimizer step that it is in, or was in last, from 1; 0 before the first.
        move: Places since the step began, as many on each process.
        doing: What it does.
        timed: Whether that must be over in a bounded time. Loading, say, may take as long as it
            must.
        first: Whether this is the first step of the attempt, which compiles and makes room.
        waits: What it waits for the others in; empty: it is at work.
        rows: Names of the rows at work, the first few.
        code: Exit code, once it is about to end as it should.
    """

    rank: int
    pid: int
    beat: int = 0
    step: int = 0
    move: int = 0
    doing: str = "starting"
    timed: bool = False
    first: bool = False
    waits: str = ""
    rows: tuple[str, ...] = ()
    code: int | None = None

    @property
    def words(self) -> str:
        """For people, such as ``step 3, forward of micro-batch 1 of 2, on train.jsonl, row 7``."""
        step = f"step {self.step}, " if self.timed else f"after step {self.step}, "
        where = (step if self.step else "") + self.doing
        waits = f", waiting for the others in {self.waits}" if self.waits else ""
        rows = f", on {'; '.join(self.rows)}" if self.rows and self.timed else ""
        return where + waits + rows

    def encode(self) -> bytes:
        """As JSON."""
        text = json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False)
        return text.encode(errors="replace")

    @classmethod
    def decode(cls, text: bytes) -> Place:
        """What `encode` has made.

        Raises:
            ValueError: It is something else.
        """
        try:
            content = json.loads(text)
            return cls(**{**content, "rows": tuple(content["rows"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"{text!r} is no place of a process") from error


def place_file(folder: Path, rank: int) -> Path:
    """The file of a process."""
    return folder / f"rank-{rank}.place"


def read_place(file: Path) -> Place | None:
    """What a process has told last; None where it told nothing, or is just telling."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    if len(content) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(content)
    text = content[_HEAD.size : _HEAD.size + length]
    if not length or zlib.crc32(text) != checksum:
        return None
    return Place.decode(text)


class Position:
    """Tells where this process is; its methods are the main thread's alone.

    Args:
        place: Where it is at first.
        file: Where to tell; None: nobody watches, and nothing is told.
    """

    def __init__(self, place: Place, file: Path | None = None) -> None:
        self._place = place
        self._page: mmap.mmap | None = None
        if file is not None:
            file.write_bytes(bytes(_PAGE))
            with file.open("r+b") as opened:
                self._page = mmap.mmap(opened.fileno(), _PAGE)
        self._tell(place)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Position:
        """The position that the launcher of this node watches, if there is one."""
        rank = int(environ.get("RANK", "0"))
        folder = environ.get(ENV_WATCH)
        file = None if folder is None else place_file(Path(folder), rank)
        return cls(Place(rank, os.getpid()), file)

    @property
    def place(self) -> Place:
        """Where the process is."""
        return self._place

    def enter(self, doing: str, *, rows: Sequence[str] = ()) -> None:
        """Begin something; whether it must be over in time is as before.

        Args:
            doing: What, for people.
            rows: Names of the rows that it is done with, if others than before.
        """
        if self._page is not None:
            shown = tuple(name[:_NAME_LENGTH] for name in rows[:_NAMES]) or self._place.rows
            if len(rows) > _NAMES:
                shown = (*shown, f"and {len(rows) - _NAMES} more")
            self._tell(replace(self._place, doing=doing, rows=shown))

    @contextmanager
    def timed(self, step: int, *, first: bool) -> Iterator[None]:
        """Do an optimizer step: each thing that is entered within must be over in time.

        Args:
            step: Number of the step, from 1.
            first: Whether it is the first one of this attempt.
        """
        self._tell(replace(self._place, step=step, move=0, timed=True, first=first, rows=()))
        try:
            yield
        finally:
            self._tell(replace(self._place, timed=False, doing="between steps", rows=()))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Wait for the other processes.

        Args:
            what: The collective, for people.
        """
        before = self._place.waits
        self._tell(replace(self._place, waits=what))
        try:
            yield
        finally:
            self._tell(replace(self._place, waits=before))

    def end(self, code: int) -> None:
        """Say that the process is about to end as it should, with an exit code."""
        self._tell(replace(self._place, code=code, timed=False))

    def _tell(self, place: Place) -> None:
        self._place = replace(place, beat=place.beat + 1, move=place.move + 1)
        if self._page is not None:
            text = self._place.encode()
            self._page[: _HEAD.size + len(text)] = _HEAD.pack(len(text), zlib.crc32(text)) + text
