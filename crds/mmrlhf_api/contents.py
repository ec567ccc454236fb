"""What a URI holds, as one digest: how a record names what a run was made from.

A digest is found in the cheapest way that says what is there, and `Contents.by` says which:

- ``record``: the ``manifest.json`` of the run that made it lists it; nothing is read again;
- ``marker``: it is a whole artifact, by its commit marker ``COMMITTED``;
- ``content``: it was read;
- ``listing``: it is larger than may be read for this; names, sizes and versions stand for it.

Of one file the digest is the SHA-256 of what it holds, of an artifact that of its commit marker,
both as an alias and the list of files in a record have it, so that one is found by the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["MARKER", "READ_BYTES", "RECORD", "By", "Contents", "Found", "find_contents", "find_run"]

By = Literal["record", "marker", "content", "listing"]
RECORD: Final = "manifest.json"
MARKER: Final = "COMMITTED"
READ_BYTES: Final = 2**30
"""What is larger is not read for its digest: the GPUs of a job wait meanwhile."""
_RECORD_BYTES: Final = 64 * 2**20
_ABOVE: Final = 3
"""Folders above a file of a run in which its record is looked for, besides its own."""
_CHUNK: Final = 2**20


@dataclass(frozen=True)
class Contents:
    """What is at a place.

    Attributes:
        digest: SHA-256, 64 hexadecimal digits.
        by: What it was found by.
        files: How many there are.
        bytes: Of all of them together; of an artifact by its marker, of the marker alone.
        run: Path of the folder of the run that made it, if its record lists it.
    """

    digest: str
    by: By
    files: int
    bytes: int
    run: str | None = None


@dataclass(frozen=True)
class Found:
    """A run.

    Attributes:
        folder: Path of its folder.
        manifest: Its record.
    """

    folder: str
    manifest: Mapping[str, Any]


def find_contents(
    fs: Any,  # noqa: ANN401 - fsspec's AbstractFileSystem, which this package does not need
    path: str,
    *,
    deep: bool,
    read_bytes: int = READ_BYTES,
    within: Callable[[str], Found | None] | None = None,
) -> Contents | None:
    """Say what is at a path; None if nothing is there.

    Args:
        fs: A file system of fsspec.
        path: A file, a folder, or a pattern with ``*``.
        deep: Whether a folder counts with those below it, as that of a model does.
        read_bytes: More than these together are not read.
        within: Finds the run that a path is of, by default with `find_run`.

    Raises:
        Exception: Whatever the file system raises when it cannot be read.
    """
    path = path.rstrip("/")
    found = None if "*" in path else (within or (lambda one: find_run(fs, one)))(path)
    if found is not None and (listed := _listed(fs, path, found)) is not None:
        return listed
    if "*" not in path and (marker := _read_text(fs, f"{path}/{MARKER}")) is not None:
        return Contents(_sha256(marker), "marker", 1, len(marker.encode()))
    files = dict(_files(fs, path, deep=deep))
    if not files:
        return None
    total = sum(size for size, _ in files.values())
    if total > read_bytes:
        lines = [f"{name}\0{size}\0{version}" for name, (size, version) in files.items()]
        return Contents(_sha256("\n".join(lines)), "listing", len(files), total)
    digests = {name: _digest_file(fs, name) for name in files}
    if list(files) == [path]:
        return Contents(digests[path], "content", 1, total)
    base = path.partition("*")[0].rpartition("/")[0] if "*" in path else path
    lines = [f"{name.removeprefix(base).strip('/')}\0{one}" for name, one in digests.items()]
    return Contents(_sha256("\n".join(lines)), "content", len(files), total)


def find_run(fs: Any, path: str) -> Found | None:  # noqa: ANN401 - as above
    """The run that a path is of, or is: its folder holds a record; None if it is of none."""
    folder = path.rstrip("/")
    for _ in range(_ABOVE + 1):
        if not folder or folder.endswith(":"):
            return None
        if (manifest := _read_record(fs, f"{folder}/{RECORD}")) is not None:
            return Found(folder, manifest)
        folder = folder.rpartition("/")[0]
    return None


def _listed(fs: Any, path: str, found: Found) -> Contents | None:  # noqa: ANN401
    """What the record of a run says of a path; None if it does not, or what it says is not there.

    Of an artifact it is the marker that is compared with what is there, of a file the file.
    """
    sizes = {str(one["path"]): int(one["size"]) for one in found.manifest["files"]}
    digests = {str(one["path"]): str(one["sha256"]) for one in found.manifest["files"]}
    name = path.removeprefix(found.folder).strip("/")
    for key in (name, f"{name}/{MARKER}"):
        if key in digests:
            if _size(fs, f"{found.folder}/{key}") != sizes[key]:
                return None
            below = [one for one in sizes if one == name or one.startswith(f"{name}/")]
            total = sum(sizes[one] for one in below)
            return Contents(digests[key], "record", len(below), total, found.folder)
    if name:
        return None
    lines = [f"{key}\0{digests[key]}" for key in sorted(digests)]
    total = sum(sizes.values())
    return Contents(_sha256("\n".join(lines)), "record", len(lines), total, found.folder)


def _files(fs: Any, path: str, *, deep: bool) -> Iterator[tuple[str, tuple[int, str]]]:  # noqa: ANN401
    """Size and version of each file, by its path, in order; hidden ones are none."""
    if "*" in path:
        found = fs.glob(path, detail=True)
    else:
        found = fs.find(path, detail=True, **({} if deep else {"maxdepth": 1}))
    for name in sorted(found):
        info = found[name]
        if info["type"] == "file" and (not name.rpartition("/")[2].startswith(".") or name == path):
            version = info.get("ETag") or info.get("mtime") or info.get("created") or ""
            yield str(name), (int(info["size"]), str(version))


def _digest_file(fs: Any, path: str) -> str:  # noqa: ANN401
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _size(fs: Any, path: str) -> int | None:  # noqa: ANN401
    try:
        return int(fs.info(path)["size"])
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # above what a job may read, nothing is its own


def _read_text(fs: Any, path: str) -> str | None:  # noqa: ANN401
    try:
        content: bytes = fs.cat_file(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return content.decode(errors="replace")


def _read_record(fs: Any, path: str) -> Mapping[str, Any] | None:  # noqa: ANN401
    """The record of a run; None for anything else of that name, such as one that strangers use."""
    size = _size(fs, path)
    text = None if size is None or size > _RECORD_BYTES else _read_text(fs, path)
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, Mapping) or not isinstance(content.get("job"), Mapping):
        return None
    files = content.get("files", [])
    if not isinstance(files, list) or not all(
        isinstance(one, Mapping) and {"path", "size", "sha256"} <= one.keys() for one in files
    ):
        return None
    return {**content, "files": files}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
