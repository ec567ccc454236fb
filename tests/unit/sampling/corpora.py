"""Small corpora in every format, for tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.sampling.corpora.drops import Drop
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow
from mmrlhf_jobs.sampling.corpora.reading import READERS
from mmrlhf_jobs.sampling.corpora.rows import Row, RowSettings, cut_rows
from mmrlhf_jobs.sampling.corpora.sources import Corpus, Split, list_splits

__all__ = ["cut", "llava", "raw", "split_of", "write_lines", "write_parquet", "write_tar"]


class NoDigest:
    """Takes the place of a ``hashlib`` object."""

    def update(self, content: bytes) -> None:
        """Take bytes."""
        assert isinstance(content, bytes)


def llava(name: str, *turns: str, image: object = "a.png", **more: object) -> dict[str, Any]:
    """A row as LLaVA writes it; sides alternate, the human first."""
    said = [
        {"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(turns)
    ]
    row = {"id": name, "image": image, "conversations": said, **more}
    return {key: value for key, value in row.items() if value is not None}


def write_lines(path: Path, rows: Iterable[Mapping[str, Any] | bytes]) -> Path:
    """Write JSONL; bytes go in as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def write_parquet(
    path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None, group: int = 3
) -> Path:
    """Write Parquet in small row groups."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=group)
    return path


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a shard."""
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def split_of(path: Path, **settings: Any) -> Split:
    """The one split of a corpus of one file."""
    (split,) = list_splits([Corpus("corpus", str(path), **settings)])
    return split


def raw(path: Path, **settings: Any) -> list[RawRow]:
    """Rows as the file holds them."""
    split = split_of(path, **settings)
    return list(READERS[split.format](split, NoDigest()))


def cut(
    path: Path, rows: RowSettings | None = None, **settings: Any
) -> tuple[list[Row], list[Drop]]:
    """Candidates and drops of a file."""
    split = split_of(path, **settings)
    found = [
        each
        for one in READERS[split.format](split, NoDigest())
        for each in cut_rows(split, one, rows or RowSettings())
    ]
    return (
        [each for each in found if isinstance(each, Row)],
        [each for each in found if isinstance(each, Drop)],
    )
