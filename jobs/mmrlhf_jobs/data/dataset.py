"""A data set of ranked responses, read in a shuffled order that can be resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmrlhf_jobs.data.blocks import BlockRows
from mmrlhf_jobs.data.index import BlockIndex
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.order import EpochOrder
from mmrlhf_jobs.data.parsing import parse_row
from mmrlhf_jobs.data.readers import READERS
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.report import ValidationReport
from mmrlhf_jobs.data.sources import DataFile, Source, list_data_files
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.errors import DataError

__all__ = ["RankedDataset"]


@dataclass(frozen=True)
class RankedDataset:
    """The valid records of a source.

    Attributes:
        files: Its files.
        index: Where their rows are.
        media_root: Folder that relative media URIs start from.
        report: What the validation found; None when the index was made by another process.
        allowed_media_roots: Other folders that media may be in.
    """

    files: tuple[DataFile, ...]
    index: BlockIndex
    media_root: str
    report: ValidationReport | None
    allowed_media_roots: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        source: Source,
        *,
        max_invalid_fraction: float = 0.0,
        index: BlockIndex | None = None,
    ) -> RankedDataset:
        """Open a source.

        Args:
            source: Where the records are.
            max_invalid_fraction: Share of rows that may be invalid and are left out then.
            index: Index that another process made of the same files; it saves the scan.

        Raises:
            DataError: Too many rows are invalid, a file cannot be read, there is no valid row, or
                the files are not those of the index.
            StorageError: The store does not answer.
        """
        report = None
        if index is None:
            index, report = scan(source)
            report.check(max_invalid_fraction)
        files = list_data_files(source)
        found = [(file.name, file.size) for file in files]
        if found != [(file.name, file.size) for file in index.files]:
            raise DataError("its files changed after they were scanned", file=source.uri)
        folders = source.media_folders(files)
        return cls(files, index, folders.root, report, folders.allowed)

    @property
    def media_folders(self) -> MediaFolders:
        """Where media may be."""
        return MediaFolders(self.media_root, self.allowed_media_roots)

    @property
    def num_records(self) -> int:
        """Number of records, N."""
        return self.index.num_records

    @property
    def digest(self) -> str:
        """Digest of the contents of all files, 64 hexadecimal digits."""
        return self.index.digest

    def num_batches(self, batch_size: int) -> int:
        """Global batches of an epoch; the last one may be incomplete."""
        return -(-self.num_records // batch_size)

    def share(self, *, rank: int = 0, world_size: int = 1) -> Iterator[RankedResponse]:
        """This process's share of all records, each once, in an order that never changes.

        Args:
            rank: This process.
            world_size: Number of processes.

        Raises:
            DataError: A row is not what it was when it was validated.
            StorageError: The store does not answer.
        """
        for records in self.batches(
            seed=0, epoch=0, batch_size=world_size, rank=rank, world_size=world_size
        ):
            yield from records

    def batches(
        self,
        *,
        seed: int,
        epoch: int,
        batch_size: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[list[RankedResponse]]:
        """This process's share of the global batches of an epoch.

        Global batch b holds the positions [b * batch_size, (b + 1) * batch_size) of the epoch's
        order, the same for every number of processes; a process gets the positions p of it with
        ``p % world_size == rank``, and decodes no others. The last batch of an epoch holds what is
        left. A share can be empty; it is given all the same, so that all processes take as many
        steps.

        Args:
            seed: Seed of the run.
            epoch: Number of the epoch.
            batch_size: Records of a global batch.
            start: First global batch to give: the number of those done before.
            rank: This process.
            world_size: Number of processes.

        Yields:
            Records in the order of their positions.

        Raises:
            DataError: A row is not what it was when it was validated.
            StorageError: The store does not answer.
        """
        order = EpochOrder(self.index.usable, self.index.table[:, 3], seed=seed, epoch=epoch)
        position = start * batch_size
        share: list[RankedResponse] = []
        while position < len(order):
            window = order.window_of(position)
            begin = order.window_start(window)
            blocks, rows = order.window_rows(window)
            reader = _WindowReader(self.files, self.index)
            for block, row in zip(
                blocks[position - begin :], rows[position - begin :], strict=True
            ):
                if position % world_size == rank:
                    share.append(reader.record(int(block), int(row)))
                position += 1
                if position % batch_size == 0 or position == len(order):
                    yield share
                    share = []


class _WindowReader:
    """The blocks of one window, each read once when its first row is asked for."""

    def __init__(self, files: Sequence[DataFile], index: BlockIndex) -> None:
        self._files = files
        self._index = index
        self._rows: dict[int, tuple[BlockRows, np.ndarray]] = {}

    def record(self, block: int, row: int) -> RankedResponse:
        """The record that is the given one of a block's usable rows."""
        number, start, stop, _, first_row, _ = map(int, self._index.table[block])
        file = self._files[number]
        if block not in self._rows:
            content = READERS[file.format].read_block(file, start, stop)
            self._rows[block] = content, self._index.usable_rows(block)
        content, usable = self._rows[block]
        place = int(usable[row])
        return parse_row(content.row(place), file=file.uri, row=first_row + place)
