"""The commit marker of an artifact: the list of its files, written when all of them are there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.storage.folders import FileEntry

__all__ = ["MARKER", "make_marker", "parse_marker"]

MARKER: Final = "COMMITTED"
"""Name of the commit marker, written last and removed first."""


def make_marker(entries: Sequence[FileEntry]) -> bytes:
    """Content of the marker of an artifact that holds these files."""
    content = {"version": 1, "files": [asdict(entry) for entry in entries]}
    return (json.dumps(content, indent=1) + "\n").encode()


def parse_marker(text: str, where: str) -> list[FileEntry]:
    """Files that a marker lists.

    Args:
        text: Its content.
        where: The marker, for errors.

    Raises:
        StorageError: It is damaged, or names a file outside its folder.
    """
    try:
        return [FileEntry(**entry) for entry in json.loads(text)["files"]]
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{where} is damaged ({error}); remove the artifact") from error
