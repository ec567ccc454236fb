"""Ranked responses, validated and read one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.report import ValidationReport
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Dataset", "pairs_of"]


@dataclass(frozen=True)
class Dataset:
    """A data set of ranked responses (``RankedResponse/v1``) that was checked row by row.

    Attributes:
        records: Its valid records, in blocks that are read when they are asked for.
        report: What the check found: counts by category, and the rows that are invalid.
        storage: How to reach an object store.
    """

    records: RankedDataset
    report: ValidationReport
    storage: StorageOptions | None = None

    @classmethod
    def open(
        cls,
        uri: str | Path,
        *,
        format: Literal["auto", "jsonl", "parquet"] = "auto",  # noqa: A002 - the field's name
        media_root: str | None = None,
        max_invalid_fraction: float = 0.0,
        storage: StorageOptions | None = None,
        allowed_media_roots: Sequence[str] = (),
    ) -> Dataset:
        """Check a data set and open it.

        Args:
            uri: A file, a folder or a pattern with ``*``; a path, ``file://`` or ``s3://``.
            format: Format of the files; ``auto`` goes by their names.
            media_root: Folder that relative media URIs start from; None is that of the files.
            max_invalid_fraction: Share of rows that may be invalid and are left out then.
            storage: How to reach an object store.
            allowed_media_roots: Other folders that media may be in.

        Raises:
            DataError: More rows are invalid, a file cannot be read, or there is no valid row; names
                files, rows and fields.
            StorageError: The store does not answer.
        """
        source = Source(
            uri=str(uri),
            format=format,
            media_root=media_root,
            storage=storage,
            allowed_media_roots=tuple(allowed_media_roots),
        )
        index, report = scan(source)
        report.check(max_invalid_fraction)
        return cls(RankedDataset.open(source, index=index), report, storage)

    def __len__(self) -> int:
        """Number of valid records."""
        return self.records.num_records

    def __iter__(self) -> Iterator[RankedResponse]:
        """All records, each once, in an order that is always the same."""
        return self.records.share()

    @property
    def media_root(self) -> str:
        """Folder that relative media URIs start from."""
        return self.records.media_root

    def batches(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0
    ) -> Iterator[list[RankedResponse]]:
        """The batches of an epoch, in the order in which a job trains on them.

        Args:
            batch_size: Records of a batch; the last one may have fewer.
            seed: Seed of the order.
            epoch: Number of the epoch, from 0; each has an order of its own.
            start: Number of the first batch.
        """
        return self.records.batches(seed=seed, epoch=epoch, batch_size=batch_size, start=start)


def pairs_of(record: RankedResponse) -> tuple[Pair, ...]:
    """All pairs of a record as indices (chosen, rejected) into its responses; ties form none."""
    return form_pairs(record.ranks, "all")
