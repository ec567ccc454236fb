"""Samples of WebDataset tar shards: members that share a name up to its first dot.

A sample has one ``.json`` member, a row of the same shapes as elsewhere, and its media. Media are
known by where they lie in the shard and are not read here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, Final

from mmrlhf_jobs.data.jsonl import MAX_LINE_BYTES
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MediaKind, MediaRef
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow, parse_object
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["read_tar"]

_KINDS: Final[dict[str, MediaKind]] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"), "image"),
    **dict.fromkeys(("mp4", "webm", "mkv", "avi", "mov", "m4v", "mpg", "mpeg"), "video"),
}


def read_tar(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Samples of a tar shard, in its order.

    Raises:
        DataError: The file is no tar file, or is cut off.
    """
    number, key = 0, None
    sample = _Sample()
    try:
        with (
            storage_errors(split.uri, "read"),
            split.location.fs.open(split.location.path, "rb") as handle,
            tarfile.open(fileobj=handle, mode="r:") as shard,
        ):
            for member in shard:
                shard.members = []  # type: ignore[attr-defined]  # else it keeps them all
                if not member.isreg():
                    continue
                digest.update(f"{member.name}\0{member.size}\n".encode(errors="replace"))
                name, ending = _name_and_ending(member.name)
                if name != key and key is not None:
                    number += 1
                    yield sample.row(number)
                    sample = _Sample()
                key = name
                kind = _KINDS.get(ending.rpartition(".")[2])
                if kind is not None:
                    sample.media.append(
                        MediaRef(
                            split.uri,
                            member=member.name,
                            offset=member.offset_data,
                            size=member.size,
                            kind=kind,
                        )
                    )
                elif ending == "json" and member.size <= MAX_LINE_BYTES:
                    file = shard.extractfile(member)
                    assert file is not None
                    sample.text = file.read()
                    digest.update(sample.text)
            if split.fingerprint.size < shard.offset:
                raise tarfile.ReadError("unexpected end of data")
    except tarfile.TarError as error:
        raise DataError(
            f"not a readable tar file: {error}; it is cut off or damaged", file=split.uri
        ) from error
    if key is not None:
        yield sample.row(number + 1)


class _Sample:
    """A sample in the making."""

    def __init__(self) -> None:
        self.text: bytes | None = None
        self.media: list[MediaRef] = []

    def row(self, number: int) -> RawRow:
        media = tuple(self.media)
        if self.text is None:
            return RawRow(
                number, None, media, "invalid-row", "the sample has no .json member with its row"
            )
        return parse_object(number, self.text, media)


def _name_and_ending(path: str) -> tuple[str, str]:
    folder, slash, name = path.rpartition("/")
    stem, _, ending = name.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()
