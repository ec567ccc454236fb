"""Rows of Parquet files, row group by row group, without reading the media in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.parquet as pq

from mmrlhf_jobs.data.parquet import arrow_errors
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MediaKind, MediaRef
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["read_parquet"]

_BATCH_ROWS: Final = 256
_MEDIA_BATCH_ROWS: Final = 16
_MEDIA: Final[dict[str, MediaKind]] = {
    "image": "image",
    "images": "image",
    "video": "video",
    "videos": "video",
}

_MEDIA_LIKE: Final = re.compile(r"(?i)image|img|photo|picture|video|frame|jpe?g|png")


def read_parquet(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Rows of a Parquet file of any columns.

    Columns named ``image``, ``images``, ``video`` and ``videos`` may hold bytes, ``{bytes, path}``
    as the datasets library writes them, or lists of either. Their bytes are passed over, unless
    only they tell which rows have any. Other columns of bytes are ignored.

    Raises:
        DataError: The file is no Parquet file, is damaged, or has no text.
    """
    with (
        storage_errors(split.uri, "read"),
        split.location.fs.open(split.location.path, "rb") as handle,
        arrow_errors(split.uri),
        pq.ParquetFile(handle) as file,
    ):
        number = 0
        shows = _unread_media(file)
        for group in range(file.num_row_groups):
            for content in _group(file, group, split.uri):
                media = _taken(content, _told(file, group), split.uri, number)
                number += 1
                digest.update(repr((content, media)).encode(errors="replace"))
                yield RawRow(number, content, media, shows="" if media else shows)


@dataclass(frozen=True)
class _Leaf:
    """A column of values.

    Attributes:
        index: Its place in the file.
        path: Its path, such as ``images.list.element.bytes``.
        holds_bytes: Whether it holds bytes rather than text or numbers.
    """

    index: int
    path: str
    holds_bytes: bool

    @property
    def column(self) -> str:
        return self.path.partition(".")[0]


def _leaves(file: pq.ParquetFile) -> list[_Leaf]:
    columns = (file.schema.column(index) for index in range(len(file.schema)))
    return [
        _Leaf(
            index,
            column.path,
            column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
            and column.logical_type.type == "NONE",
        )
        for index, column in enumerate(columns)
    ]


def _unread_media(file: pq.ParquetFile) -> str:
    """What shows that there are media in columns of other names; empty if nothing does."""
    leaves = [leaf for leaf in _leaves(file) if leaf.holds_bytes and leaf.column not in _MEDIA]
    found = next(
        (one for one in leaves if one.path.endswith(".bytes") or _MEDIA_LIKE.search(one.column)),
        None,
    )
    return "" if found is None else f"the column {found.column} of bytes, which is not read"


def _told(file: pq.ParquetFile, group: int) -> frozenset[str]:
    """Columns of media whose bytes every row of a row group has, as its statistics tell."""
    leaves = _leaves(file)
    found = set()
    for leaf in leaves:
        statistics = file.metadata.row_group(group).column(leaf.index).statistics
        full = statistics is not None and statistics.has_null_count and not statistics.null_count
        # How long a list is must be told by another column beside the bytes.
        beside = any(one.column == leaf.column and not one.holds_bytes for one in leaves)
        if leaf.holds_bytes and full and (".list." not in leaf.path or beside):
            found.add(leaf.column)
    return frozenset(found & set(_MEDIA))


def _group(file: pq.ParquetFile, group: int, uri: str) -> Iterator[dict[str, Any]]:
    """Rows of a row group: its texts, and the bytes of media that must be looked at."""
    told = _told(file, group)
    leaves = _leaves(file)
    texts = [leaf.path for leaf in leaves if not leaf.holds_bytes]
    looked_at = [
        leaf.path
        for leaf in leaves
        if leaf.holds_bytes and leaf.column in _MEDIA and leaf.column not in told
    ]
    if not texts:
        raise DataError("has no columns of text", file=uri)
    size = _MEDIA_BATCH_ROWS if looked_at else _BATCH_ROWS
    for batch in file.iter_batches(size, row_groups=[group], columns=[*texts, *looked_at]):
        for row in batch.to_pylist():
            yield {name: value for name, value in row.items() if value is not None}


def _taken(
    content: dict[str, Any], told: frozenset[str], uri: str, row: int
) -> tuple[MediaRef, ...]:
    """Take the media that lie in the file out of a row, and leave the names of other files."""
    found: list[MediaRef] = []
    for name, kind in _MEDIA.items():
        if name not in content and name not in told:
            continue
        value = content.pop(name, None)
        items = value if isinstance(value, list) else [value]
        names = []
        for place, item in enumerate(items):
            path = f"{name}.{place}" if isinstance(value, list) else name
            if isinstance(item, bytes) or (item is None and name in told):
                found.append(MediaRef(uri, column=path, row=row, kind=kind))
            elif isinstance(item, dict) and (name in told or item.get("bytes") is not None):
                found.append(MediaRef(uri, column=f"{path}.bytes", row=row, kind=kind))
            elif isinstance(item, dict):
                names.append(item.get("path"))
            else:
                names.append(item)
        if any(one is not None for one in names):
            content[name] = names
    return tuple(found)
