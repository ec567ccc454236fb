"""Sources of records: a file, a folder or a pattern, in JSONL or Parquet, at any URI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.errors import DataError, StorageError
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, parent_uri, storage_errors

__all__ = ["DataFile", "FileFormat", "Source", "file_format", "list_data_files"]

FileFormat: TypeAlias = Literal["jsonl", "parquet"]

_SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class Source:
    """Where records are.

    Attributes:
        uri: A file, a folder (its ``*.jsonl``, ``*.ndjson`` and ``*.parquet``, not those of
            folders below), or a pattern with ``*``. Files are taken in the order of their names.
        format: Format of all files; ``auto`` goes by each file's name.
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
    """

    uri: str
    name: str
    format: FileFormat
    size: int
    location: Location

    @property
    def folder(self) -> str:
        """URI of the folder that it is in."""
        return parent_uri(self.uri)


def file_format(uri: str) -> FileFormat | None:
    """Format that a file's name tells, or None."""
    return next((kind for end, kind in _SUFFIXES.items() if uri.lower().endswith(end)), None)


def list_data_files(source: Source) -> tuple[DataFile, ...]:
    """Find the files of a source, sorted by name.

    Raises:
        DataError: There is none, or the format of one is not known.
        StorageError: The store does not answer.
    """
    location = locate(source.uri, source.storage)
    try:
        with storage_errors(source.uri, "read"):
            found = _find(location)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(
                "no such file or folder; check the data URI", file=source.uri
            ) from error
        raise
    files = []
    for info in sorted(found, key=lambda info: str(info["name"])):
        path = str(info["name"])
        kind = file_format(path) if source.format == "auto" else source.format
        uri = path if location.is_local else location.fs.unstrip_protocol(path)
        if kind is None:
            raise DataError(
                f"the format is not known by the name; expected one of {', '.join(_SUFFIXES)}"
                " (not compressed), or set format",
                file=uri,
            )
        place = Location(uri, location.fs, path)
        files.append(DataFile(uri, path.rpartition("/")[2], kind, int(info["size"]), place))
    if not files:
        raise DataError(
            f"no data files are there; expected files named {', '.join(_SUFFIXES)}",
            file=source.uri,
        )
    return tuple(files)


def _find(location: Location) -> list[dict[str, Any]]:
    fs = location.fs
    if "*" in location.path:
        found = fs.glob(location.path, detail=True).values()
        return [info for info in found if info["type"] == "file"]
    info = fs.info(location.path)
    if info["type"] == "file":
        return [info]
    entries = fs.ls(location.path, detail=True)
    return [info for info in entries if info["type"] == "file" and file_format(str(info["name"]))]
