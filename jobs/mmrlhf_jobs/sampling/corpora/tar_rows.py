"""Samples of WebDataset tar shards: members that share a name up to its first dot.

A sample has one ``.json`` member, a row of the same shapes as elsewhere, and its media. Media are
known by where they lie in the shard and are not read here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, Final, Self

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

_ATTRIBUTES: Final = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAX_ATTRIBUTES: Final = 2**20
"""Bytes of a long name or of extended attributes, which tarfile reads as a whole."""


def read_tar(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Samples of a tar shard, in its order.

    Raises:
        DataError: The file is no tar file, is cut off, or has members that lead nowhere.
    """
    number, key = 0, None
    sample = _Sample()
    try:
        with (
            storage_errors(split.uri, "read"),
            split.location.fs.open(split.location.path, "rb") as handle,
            tarfile.open(fileobj=handle, mode="r:", tarinfo=_Member) as shard,
        ):
            for member in _onwards(shard):
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
    except (tarfile.TarError, ValueError, RecursionError) as error:
        # tarfile lets through what is wrong with numbers in attributes, and endless attributes.
        raise DataError(
            f"not a readable tar file: {error}; it is cut off or damaged", file=split.uri
        ) from error
    if key is not None:
        yield sample.row(number + 1)


class _Member(tarfile.TarInfo):
    """A header that leads onwards: tarfile itself goes back over a negative size, for ever."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header.

        Raises:
            tarfile.ReadError: Its size is negative, or it is a name or a list of attributes that
                would fill the memory.
        """
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _ATTRIBUTES and member.size > _MAX_ATTRIBUTES):
            raise tarfile.ReadError(f"a header says that {member.size} bytes follow")
        return member


def _onwards(shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a shard, each behind the one before.

    Raises:
        tarfile.ReadError: One is not.
    """
    end = 0
    while True:
        member = shard.next()
        shard.members = []  # type: ignore[attr-defined]  # else it keeps them all
        if member is None:
            return
        if member.size < 0 or shard.offset <= end:
            raise tarfile.ReadError(f"member {member.name!r} has {member.size} bytes")
        end = shard.offset
        yield member


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
