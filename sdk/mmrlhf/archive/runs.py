"""What a finished run has left in its artifact store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mmrlhf.archive.store import open_store, unreadable
from mmrlhf.errors import MmrlhfError, NotFoundError

__all__ = ["ArchivedRun", "find_runs"]

_RECORD: Final = "manifest.json"
_DEPTH: Final = 3
"""Folders between the root of a store and a run: namespace, name and UID."""
_NAMED: Final = 5


def find_runs(
    uri: str, *, endpoint: str | None = None, region: str | None = None
) -> list[ArchivedRun]:
    """All finished runs at a folder, or below it as a store has them; none where there are none.

    Args:
        uri: A path, ``file://`` or ``s3://``.
        endpoint: URL of an S3-compatible service; None is AWS itself.
        region: Its region.

    Raises:
        MmrlhfError: The store cannot be read.
    """
    uri = uri.rstrip("/")
    try:
        fs, root = open_store(uri, endpoint=endpoint, region=region)
        found = {
            str(path).rpartition("/")[0]
            for depth in range(_DEPTH + 1)
            for path in fs.glob("/".join([root, *["*"] * depth, _RECORD]))
        }
    except Exception as error:
        raise unreadable(uri, error) from error
    return [
        ArchivedRun(uri + path.removeprefix(root), endpoint=endpoint, region=region)
        for path in sorted(found)
    ]


class ArchivedRun:
    """A run, read where it is.

    Args:
        uri: Folder of the run, or one above it that holds no other: a path, ``file://`` or
            ``s3://``.
        endpoint: URL of an S3-compatible service; None is AWS itself.
        region: Its region.

    Raises:
        NotFoundError: No finished run is there, or several are.
        MmrlhfError: The store cannot be read.
    """

    def __init__(self, uri: str, *, endpoint: str | None = None, region: str | None = None) -> None:
        self.uri = uri.rstrip("/")
        try:
            self._fs, root = open_store(self.uri, endpoint=endpoint, region=region)
            records = self._records(root)
        except Exception as error:
            raise unreadable(self.uri, error) from error
        if not records:
            raise NotFoundError(
                f"{self.uri} holds no finished run: there is no {_RECORD}, which is written last"
            )
        if len(records) > 1:
            names = [path.removeprefix(root).strip("/").rpartition("/")[0] for path in records]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise NotFoundError(
                f"{self.uri} holds {len(names)} runs; name one: {', '.join(names[:_NAMED])}{more}"
            )
        self._root = records[0].rpartition("/")[0]
        self.uri += self._root.removeprefix(root)

    def _records(self, root: str) -> list[str]:
        """Paths of the records at a folder, or else below it."""
        for depth in range(_DEPTH + 1):
            found = self._fs.glob("/".join([root, *["*"] * depth, _RECORD]))
            if found:
                return sorted(map(str, found))
        return []

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine."""
        return "s3" not in self._fs.protocol

    def path_of(self, name: str) -> str:
        """Path of a file of a local run."""
        return f"{self._root}/{name}"

    def manifest(self) -> Mapping[str, Any]:
        """Return the record of the run.

        Raises:
            MmrlhfError: It cannot be read, or is damaged.
        """
        text = self.text(_RECORD)
        try:
            content = json.loads(text or "")
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, Mapping):
            raise MmrlhfError(f"{self.uri}/{_RECORD} is damaged: it is no JSON object")
        return content

    def text(self, name: str) -> str | None:
        """Return a text of the run; None if it has none of that name.

        Raises:
            MmrlhfError: The store cannot be read.
        """
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise unreadable(f"{self.uri}/{name}", error) from error
        return content.decode(errors="replace")
