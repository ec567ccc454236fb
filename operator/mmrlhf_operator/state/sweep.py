"""Finds objects whose deletion no watch reported.

When a watch cannot go on from where it was, kopf lists anew. What is missing from the new list
stays in its indices, though, and no event tells of it. A resync asks the same indices: a job would
wait for ever for the end of a pod that is gone. So now and then the operator lists for itself: what
kopf held before the request, and the answer lacks, is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines.resources import all_plurals
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.watches import CHILDREN

__all__ = ["Sweep"]

_LOG = logging.getLogger(__name__)
_ROOTS: Final[Mapping[str, str]] = {
    **{plural: child.root for plural, child in CHILDREN.items()},
    **dict.fromkeys(all_plurals(), f"/apis/{API_VERSION}"),
}


class _Holds(Protocol):
    def held(self, plural: str) -> Mapping[str, Key]: ...

    def forget(self, uids: Collection[str]) -> None: ...


class Sweep:
    """Compares what is held with what there is.

    Args:
        api: The API server.
        store: Holds objects.
        wake: Called with the job of what is gone.
    """

    def __init__(self, api: Api, store: _Holds, *, wake: Callable[[Key], None]) -> None:
        self._api = api
        self._store = store
        self._wake = wake
        self._gone: Mapping[str, Key] = {}

    async def run(self) -> None:
        """Compare once; what cannot be listed now is left for the next time."""
        gone: dict[str, Key] = {}
        for plural in _ROOTS:
            held = self._store.held(plural)
            # Only where there is something to miss: in a large cluster, the lists stay short.
            for namespace in sorted({key.namespace for key in held.values()}):
                within = {uid: key for uid, key in held.items() if key.namespace == namespace}
                gone |= await self._missing(plural, namespace, within)
        self._store.forget(gone.keys())
        fresh = {uid: key for uid, key in gone.items() if uid not in self._gone}
        # Only what kopf holds is kept in mind: it gets no more than that.
        self._gone = gone
        for key in fresh.values():
            self._wake(key)

    async def _missing(
        self, plural: str, namespace: str, held: Mapping[str, Key]
    ) -> Mapping[str, Key]:
        child = CHILDREN.get(plural)
        query = {} if child is None else {"labelSelector": child.selector}
        try:
            there = await self._api.uids(
                f"{_ROOTS[plural]}/namespaces/{namespace}/{plural}", **query
            )
        except (ServerError, UnreachableError) as error:
            _LOG.warning("cannot see which %s are gone: %s", plural, error)
            return {uid: key for uid, key in held.items() if uid in self._gone}
        # A watch may have told meanwhile.
        still = self._store.held(plural)
        gone = {uid: key for uid, key in held.items() if uid not in there and uid in still}
        for uid in gone.keys() - self._gone.keys():
            _LOG.info(
                "%s: what is %s among %s is gone, and no watch has told so",
                gone[uid],
                uid,
                plural,
            )
        return gone
