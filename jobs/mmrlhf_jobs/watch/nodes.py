"""What the launchers of a job's nodes tell each other, in the store of torchrun's agents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from mmrlhf_jobs.watch.judging import Sighting, Verdict
from mmrlhf_jobs.watch.position import Place

__all__ = ["Alone", "Nodes", "StoreNodes"]

_PREFIX: Final = "mmrlhf-watch"
_PATIENCE: Final = timedelta(seconds=5)
_ERRORS: Final = (RuntimeError, ValueError, KeyError, TypeError)
"""torch's errors of a store that is away are RuntimeErrors."""


class Nodes(Protocol):
    """The other nodes of the job."""

    def exchange(self, own: Sequence[Sighting]) -> Sequence[Sighting]:
        """Tell what is seen here, and return what others have seen; their ``still`` is theirs."""

    def tell(self, verdict: Verdict) -> None:
        """Tell the others that the job ends, and why; the first one's word stays."""

    def verdict(self, *, patience: timedelta | None = None) -> Verdict | None:
        """What another node has told; None while all is well.

        Args:
            patience: How long to wait for it; None: not at all.
        """


class Alone:
    """There are no others."""

    def exchange(self, own: Sequence[Sighting]) -> Sequence[Sighting]:  # noqa: ARG002
        """Nobody else sees anything."""
        return ()

    def tell(self, verdict: Verdict) -> None:
        """Nobody is to be told."""

    def verdict(self, *, patience: timedelta | None = None) -> Verdict | None:  # noqa: ARG002
        """Nobody tells."""
        return None


@dataclass
class StoreNodes:
    """Nodes that share a store of torch, which is on node 0.

    A store that is away is asked again the next time: what the others are at then stays what it
    was, so that they stand still.

    Attributes:
        node: This one's rank.
        nodes: How many there are.
        address: Host of the store.
        port: Its port.
    """

    node: int
    nodes: int
    address: str
    port: int
    _store: Any = None

    def exchange(self, own: Sequence[Sighting]) -> Sequence[Sighting]:
        """Each node's sightings, as it told them last."""
        found: list[Sighting] = []
        try:
            store = self._open()
            store.set(_key("node", self.node), json.dumps([asdict(one) for one in own]))
            for node in range(self.nodes):
                key = _key("node", node)
                if node != self.node and store.check([key]):
                    found += [_sighting(one) for one in json.loads(store.get(key))]
        except _ERRORS:
            self._store = None
        return found

    def tell(self, verdict: Verdict) -> None:
        """The first word stays."""
        try:
            self._open().compare_set(_key("verdict"), "", json.dumps(asdict(verdict)))
        except _ERRORS:
            self._store = None

    def verdict(self, *, patience: timedelta | None = None) -> Verdict | None:
        """What was told first, by any node."""
        try:
            store = self._open()
            key = _key("verdict")
            if patience is not None:
                store.wait([key], patience)
            return Verdict(**json.loads(store.get(key))) if store.check([key]) else None
        except _ERRORS:
            self._store = None
            return None

    def _open(self) -> Any:  # noqa: ANN401 - torch's store
        if self._store is None:
            from torch._C._distributed_c10d import TCPStore

            self._store = TCPStore(
                self.address, self.port, is_master=False, timeout=_PATIENCE, wait_for_workers=False
            )
        return self._store


def _key(*parts: object) -> str:
    return "/".join([_PREFIX, *map(str, parts)])


def _sighting(content: Mapping[str, Any]) -> Sighting:
    place = content["place"]
    return Sighting(**{**content, "place": Place(**{**place, "rows": tuple(place["rows"])})})
