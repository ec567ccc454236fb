"""Sources of records: a file, a folder or a pattern, in JSON or Parquet, at any URI."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.plain_bytes import PACKINGS, packing_of, read_plain
from mmrlhf_jobs.errors import DataError, StorageError
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, parent_uri, storage_errors

__all__ = [
    "DataFile",
    "FileFormat",
    "Source",
    "file_format",
    "holds_lines",
    "is_hidden",
    "list_data_files",
]

FileFormat: TypeAlias = Literal["jsonl", "parquet"]

_SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_SNIFFED_BYTES: Final = 4096
_EXPECTED: Final = f"{', '.join([*_SUFFIXES, '.json'])} (JSON also with {', '.join(PACKINGS)})"


@dataclass(frozen=True)
class Source:
    """Where records are.

    Attributes:
        uri: A file, a folder (its ``*.jsonl``, ``*.ndjson`` and ``*.parquet``, or its ``*.json``
            where there are none of these; not those of folders below), or a pattern with ``*``.
            Files are taken in the order of their names, hidden ones left out.
        format: Format of all files; ``auto`` goes by each file's name. JSON may be compressed,
            which the name tells, and ``.json`` may be one array or lines.
        media_root: Folder that relative media URIs start from; None: that of the data files.
        storage: Where the object store is, for ``s3://``.
        allowed_media_roots: Other folders that media may be in.
    """

    uri: str
    format: Literal["auto", "jsonl", "parquet"] = "auto"
    media_root: str | None = None
    storage: StorageOptions | None = None
    allowed_media_roots: tuple[str, ...] = ()

    def media_folders(self, files: Sequence[DataFile] = ()) -> MediaFolders:
        """Where its media may be.

        Args:
            files: Its files, if they are known; they are looked for otherwise.

        Raises:
            DataError: There are none.
        """
        root = self.media_root or (files or list_data_files(self))[0].folder
        return MediaFolders(root, self.allowed_media_roots)


@dataclass(frozen=True)
class DataFile:
    """One file of a source.

    Attributes:
        uri: For messages and for opening.
        name: Without its folder.
        format: How to read it.
        size: Bytes.
        location: Resolved URI.
        is_array: Whether its JSON is one array rather than lines.
    """

    uri: str
    name: str
    format: FileFormat
    size: int
    location: Location
    is_array: bool = False

    @property
    def folder(self) -> str:
        """URI of the folder that it is in."""
        return parent_uri(self.uri)


def file_format(uri: str) -> FileFormat | None:
    """Format that the name of a file to write tells, or None."""
    return next((kind for end, kind in _SUFFIXES.items() if uri.lower().endswith(end)), None)


def is_hidden(name: str) -> bool:
    """Whether a name is that of no data: ``.name``, and what macOS adds to others' (``._name``)."""
    return name.rpartition("/")[2].startswith(".") or "__MACOSX" in name.split("/")


def holds_lines(location: Location, uri: str) -> bool:
    """Whether a file of JSON is lines of objects rather than one array, by its first character.

    Raises:
        DataError: It is compressed, and damaged.
        StorageError: The store does not answer.
    """
    head = next(read_plain(location, uri, size=_SNIFFED_BYTES), b"")
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"


def list_data_files(
    source: Source, leave_out: Callable[[str], None] | None = None
) -> tuple[DataFile, ...]:
    """Find the files of a source, sorted by name.

    Args:
        source: The source.
        leave_out: Told the names of hidden files, which are left out.

    Raises:
        DataError: There is none, or the format of one is not known.
        StorageError: The store does not answer.
    """
    location = locate(source.uri, source.storage)
    files = []
    for info in sorted(_find(source, location), key=lambda info: str(info["name"])):
        path = str(info["name"])
        name = path.rpartition("/")[2]
        if path != location.path and is_hidden(name):
            if leave_out is not None:
                leave_out(name)
            continue
        uri = path if location.is_local else location.fs.unstrip_protocol(path)
        place = Location(uri, location.fs, path)
        kind = _read_format(path) if source.format == "auto" else source.format
        if kind is None:
            raise DataError(
                f"the format is not known by the name; expected one of {_EXPECTED}, or set format",
                file=uri,
            )
        if kind == "parquet" and packing_of(path):
            raise DataError("compressed Parquet files are not read; unpack it", file=uri)
        array = kind == "jsonl" and _is_json(path) and not holds_lines(place, uri)
        files.append(DataFile(uri, name, kind, int(info["size"]), place, array))
    if not files:
        raise DataError(
            f"no data files are there; expected files named {_EXPECTED}", file=source.uri
        )
    return tuple(files)


def _is_json(path: str) -> bool:
    return path.lower().removesuffix(packing_of(path)).endswith(".json")


def _read_format(path: str) -> FileFormat | None:
    """Format that the name of a file to read tells, or None."""
    plain = path.lower().removesuffix(packing_of(path))
    return "jsonl" if plain.endswith(".json") else file_format(plain)


def _find(source: Source, location: Location) -> list[dict[str, Any]]:
    """All files, hidden ones included."""
    fs = location.fs
    try:
        with storage_errors(source.uri, "read"):
            if "*" in location.path:
                found = fs.glob(location.path, detail=True).values()
                return [info for info in found if info["type"] == "file"]
            info = fs.info(location.path)
            if info["type"] == "file":
                return [info]
            entries = [one for one in fs.ls(location.path, detail=True) if one["type"] == "file"]
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(
                "no such file or folder; check the data URI", file=source.uri
            ) from error
        raise
    known = [info for info in entries if _read_format(str(info["name"])) is not None]
    # Other things of JSON may lie beside the rows: statistics, a manifest.
    rows = [info for info in known if not _is_json(str(info["name"]))]
    return rows if any(not is_hidden(str(info["name"])) for info in rows) else known
