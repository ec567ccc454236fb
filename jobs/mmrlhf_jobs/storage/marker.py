"""The commit marker of an artifact: the list of its files, written when all of them are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from mmrlhf_jobs.errors import DamagedError
from mmrlhf_jobs.storage.folders import FileEntry

__all__ = ["MARKER", "check_entry", "digest_of_files", "make_marker", "parse_marker"]

MARKER: Final = "COMMITTED"
"""Name of the commit marker, written last and removed first."""


def make_marker(entries: Sequence[FileEntry]) -> bytes:
    """Content of the marker of an artifact that holds these files."""
    content = {"version": 1, "files": [asdict(entry) for entry in entries]}
    return (json.dumps(content, indent=1) + "\n").encode()


def digest_of_files(entries: Sequence[FileEntry]) -> str:
    """SHA-256 of all that an artifact holds, by the names, sizes and digests of its files."""
    return hashlib.sha256(make_marker(entries)).hexdigest()


def check_entry(found: FileEntry, published: FileEntry, uri: str) -> None:
    """Compare a file that was read with what was published.

    Raises:
        DamagedError: It has another size or digest.
    """
    if found != published:
        raise DamagedError(
            f"{uri} is damaged: {found.size} bytes with sha256 {found.sha256}, but"
            f" {published.size} bytes with {published.sha256} were published"
        )


def parse_marker(text: str, where: str) -> list[FileEntry]:
    """Files that a marker lists.

    Args:
        text: Its content.
        where: The marker, for errors.

    Raises:
        DamagedError: It is damaged, or names a file outside its folder.
    """
    try:
        return [FileEntry(**entry) for entry in json.loads(text)["files"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"{where} is damaged ({error}); remove the artifact") from error
