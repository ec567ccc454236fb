"""The read stage: a split becomes a part with its candidate rows and its drops.

``rows-<block>.parquet`` hold at most :data:`BLOCK_ROWS` rows each, the unit of the later stages,
so that one large file is still shared among processes. ``drops.parquet`` says what was left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.sampling.corpora.drops import DROPS_SCHEMA, Drop, count_rows
from mmrlhf_jobs.sampling.corpora.parquet_rows import read_parquet
from mmrlhf_jobs.sampling.corpora.raw_rows import RowReader, read_json
from mmrlhf_jobs.sampling.corpora.rows import ROWS_SCHEMA, Row, RowSettings, cut_rows
from mmrlhf_jobs.sampling.corpora.sources import Split, SplitFormat
from mmrlhf_jobs.sampling.corpora.tar_rows import read_tar
from mmrlhf_jobs.sampling.parts import Draft, Part, Parts

__all__ = ["BLOCK_ROWS", "DROPS_FILE", "READERS", "read_rows", "read_split", "rows_key"]

BLOCK_ROWS: Final = 16_384
"""Rows of a block, the unit of embedding and selecting, and what a kill can cost there."""

DROPS_FILE: Final = "drops.parquet"

READERS: Final[Mapping[SplitFormat, RowReader]] = {
    "llava": read_json,
    "jsonl": read_json,
    "parquet": read_parquet,
    "webdataset": read_tar,
}

_VERSION: Final = 4
"""Of the rows that this code makes: parts of another one are made again."""

_GROUP_ROWS: Final = 2_048


def rows_key(split: Split, settings: RowSettings) -> str:
    """Key of a split's part: all that its rows follow from."""
    corpus = asdict(split.corpus) | {"weight": None, "uri": None}
    return digest_of(
        "rows",
        _VERSION,
        corpus,
        split.relative,
        split.media_root,
        split.format,
        asdict(split.fingerprint),
        asdict(settings),
    ).hex()


def rows_file(block: int) -> str:
    """Name of a block's file."""
    return f"rows-{block:05d}.parquet"


def read_split(
    split: Split,
    parts: Parts,
    settings: RowSettings,
    *,
    tell: Callable[[int], None],
) -> Part:
    """Read a split, unless that is done already.

    Args:
        split: The file.
        parts: Those of this stage.
        settings: How rows are cut and typed.
        tell: Told how many rows (turns) were read since the last call.

    Returns:
        A part with the counts ``rows``, ``drop:<reason>``, ``type:<category>``, ``needs-context``
        (rows kept that lean on earlier ones), and the facts ``blocks`` (rows of each block),
        ``uri`` and ``sha256`` (of what was read).

    Raises:
        DataError: The file is not of its format, or was changed meanwhile.
        StorageError: The store or the disk fails.
    """
    key = rows_key(split, settings)
    if (done := parts.find(split.id, key)) is not None:
        tell(count_rows(done.counts))
        return done
    with parts.make(split.id, key) as draft:
        digest = hashlib.sha256()
        with _Files(draft) as files:
            for raw in READERS[split.format](split, digest):
                draft.count("origin-rows")
                for found in cut_rows(split, raw, settings):
                    files.add(found)
                    tell(1)
        split.check_unchanged()
        draft.facts |= {
            "blocks": files.blocks,
            "sha256": digest.hexdigest(),
            "source": split.corpus.name,
            "uri": split.uri,
        }
    return parts.get(split.id, key)


def read_rows(part: Part, block: int) -> Iterator[Row]:
    """The candidates of one block, in the order of the file."""
    with part.table(rows_file(block)) as table:
        for batch in table.iter_batches(_GROUP_ROWS):
            for row in batch.to_pylist():
                yield Row.from_row(row)


class _Files:
    """The Parquet files of a part in the making."""

    def __init__(self, draft: Draft) -> None:
        self.blocks: list[int] = []
        self._draft = draft
        self._rows = _Table(ROWS_SCHEMA)
        self._drops = _Table(DROPS_SCHEMA)
        self._stack = ExitStack()

    def __enter__(self) -> _Files:
        self._stack.callback(self._drops.close)
        self._stack.callback(self._rows.close)
        self._drops.open(self._draft.folder / DROPS_FILE)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, found: Row | Drop) -> None:
        if isinstance(found, Drop):
            self._draft.count(f"drop:{found.reason}")
            self._drops.add({name: getattr(found, name) for name in DROPS_SCHEMA.names})
            return
        if not self.blocks or self.blocks[-1] == BLOCK_ROWS:
            self._rows.close()
            self._rows.open(self._draft.folder / rows_file(len(self.blocks)))
            self.blocks.append(0)
        self.blocks[-1] += 1
        self._draft.count("rows")
        self._draft.count(f"type:{found.category}")
        if found.needs_context:
            self._draft.count("needs-context")
        self._rows.add(found.as_row())


class _Table:
    """A Parquet file that is written row by row."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[dict[str, Any]] = []

    def open(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, row: dict[str, Any]) -> None:
        self._pending.append(row)
        if len(self._pending) == _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self._writer is not None:
            self._flush()
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if self._pending and self._writer is not None:
            self._writer.write_table(pa.Table.from_pylist(self._pending, self._schema))
            self._pending = []
