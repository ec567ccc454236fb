"""The file format of side-cars: Parquet with the identity in the schema's metadata.

Columns: ``key`` (32 raw bytes), ``value`` (float64), and ``record_id``, ``response_id`` and maybe
``critique`` for people and messages. The metadata key ``mmrlhf.sidecar`` holds JSON:
``{"version": 1, "identity": {...}}``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.errors import SidecarError, StorageError
from mmrlhf_jobs.scores.keys import KEY_BYTES, SidecarIdentity
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["KeyArray", "ValueArray", "describe", "key_array", "open_file", "schema"]

KeyArray = npt.NDArray[np.bytes_]
"""Keys, S32[N]."""

ValueArray = npt.NDArray[np.float64]
"""Values, float64[N]."""

_METADATA: Final = b"mmrlhf.sidecar"
_COLUMNS: Final = [
    ("key", pa.binary(KEY_BYTES)),
    ("value", pa.float64()),
    ("record_id", pa.string()),
    ("response_id", pa.string()),
]
_CRITIQUE: Final = ("critique", pa.string())
"""Text that a reward was read after; files without the column are fine."""


def schema(identity: SidecarIdentity) -> pa.Schema:
    """Arrow schema of a side-car with this identity."""
    content = json.dumps({"version": 1, "identity": asdict(identity)}, sort_keys=True)
    return pa.schema([*_COLUMNS, _CRITIQUE], metadata={_METADATA: content.encode()})


def open_file(uri: str, storage: StorageOptions | None) -> tuple[pq.ParquetFile, SidecarIdentity]:
    """Open a side-car and read its identity.

    Returns:
        The open file, for the caller to close, and its identity.

    Raises:
        SidecarError: It does not exist, is no Parquet file or no side-car.
    """
    location = locate(uri, storage)
    try:
        with storage_errors(uri, "read"):
            file = pq.ParquetFile(location.fs.open(location.path, "rb"))
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise SidecarError(f"{uri}: there is no side-car file; check the URI") from error
        raise
    except pa.ArrowException as error:
        raise SidecarError(f"{uri}: not a readable Parquet file: {error}") from error
    try:
        return file, _identity(file.schema_arrow, uri)
    except SidecarError:
        file.close()
        raise


def _identity(found: pa.Schema, uri: str) -> SidecarIdentity:
    raw = (found.metadata or {}).get(_METADATA)
    if raw is None:
        raise SidecarError(
            f"{uri}: a Parquet file, but no side-car of mmrlhf: its metadata does not say what the"
            " values belong to"
        )
    try:
        content = json.loads(raw)
        version = content["version"]
        # Of other versions nothing but that is known.
        identity = content["identity"] if version == 1 else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SidecarError(
            f"{uri}: its metadata does not say what the values belong to: {error!r}; make it anew"
        ) from error
    if version != 1:
        raise SidecarError(f"{uri}: version {version!r} is not supported; expected 1")
    columns = [(field.name, field.type) for field in found]
    if columns not in (_COLUMNS, [*_COLUMNS, _CRITIQUE]):
        raise SidecarError(f"{uri}: its columns are {columns}; expected {_COLUMNS}")
    return SidecarIdentity.from_json(identity, uri)


def key_array(column: pa.Array | pa.ChunkedArray) -> KeyArray:
    """Keys of an Arrow column as S32[N].

    NumPy strips trailing zero bytes of single items, but compares and sorts arrays of equally long
    items by all their bytes.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    raw = np.frombuffer(array.buffers()[1], dtype=f"S{KEY_BYTES}")
    keys: KeyArray = raw[array.offset : array.offset + len(array)]
    return keys


def describe(record_id: str | None, response_id: str | None) -> str:
    """Name of a response in messages."""
    return f"record {record_id!r}, response {response_id!r}"
