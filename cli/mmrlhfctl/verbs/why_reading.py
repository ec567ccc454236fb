"""Reading for ``why``: what cannot be read is written down, and never taken for nothing.

Lists come in pages and have an end. What the user may not read, or a server does not answer, is
told as such; only the job itself must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.errors import ClusterError, KindMissingError, NotFoundError
from mmrlhfctl.diagnosis.answers import Unread

__all__ = ["Reading"]

_T = TypeVar("_T")
_MOST: Final = {"events": 5_000, "nodes": 5_000, "pods": 50_000, "objects": 2_000}
"""Objects that are read at most, by what they are."""


class Reading:
    """Reads, and remembers what it could not.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.unread: list[Unread] = []

    def attempt(self, what: str, read: Callable[[], _T], *, right: str) -> _T | None:
        """Return what was read; None where it is not there, or could not be looked at.

        Args:
            what: What it is, for people.
            read: Reads it.
            right: What a user must be allowed for it.
        """
        try:
            return read()
        except (NotFoundError, KindMissingError):
            return None
        except ClusterError as error:
            self.unread.append(
                Unread(what=what, why=error.lines[0].partition("; ask")[0], right=right)
            )
            return None

    def some(
        self, what: str, path: str, *, most: str = "objects", right: str, **query: str
    ) -> list[Manifest] | None:
        """Return the objects of a path up to a number; None where they could not be looked at."""
        return self.attempt(what, lambda: self._pages(what, path, most, query), right=right)

    def _pages(self, what: str, path: str, most: str, query: Mapping[str, str]) -> list[Manifest]:
        found: list[Manifest] = []
        for page in self.pages(what, path, most=most, query=query):
            found += page
        return found

    def pages(
        self, what: str, path: str, *, most: str, query: Mapping[str, str] | None = None
    ) -> Iterator[list[Manifest]]:
        """Yield the objects of a path by page, and stop after some; that is written down."""
        seen = 0
        for page, _ in self.cluster.pages(path, query=query):
            if seen >= _MOST[most]:
                why = f"there are more than {_MOST[most]}, and only so many are read"
                self.unread.append(Unread(what=f"further {what}", why=why))
                return
            seen += len(page)
            yield page
