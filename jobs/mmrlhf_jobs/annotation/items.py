"""Items of a tool's export, which is one JSON array and may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmrlhf_jobs.data.json_arrays import split_array
from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.plain_bytes import read_plain
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions, locate

__all__ = ["stream_items"]


def stream_items(uri: str, *, storage: StorageOptions | None = None) -> Iterator[Any]:
    """Read the items of a JSON array one by one.

    Raises:
        DataError: The file is no JSON array, or an item is no object.
        StorageError: The store does not answer.
    """
    location = locate(uri, storage)
    for number, item in enumerate(split_array(read_plain(location, uri), uri), 1):
        try:
            yield parse_object(item)
        except UnreadableRowError as error:
            raise DataError(str(error), file=uri, row=number) from None
