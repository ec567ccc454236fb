"""Rows as the files hold them, in a form that all formats share; those of JSON are read here.

Each reader yields rows in the order of the file, and for each either what it holds or why it cannot
be read. Memory is that of one row, one block of lines, or the text columns of some Parquet rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.data import jsonl
from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.sources import DataFile
from mmrlhf_jobs.sampling.corpora.media import MediaRef
from mmrlhf_jobs.sampling.corpora.sources import Split

__all__ = ["RawRow", "RowReader", "object_row", "read_json"]


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row.

    Attributes:
        number: 1-based place in the file.
        content: What it holds; None: it cannot be read.
        media: Media that lie in the file itself, in order.
        reason: Why it cannot be read.
        message: The same for people.
        shows: What shows that it has a medium, where the file tells and none can be read of it.
    """

    number: int
    content: Mapping[str, Any] | None
    media: tuple[MediaRef, ...] = ()
    reason: str = ""
    message: str = ""
    shows: str = ""


RowReader = Callable[[Split, Any], Iterator[RawRow]]
"""Reads a split and feeds a ``hashlib`` object: with all bytes of JSON files, with what is read of
others, whose media have digests of their own."""


def read_json(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Rows of a file of JSON, lines or one array; blank lines are passed over.

    Raises:
        DataError: A line is too long to be one, or the array is broken.
    """
    array = split.format == "llava"
    size = split.fingerprint.size
    file = DataFile(split.uri, split.relative, "jsonl", size, split.location, array)
    for number, line in jsonl.read_lines(file, digest):
        yield object_row(number, line)


def object_row(number: int, content: bytes, media: tuple[MediaRef, ...] = ()) -> RawRow:
    """A row from the bytes of one JSON object."""
    try:
        return RawRow(number, parse_object(content), media)
    except UnreadableRowError as error:
        return RawRow(number, None, media, error.reason, str(error))
