"""Items of a tool's export, which is one JSON array and may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mmrlhf_jobs.annotation.answers import AnsweredTask
from mmrlhf_jobs.data.json_arrays import split_array
from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.plain_bytes import read_plain
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.storage.uris import StorageOptions, locate

__all__ = ["read_each", "read_items", "stream_items"]

# What values of other types and forms make a reader raise; int() refuses 5,000 digits by the last.
_STRANGE: Final = (KeyError, TypeError, IndexError, AttributeError, ValueError)


def read_items(
    uri: str,
    read: Callable[[Any], AnsweredTask],
    *,
    known_by: str,
    storage: StorageOptions | None = None,
) -> Iterator[AnsweredTask | RowFault]:
    """Read the items of an export as tasks; one that is none is given as the fault that it is.

    Args:
        uri: The export.
        read: Makes a task of an item; what it raises is the fault of the item.
        known_by: What an item should be, and how to get it.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is no JSON array.
        StorageError: The store does not answer.
    """
    yield from read_each(stream_items(uri, storage=storage), uri, read, known_by=known_by)


def read_each(
    items: Iterable[Any | RowFault],
    uri: str,
    read: Callable[[Any], AnsweredTask],
    *,
    known_by: str,
) -> Iterator[AnsweredTask | RowFault]:
    """Make tasks of items; see `read_items`.

    Args:
        items: Items, and the faults of those that are none.
        uri: Where they come from.
        read: Makes a task of an item; what it raises is the fault of the item.
        known_by: What an item should be, and how to get it.
    """
    for place, item in enumerate(items, 1):
        if isinstance(item, RowFault):
            yield item
            continue
        try:
            yield read(item)
        except _STRANGE as error:
            yield RowFault(
                f"is no {known_by.replace('; ', f' ({type(error).__name__}: {error}); ', 1)}",
                kind="unreadable-row",
                file=uri,
                row=place,
            )


def stream_items(uri: str, *, storage: StorageOptions | None = None) -> Iterator[Any | RowFault]:
    """Read the items of a JSON array one by one; an item that is no object is given as a fault.

    Raises:
        DataError: The file is no JSON array.
        StorageError: The store does not answer.
    """
    location = locate(uri, storage)
    for number, item in enumerate(split_array(read_plain(location, uri), uri), 1):
        try:
            yield parse_object(item)
        except UnreadableRowError as error:
            yield RowFault(str(error), kind="unreadable-row", file=uri, row=number)
