"""Keep up with objects: list, watch, and both again when the connection is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mmrlhf.client.cluster import Change, Cluster, Manifest
from mmrlhf.errors import ExpiredError, UnreachableError
from mmrlhf.telling import Tell, log_line

__all__ = ["Snapshot", "observe"]

_WATCH_SECONDS = 240.0
_RETRY_SECONDS = 2.0
_PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Snapshot:
    """All objects as they are now; what is not among them is gone."""

    items: tuple[Manifest, ...]


def observe(
    cluster: Cluster,
    path: str,
    *,
    seconds: float | None = None,
    query: Mapping[str, str] | None = None,
    tell: Tell = log_line,
) -> Iterator[Snapshot | Change]:
    """Yield the objects of a path, and then whatever happens to them.

    A lost connection is told once and made again; its end is a new snapshot.

    Args:
        cluster: The cluster.
        path: Path of a collection.
        seconds: When to stop; None never does.
        query: Selectors.
        tell: Takes a line for the user, such as that the connection is lost.

    Raises:
        ClusterError: The cluster refuses, or was away for ten minutes.
    """
    end = None if seconds is None else time.monotonic() + seconds
    since: str | None = None
    lost_at: float | None = None
    first = True
    while True:
        left = _WATCH_SECONDS if end is None else end - time.monotonic()
        try:
            if since is None:
                items, since = cluster.list(path, query=query)
                first = False
                if lost_at is not None:
                    tell("the cluster answers again")
                    lost_at = None
                yield Snapshot(tuple(items))
                left = _WATCH_SECONDS if end is None else end - time.monotonic()
            if left <= 0:
                return
            for change in cluster.watch(
                path, since=since, seconds=min(left, _WATCH_SECONDS), query=query or {}
            ):
                since = change.object["metadata"]["resourceVersion"]
                if change.type != "BOOKMARK":
                    yield change
        except ExpiredError:
            since = None
        except UnreachableError as error:
            now = time.monotonic()
            if first or (lost_at is not None and now - lost_at > _PATIENCE_SECONDS):
                raise
            if lost_at is None:
                tell(f"{error.lines[0]}; trying again")
                lost_at = now
            since = None
            if end is not None and now + _RETRY_SECONDS > end:
                return
            time.sleep(_RETRY_SECONDS)
