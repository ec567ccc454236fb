"""Finds objects whose deletion no watch reported.

When a watch cannot go on from where it was, kopf lists anew. What is missing from the new list
stays in its index, though, and no event tells of it. A resync asks the same index: a job would
wait for ever for the end of a pod that is gone. So the operator lists for itself: what kopf held
before the request, and the answer lacks, is gone.

A kind is compared in the two rounds after kopf has listed it: events that came before may still be
on their way to the index in the first. Besides, everything is, in case a deletion was missed
otherwise; as rarely as there is much to compare, so that a round costs the same however many jobs
there are.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, Protocol

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


_OBJECTS_A_ROUND: Final = 1000
"""How many objects are compared in a round on average while no watch has broken."""


class _Holds(Protocol):
    def held(self, plural: str) -> Mapping[str, Key]: ...

    def listed_anew(self) -> Collection[str]: ...

    def forget(self, uids: Collection[str]) -> None: ...


class _Found(NamedTuple):
    """What is gone of a kind, by UID, and whether all of it could be listed."""

    gone: Mapping[str, Key]
    complete: bool


class Sweep:
    """Compares what is held with what there is.

    Args:
        api: The API server.
        store: Holds objects, and knows which kinds were listed anew.
        wake: Called with the job of what is gone.
    """

    def __init__(self, api: Api, store: _Holds, *, wake: Callable[[Key], None]) -> None:
        self._api = api
        self._store = store
        self._wake = wake
        self._gone: Mapping[str, Mapping[str, Key]] = {}
        self._doubted: frozenset[str] = frozenset()
        self._rounds_of_trust = 0

    async def run(self) -> None:
        """Do one round; what cannot be listed now is left for the next."""
        listed = frozenset(self._store.listed_anew())
        self._rounds_of_trust -= 1
        whole = self._rounds_of_trust <= 0
        plurals = [one for one in _ROOTS if whole or one in self._doubted | listed]
        gone, unseen, compared = dict(self._gone), set[str](), 0
        for plural in plurals:
            held = self._store.held(plural)
            found = await self._missing(plural, held)
            compared += len(held)
            gone[plural] = found.gone
            if not found.complete:
                unseen.add(plural)
        if whole:
            self._rounds_of_trust = math.ceil(compared / _OBJECTS_A_ROUND)
        self._doubted = listed | unseen
        self._store.forget({uid for entries in gone.values() for uid in entries})
        fresh = [
            (plural, uid, key)
            for plural in plurals
            for uid, key in gone[plural].items()
            if uid not in self._gone.get(plural, {})
        ]
        # Only what kopf holds is kept in mind: it gets no more than that.
        self._gone = gone
        for plural, uid, key in fresh:
            _LOG.info("%s: what is %s among %s is gone, and no watch has told so", key, uid, plural)
            self._wake(key)

    async def _missing(self, plural: str, held: Mapping[str, Key]) -> _Found:
        # Only where there is something to miss: in a large cluster, the lists stay short.
        within: defaultdict[str, dict[str, Key]] = defaultdict(dict)
        for uid, key in held.items():
            within[key.namespace][uid] = key
        known, complete = self._gone.get(plural, {}), True
        gone: dict[str, Key] = {}
        for namespace, there in sorted(within.items()):
            try:
                live = await self._uids(plural, namespace)
            except (ServerError, UnreachableError) as error:
                _LOG.warning("cannot see which %s are gone: %s", plural, error)
                gone |= {uid: key for uid, key in there.items() if uid in known}
                complete = False
            else:
                gone |= {uid: key for uid, key in there.items() if uid not in live}
        # A watch may have told meanwhile.
        still = self._store.held(plural) if gone else {}
        return _Found({uid: key for uid, key in gone.items() if uid in still}, complete)

    async def _uids(self, plural: str, namespace: str) -> set[str]:
        child = CHILDREN.get(plural)
        query = {} if child is None else {"labelSelector": child.selector}
        return await self._api.uids(f"{_ROOTS[plural]}/namespaces/{namespace}/{plural}", **query)
