"""Members of a tar shard joined to samples, side by side or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from mmrlhf_jobs.sampling.corpora.media import MediaRef
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow, object_row

__all__ = ["Samples"]

_HELD_BYTES: Final = 64 << 20
"""Text of samples that are held back, at most."""

_HELD_SAMPLES: Final = 1 << 16

# fmt: off
_TEXTS: Final = frozenset((
    "json", "jsonl", "txt", "text", "cls", "cls2", "index", "inx", "id", "csv", "tsv", "md",
    "html", "xml", "yaml", "yml", "npy", "npz", "pth", "pyd", "pkl", "pickle", "ten", "tb", "mp",
    "msg", "cbor", "url", "caption",
))
# fmt: on
"""Ends of members that are no media, as WebDataset knows them and others add them."""


class Samples:
    """Takes the members of a shard in their order and gives samples."""

    def __init__(self) -> None:
        self._open: _Sample | None = None
        self._held: dict[str, list[_Sample]] = {}
        self._held_count = 0
        self._held_bytes = 0
        self._gone: set[int] = set()
        self._number = 0

    def add(self, name: str, found: MediaRef | bytes | None) -> Iterator[RawRow]:
        """Take a member; samples that are whole by then come out.

        Args:
            name: Its path in the shard.
            found: A medium, the text of a row, or None for what is neither.
        """
        stem, key = _stem(name), _key(name)
        if self._open is not None and not self._open.takes(stem, key):
            yield from self._put_aside(self._open)
            self._open = None
        if self._open is None:
            self._open = self._take_back(stem, key)
        if self._open is None and hash(key) in self._gone:
            if found is not None:
                yield RawRow(
                    self._next(),
                    None,
                    (found,) if isinstance(found, MediaRef) else (),
                    "scattered-sample",
                    f"{name} stands apart from the other members of its sample, which came long"
                    " before; sort the shard by name",
                )
            return
        if self._open is None:
            self._open = _Sample(self._next(), stem, key)
        self._open.add(name, stem, found)
        if isinstance(found, bytes):
            for other, ref in self._open.take_strange():
                orphan = _Sample(self._next(), other, key)
                orphan.add(name, other, ref)
                yield from self._put_aside(orphan)

    def rest(self) -> Iterator[RawRow]:
        """What is left at the end of the shard."""
        held = itertools.chain.from_iterable(self._held.values())
        left = [*held, *([self._open] if self._open else [])]
        self._held, self._open = {}, None
        for sample in sorted(left, key=lambda sample: sample.number):
            yield from sample.rows()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _put_aside(self, sample: _Sample) -> Iterator[RawRow]:
        """Give a whole sample, and hold back one that lacks something."""
        if sample.is_whole:
            yield from self._give(sample)
            return
        self._held.setdefault(sample.key, []).append(sample)
        self._held_count += 1
        self._held_bytes += sample.size
        while self._held_bytes > _HELD_BYTES or self._held_count > _HELD_SAMPLES:
            first = self._held[next(iter(self._held))][0]
            self._let_go(first)
            yield from self._give(first)

    def _take_back(self, stem: str, key: str) -> _Sample | None:
        for sample in self._held.get(key, ()):
            if sample.is_related(stem):
                self._let_go(sample)
                return sample
        return None

    def _let_go(self, sample: _Sample) -> None:
        self._held[sample.key].remove(sample)
        if not self._held[sample.key]:
            del self._held[sample.key]
        self._held_count -= 1
        self._held_bytes -= sample.size

    def _give(self, sample: _Sample) -> Iterator[RawRow]:
        # A name with dots may share its key with other samples: those are known by whole names.
        self._gone.add(hash(sample.name))
        yield from sample.rows()


class _Sample:
    """A sample in the making.

    Attributes:
        number: Its 1-based place among the samples.
        key: Names of its members up to the first dot.
    """

    def __init__(self, number: int, stem: str, key: str) -> None:
        self.number = number
        self._stem = stem
        self.key = key
        self._row: str | None = None
        self._text: bytes | None = None
        self._media: list[tuple[str, MediaRef]] = []
        self._unknown: list[str] = []

    @property
    def name(self) -> str:
        """The name of its row, or of its first member."""
        return self._row or self._stem

    @property
    def size(self) -> int:
        """Bytes of its text."""
        return len(self._text or b"")

    @property
    def is_whole(self) -> bool:
        """Whether row and media are there; there may be more media to come."""
        return self._text is not None and bool(self._media)

    def takes(self, stem: str, key: str) -> bool:
        """Whether a member of this name is one of it."""
        if key != self.key:
            return False
        return self._row is None or _begins(self._row, stem) or _begins(stem, self._row)

    def is_related(self, stem: str) -> bool:
        """Whether a member of this name is one of it, though others came between."""
        return _begins(self.name, stem) or _begins(stem, self.name)

    def take_strange(self) -> list[tuple[str, MediaRef]]:
        """Media that came before the row and are not its own, taken out."""
        row = self._row or ""
        strange = [one for one in self._media if not _begins(row, one[0])]
        self._media = [one for one in self._media if _begins(row, one[0])]
        return strange

    def add(self, name: str, stem: str, found: MediaRef | bytes | None) -> None:
        """Take a member."""
        if isinstance(found, MediaRef):
            self._media.append((stem, found))
        elif found is not None:
            # Beside a.json there may be an a.meta.json, which is no row.
            if self._row is None or len(stem) < len(self._row):
                self._row, self._text = stem, found
        elif name.rpartition(".")[2].lower() not in _TEXTS:
            self._unknown.append(name.rpartition("/")[2])

    def rows(self) -> Iterator[RawRow]:
        """The row, or why there is none; and a fault for media that are not its own."""
        media = tuple(ref for _, ref in self._media)
        shows = f"its member {self._unknown[0]}" if self._unknown and not media else ""
        if self._text is None or self._row is None:
            yield RawRow(
                self.number,
                None,
                media,
                "invalid-row",
                "the sample has no .json member with its row",
            )
            return
        found = object_row(self.number, self._text, media)
        yield RawRow(self.number, found.content, media, found.reason, found.message, shows)


def _begins(short: str, long: str) -> bool:
    """Whether a name is another one, or that and a dot and more."""
    return long == short or long.startswith(f"{short}.")


def _stem(path: str) -> str:
    """A path without the last end of its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _key(path: str) -> str:
    """A path up to the first dot of its name: what WebDataset calls a sample by."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"
