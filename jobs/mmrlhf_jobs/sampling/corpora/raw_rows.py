"""Rows as the files hold them: one reader a format, all streaming.

Each yields rows in the order of the file, and for each either what it holds or why it cannot be
read. Memory is that of one row, one block of lines, or the text columns of some Parquet rows.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.data.jsonl import MAX_LINE_BYTES, scan_blocks
from mmrlhf_jobs.data.sources import DataFile
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MediaRef
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["RawRow", "RowReader", "parse_object", "read_array", "read_lines"]

_CHUNK_BYTES: Final = 1 << 20
_SPACE: Final = " \t\r\n"


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row.

    Attributes:
        number: 1-based place in the file.
        content: What it holds; None: it cannot be read.
        media: Media that lie in the file itself, in order.
        reason: Why it cannot be read.
        message: The same for people.
    """

    number: int
    content: Mapping[str, Any] | None
    media: tuple[MediaRef, ...] = ()
    reason: str = ""
    message: str = ""


RowReader = Callable[[Split, Any], Iterator[RawRow]]
"""Reads a split and feeds a ``hashlib`` object: with all bytes of JSON files, with what is read of
others, whose media have digests of their own."""


def read_lines(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Rows of a JSONL file; blank lines are passed over.

    Raises:
        DataError: A line is too long to be one of JSONL.
    """
    file = DataFile(split.uri, split.relative, "jsonl", split.fingerprint.size, split.location)
    number = 0
    for block in scan_blocks(file, digest):
        for line in block.rows:
            number += 1
            assert isinstance(line, bytes)
            plain = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if plain.strip():
                yield parse_object(number, plain)


def read_array(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Rows of a file that is one JSON array, without reading it as a whole.

    Bytes that are not UTF-8 spoil their own row alone. That is why this is not ijson, as in
    ``annotation/items.py``: it ends at the first such byte, and everything after it would be lost.

    Raises:
        DataError: The file is not one JSON array; with the row where that shows.
    """
    decoder = json.JSONDecoder()
    text = _Text(split, digest)
    number = 0

    def fail(message: str) -> DataError:
        return DataError(message, file=split.uri, row=number + 1)

    if text.next() != "[":
        raise fail("the file is no JSON array; set format if it is something else")
    text.position += 1
    ended = text.next() == "]"
    while not ended:
        text.next()
        try:
            content, stop = decoder.raw_decode(text.buffer, text.position)
        except json.JSONDecodeError as error:
            if text.ahead <= MAX_LINE_BYTES and text.more():
                continue
            raise fail(f"the array is broken or cut off here: {error.msg}") from None
        except RecursionError:
            raise fail("the row is nested too deeply") from None
        except ValueError as error:  # an integer of more than 4,300 digits
            raise fail(f"the row cannot be read: {error}") from None
        if stop == len(text.buffer) and text.more():
            continue  # a number may go on
        raw, text.position = text.buffer[text.position : stop], stop
        number += 1
        yield _checked(number, raw, content)
        match text.next():
            case ",":
                text.position += 1
            case "]":
                ended = True
            case other:
                raise fail(f"expected a comma or the end of the array, found {other or 'the end'}")
    text.position += 1
    if text.next():
        raise fail("something follows the end of the array")


class _Text:
    """A file as text, a window at a time; bytes that are not UTF-8 become lone surrogates."""

    def __init__(self, split: Split, digest: Any) -> None:  # noqa: ANN401 - hashlib names no type
        self.buffer = ""
        self.position = 0
        self._chunks = _chunks(split, digest)

    @property
    def ahead(self) -> int:
        """Characters from the position to the end of the window."""
        return len(self.buffer) - self.position

    def more(self) -> bool:
        """Move the window on; False at the end of the file."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self.buffer = self.buffer[self.position :] + chunk
        self.position = 0
        return True

    def next(self) -> str:
        """Pass over white space; return the character there, empty at the end of the file."""
        while True:
            while self.position < len(self.buffer):
                if (character := self.buffer[self.position]) not in _SPACE:
                    return character
                self.position += 1
            if not self.more():
                return ""


def _chunks(split: Split, digest: Any) -> Iterator[str]:  # noqa: ANN401 - hashlib names no type
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    first = True
    with (
        storage_errors(split.uri, "read"),
        split.location.fs.open(split.location.path, "rb") as file,
    ):
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            text = decoder.decode(chunk)
            yield text.removeprefix("\ufeff") if first else text
            first = False
    yield decoder.decode(b"", final=True)


def parse_object(number: int, content: bytes, media: tuple[MediaRef, ...] = ()) -> RawRow:
    """A row from the bytes of one JSON object."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return RawRow(number, None, media, "not-utf8", f"the row is not UTF-8: {error}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return RawRow(number, None, media, "invalid-json", f"no JSON: {error}")
    return _checked(number, text, value, media)


def _checked(number: int, text: str, value: object, media: tuple[MediaRef, ...] = ()) -> RawRow:
    if not isinstance(value, dict):
        return RawRow(number, None, media, "invalid-row", "the row is no JSON object")
    # A lone surrogate is either a byte that is not UTF-8 or an escape such as \\ud800.
    if "\\ud" in text.lower() or not _is_unicode(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return RawRow(number, None, media, "not-utf8", "the row holds what is not UTF-8")
        except RecursionError:
            return RawRow(number, None, media, "invalid-json", "no JSON: it is nested too deeply")
    return RawRow(number, value, media)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
