"""Items of a tool's export, which is one JSON array and may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ijson

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["stream_items"]


def stream_items(uri: str, *, storage: StorageOptions | None = None) -> Iterator[Any]:
    """Read the items of a JSON array one by one.

    Raises:
        DataError: The file is no JSON.
        StorageError: The store does not answer.
    """
    location = locate(uri, storage)
    with storage_errors(uri, "read"), location.fs.open(location.path, "rb") as file:
        try:
            yield from ijson.items(file, "item", use_float=True)
        except ijson.JSONError as error:
            raise DataError(f"is not valid JSON: {error}", file=uri) from error
