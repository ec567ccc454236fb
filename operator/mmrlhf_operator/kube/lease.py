"""Leader election by a coordination Lease: one replica works, the others wait.

The Lease is renewed well before it runs out, and whoever cannot renew it stops before another one
may take it. Clocks of different machines are never compared: a waiting replica measures by its own
clock how long the Lease has not changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from mmrlhf_operator.errors import LeadershipLostError, ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest
from mmrlhf_operator.kube.timestamps import format_time

__all__ = ["Lease", "lead"]

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


async def lead(
    lease: Lease,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    duration: float,
    retry: float,
) -> None:
    """Wait for the Lease, then work for as long as it is held.

    Args:
        lease: The Lease.
        work: What the leader does.
        duration: Seconds that the Lease lasts; work stops two thirds into them.
        retry: Seconds between attempts.

    Raises:
        LeadershipLostError: The Lease could not be renewed in time; work was cancelled before
            another process could take it.
    """
    while not await _try(lease):  # noqa: ASYNC110 - nothing here could set an event
        await asyncio.sleep(retry)
    _LOG.info("this replica leads")
    task = asyncio.create_task(work(), name="leader-work")
    try:
        await _hold(lease, task, limit=duration * 2 / 3, retry=retry)
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await lease.release()


async def _hold(lease: Lease, task: asyncio.Task[None], *, limit: float, retry: float) -> None:
    loop = asyncio.get_running_loop()
    renewed = loop.time()
    while not task.done():
        await asyncio.wait({task}, timeout=retry)
        remaining = renewed + limit - loop.time()
        try:
            async with asyncio.timeout(max(0.0, remaining)):
                held = await _try(lease)
        except TimeoutError:
            held = False
        if held:
            renewed = loop.time()
        elif loop.time() >= renewed + limit:
            raise LeadershipLostError(f"the Lease could not be renewed within {limit:.0f} s")


async def _try(lease: Lease) -> bool:
    try:
        held = await lease.try_to_hold()
    except (ServerError, UnreachableError) as error:
        problem = f"the Lease cannot be taken or renewed: {error}"
        if problem != lease.problem:  # told once, not every two seconds
            _LOG.warning("%s", problem)
        lease.problem = problem
        lease.tell("failed")
        return False
    lease.problem = None
    lease.tell("held" if held else "standby")
    return held
