"""Files that are one JSON array, element by element, without reading them as a whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Final

from mmrlhf_jobs.errors import DataError

__all__ = ["MAX_ROW_BYTES", "split_array"]

MAX_ROW_BYTES: Final = 64 << 20
"""A longer row is no record, but some other file taken for one."""

_SPACE: Final = " \t\r\n"
_ONE_LINE: Final = str.maketrans("\r\n", "  ")


def split_array(chunks: Iterable[bytes], uri: str) -> Iterator[bytes]:
    """The elements of an array, each as one line of JSON without its end.

    Bytes that are not UTF-8 spoil their own element alone. That is why this is not ijson: it ends
    at the first such byte, and everything after it would be lost.

    Args:
        chunks: The file, in pieces of any size.
        uri: Of the file, for messages.

    Raises:
        DataError: The file is not one JSON array; with the row where that shows.
    """
    decoder = json.JSONDecoder()
    text = _Text(chunks)
    number = 0

    def fail(message: str) -> DataError:
        return DataError(message, file=uri, row=number + 1)

    if text.next() != "[":
        raise fail("the file is no JSON array; set format if it is something else")
    text.position += 1
    ended = text.next() == "]"
    while not ended:
        text.next()
        try:
            _, stop = decoder.raw_decode(text.buffer, text.position)
        except json.JSONDecodeError as error:
            if text.ahead <= MAX_ROW_BYTES and text.more():
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
        # Ends of lines stand between the parts of an element; in its texts they are escaped.
        yield raw.translate(_ONE_LINE).encode("utf-8", "surrogateescape")
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

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.buffer = ""
        self.position = 0
        self._texts = _decoded(chunks)

    @property
    def ahead(self) -> int:
        """Characters from the position to the end of the window."""
        return len(self.buffer) - self.position

    def more(self) -> bool:
        """Move the window on; False at the end of the file."""
        text = next(self._texts, None)
        if text is None:
            return False
        self.buffer = self.buffer[self.position :] + text
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


def _decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    first = True
    for chunk in chunks:
        text = decoder.decode(chunk)
        if text:
            yield text.removeprefix("\ufeff") if first else text
            first = False
    yield decoder.decode(b"", final=True)
