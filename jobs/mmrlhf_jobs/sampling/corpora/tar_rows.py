"""Samples of WebDataset tar shards: members that share a name up to its first dot.

A sample has one ``.json`` member, a row of the same shapes as elsewhere, and its media. Media are
known by where they lie in the shard and are not read here. Shards of others are not always so tidy:

- Names with dots in them (``img.v2.0001.jpg``): a sample ends as soon as a name comes that the name
  of its row does not begin.
- Members of a sample that are not side by side: samples that lack their row or their media are held
  back until the rest comes, as far as memory allows.
- Hidden members, such as the ``._name`` that macOS adds, are left out and counted.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, Any, Final, Self

from mmrlhf_jobs.data.jsonl import MAX_LINE_BYTES
from mmrlhf_jobs.data.sources import is_hidden
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MEDIA_KINDS, MediaRef
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.sampling.corpora.tar_samples import Samples
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["read_tar"]

_ATTRIBUTES: Final = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAX_ATTRIBUTES: Final = 2**20
"""Bytes of a long name or of extended attributes, which tarfile reads as a whole."""

_SHOWN: Final = 200
_PIECE: Final = 1 << 20


def read_tar(split: Split, digest: Any) -> Iterator[RawRow]:  # noqa: ANN401 - hashlib names no type
    """Samples of a tar shard; whole ones in its order, and those that are not at last.

    Raises:
        DataError: The file is no tar file, is cut off, or has members that lead nowhere.
    """
    samples = Samples()
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
                if is_hidden(member.name):
                    yield RawRow(0, None, (), "hidden-member", f"{member.name} is hidden")
                    continue
                found = _member(split, shard, member)
                if isinstance(found, bytes):
                    digest.update(found)
                yield from samples.add(member.name, found)
            if split.fingerprint.size < shard.offset:
                raise tarfile.ReadError("unexpected end of data")
            _check_end(handle, shard.offset)
    except (tarfile.TarError, ValueError, RecursionError) as error:
        # tarfile lets through what is wrong with numbers in attributes, and endless attributes.
        raise DataError(
            f"not a readable tar file: {str(error)[:_SHOWN]}; it is cut off or damaged",
            file=split.uri,
        ) from error
    yield from samples.rest()


def _member(
    split: Split, shard: tarfile.TarFile, member: tarfile.TarInfo
) -> MediaRef | bytes | None:
    """A medium, the text of a row, or None for what is neither."""
    kind = MEDIA_KINDS.get(member.name.lower().rpartition(".")[2])
    if kind is not None:
        return MediaRef(
            split.uri,
            member=member.name,
            offset=member.offset_data,
            size=member.size,
            kind=kind,
        )
    if not member.name.lower().endswith(".json") or member.size > MAX_LINE_BYTES:
        return None
    file = shard.extractfile(member)
    assert file is not None
    return file.read()


def _check_end(handle: IO[bytes], at: int) -> None:
    """Check that nothing stands behind the last member: what does would be lost.

    Raises:
        tarfile.ReadError: Something does.
    """
    handle.seek(at)
    while chunk := handle.read(_PIECE):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError(
                "something stands behind the end of the archive, such as another archive"
            )


class _Member(tarfile.TarInfo):
    """A header that leads onwards: tarfile itself goes back over a negative size, for ever."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header.

        Raises:
            tarfile.ReadError: It is cut off or damaged, at which tarfile itself ends without a
                word; its size is negative, or it is a name or a list of attributes that would fill
                the memory.
        """
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error
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
