"""A coordination Lease, which one of several processes holds.

Clocks of different machines are never compared: a waiting process measures by its own clock how
long the Lease has not changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest
from mmrlhf_operator.kube.timestamps import format_time

__all__ = ["Lease"]

_LOG = logging.getLogger(__name__)


class Lease:
    """A Lease that this process wants to hold.

    Args:
        api: The API server.
        namespace: Namespace of the Lease.
        name: Its name.
        identity: Unique name of this process.
        duration: Seconds after which a Lease that was not renewed may be taken.
        clock: Tells the time that is written into the Lease.
        tell: Told of each try: held, standby while another process holds it, or failed.
    """

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._duration = duration
        self._clock = clock
        self.tell = tell
        self._seen: tuple[str, float] | None = None
        self.problem: str | None = None
        """Why the last try could not be made; None when it was, with or without success."""

    async def try_to_hold(self) -> bool:
        """Take or renew the Lease; False while another process holds it.

        Raises:
            ServerError: The API server refused for other reasons.
            UnreachableError: It did not answer.
        """
        path = f"{self._folder}/{self._name}"
        lease = await self._api.find(path)
        try:
            if lease is None:
                await self._api.create(self._folder, self._body(None))
                return True
            if not self._may_take(lease):
                return False
            await self._api.replace(path, self._body(lease))
        except ServerError as error:
            if error.is_conflict:
                return False  # another one was quicker
            raise
        return True

    async def try_and_tell(self) -> bool:
        """The same; what is in the way is told, by the log once, and is no error."""
        try:
            held = await self.try_to_hold()
        except (ServerError, UnreachableError) as error:
            problem = f"the Lease cannot be taken or renewed: {error}"
            if problem != self.problem:  # told once, not every two seconds
                _LOG.warning("%s", problem)
            self.problem = problem
            self.tell("failed")
            return False
        self.problem = None
        self.tell("held" if held else "standby")
        return held

    async def release(self) -> None:
        """Give the Lease up, so that the next one need not wait for it to run out."""
        path = f"{self._folder}/{self._name}"
        lease = await self._api.find(path)
        if lease is None or lease["spec"].get("holderIdentity") != self._identity:
            return
        lease["spec"]["holderIdentity"] = ""
        await self._api.replace(path, lease)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    def _may_take(self, lease: Manifest) -> bool:
        holder = lease["spec"].get("holderIdentity")
        if holder in {self._identity, "", None}:
            return True
        now = asyncio.get_running_loop().time()
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return False
        theirs = float(lease["spec"].get("leaseDurationSeconds") or self._duration)
        return now - self._seen[1] >= theirs

    def _body(self, lease: Manifest | None) -> Manifest:
        now = format_time(self._clock(), micro=True)
        old = (lease or {}).get("spec") or {}
        same = old.get("holderIdentity") == self._identity
        changes = old.get("leaseTransitions") or 0
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": lease["metadata"] if lease is not None else {"name": self._name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._duration)),
                "acquireTime": old.get("acquireTime") if same else now,
                "renewTime": now,
                "leaseTransitions": changes + (lease is not None and not same),
            },
        }
