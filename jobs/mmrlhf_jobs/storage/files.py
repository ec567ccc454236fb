"""Single files at a URI that appear whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmrlhf_jobs.storage.folders import hidden, sync_file, sync_folder
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["new_file", "write_json"]


@contextmanager
def new_file(uri: str, options: StorageOptions | None = None) -> Iterator[Path]:
    """Write a file locally, and put it at a URI when the block ends without an error.

    Args:
        uri: Final place; a file that is there is replaced at once.
        options: Where the object store is, for ``s3://``.

    Yields:
        Path of a local file to create. On a local file system it lies beside the final one.

    Raises:
        StorageError: The disk is full or the store fails; nothing is left behind.
        InputError: The place may not be written.
    """
    location = locate(uri, options)
    with storage_errors(uri, "write"):
        if not location.is_local:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "file"
                yield path
                location.fs.put_file(str(path), location.path)
            return
        final = Path(location.path)
        final.parent.mkdir(parents=True, exist_ok=True)
        arriving = hidden(final)
        try:
            yield arriving
            with arriving.open("rb+") as file:
                sync_file(file)
            arriving.replace(final)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise
        sync_folder(final.parent)


def write_json(uri: str, content: Mapping[str, Any], options: StorageOptions | None = None) -> None:
    """Write JSON for people and programs; see `new_file`.

    Raises:
        ValueError: A number is not finite, which JSON does not know.
    """
    with new_file(uri, options) as path:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
