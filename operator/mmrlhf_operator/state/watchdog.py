"""Notices watches that hear nothing any more.

kopf restarts streams that are silent, but a watch task that ended in silence was seen in the wild
(nolar/kopf#1276). So now and then the versions of all jobs are read, and compared with what the
watches have told: a job whose version was different twice in a row, and which the watch has not
moved in between, was missed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest
from mmrlhf_operator.state.store import Key

__all__ = ["Watchdog"]

_LOG = logging.getLogger(__name__)


class _Seen(Protocol):
    def keys(self) -> Iterable[Key]: ...

    def job(self, key: Key) -> Manifest | None: ...


class Watchdog:
    """Compares what watches have told with what is true.

    Args:
        api: The API server.
        namespaces: Namespaces to look into; none means all.
    """

    def __init__(self, api: Api, *, namespaces: tuple[str, ...] = ()) -> None:
        self._api = api
        self._namespaces = namespaces
        self._suspects: dict[Key, str | None] = {}
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Say what is wrong; None when nothing is."""
        return self._problem

    async def look(self, seen: _Seen) -> None:
        """Compare once."""
        try:
            true = await self._versions()
        except (ServerError, UnreachableError) as error:
            _LOG.warning("cannot see whether the watches are well: %s", error)
            return
        told = {key: _version(seen.job(key)) for key in {*true, *seen.keys()}}
        differing = {key: told[key] for key in told if told[key] != true.get(key)}
        missed = [
            key
            for key, version in differing.items()
            if key in self._suspects and self._suspects[key] == version
        ]
        self._suspects = differing
        self._problem = None
        if missed:
            self._problem = f"the watches missed changes of {missed[0]} and {len(missed) - 1} more"
            _LOG.error("%s", self._problem)

    async def _versions(self) -> dict[Key, str]:
        found: dict[Key, str] = {}
        for kind in all_resources():
            for scope in [f"namespaces/{name}/" for name in self._namespaces] or [""]:
                path = f"/apis/{API_VERSION}/{scope}{kind.plural}"
                fields = ("namespace", "name", "resourceVersion")
                for metadata in await self._api.all_metadata(path, fields):
                    key = Key(kind.name, metadata["namespace"], metadata["name"])
                    found[key] = metadata["resourceVersion"]
        return found


def _version(body: Manifest | None) -> str | None:
    return None if body is None else body["metadata"]["resourceVersion"]
