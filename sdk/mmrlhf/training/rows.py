"""What models are asked about: records of a data set, or rows made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from mmrlhf.training.dataset import Dataset
from mmrlhf_jobs.data.media import LoadedMedia, as_loaded, load_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Row", "Rows", "open_rows"]


@dataclass(frozen=True)
class Row:
    """A question with its media and some responses.

    Attributes:
        question: What the model is asked.
        responses: One or more.
        media: Images, or videos as frames.
    """

    question: str
    responses: Sequence[str]
    media: Sequence[Image.Image | LoadedMedia] = ()


Rows: TypeAlias = Dataset | Iterable[RankedResponse | Row]
"""A data set, records of it, or rows made by hand."""


@dataclass(frozen=True)
class OpenRow:
    """A row whose media are in memory.

    Attributes:
        question: What the model is asked.
        responses: One or more.
        media: Images and frames.
    """

    question: str
    responses: list[str]
    media: list[LoadedMedia]


def open_rows(
    rows: Rows, *, media_root: str | None, storage: StorageOptions | None
) -> Iterator[OpenRow]:
    """Open the media of rows, one row after the other.

    Args:
        rows: The rows.
        media_root: Folder that relative media URIs of records start from; None is that of the data
            set, or the record's own file.
        storage: How to reach an object store.

    Raises:
        DataError: A media file is missing or cannot be read.
    """
    allowed: tuple[str, ...] = ()
    if isinstance(rows, Dataset):
        media_root = media_root or rows.media_root
        allowed = rows.records.allowed_media_roots
        storage = storage or rows.storage
    for row in rows:
        if isinstance(row, RankedResponse):
            root = MediaFolders(media_root or _folder_of(row), allowed)
            media = list(load_media(row, root, storage=storage))
            yield OpenRow(row.query.text, [one.text for one in row.responses], media)
        else:
            yield OpenRow(row.question, list(row.responses), [_loaded(one) for one in row.media])


def _loaded(medium: Image.Image | LoadedMedia) -> LoadedMedia:
    return medium if isinstance(medium, LoadedMedia) else as_loaded(medium)


def _folder_of(record: RankedResponse) -> str:
    return (record.location.file or "").rpartition("/")[0]
