"""What the cluster has to queue jobs, and what is read of it for a job."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmrlhf_api import Job
from mmrlhf_api.backoff import doubling_wait
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.errors import QueuesChangedError, ServerError, UnreachableError
from mmrlhf_operator.gangs.providers import PROVIDERS
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.rendering.manifests import priority_class
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.workloads import FlavorView, WorkloadView

__all__ = ["Assignment", "Queues"]

_LOG = logging.getLogger(__name__)
_TRIES = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0
_FLAVORS = "/apis/kueue.x-k8s.io/v1beta2/resourceflavors"
_MISSING = "it does not exist"
_PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What was read of a job's queue besides its Workload; see `Observed` for the fields."""

    flavors: Mapping[str, FlavorView] = field(default_factory=dict)
    problem: str | None = None
    priority: int | None = None
    priority_problem: str | None = None


class Queues:
    """Knows the queue and gang providers of the cluster.

    Args:
        api: The API server.
        sleep: Waits for seconds.
    """

    def __init__(
        self, api: Api, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._api = api
        self._sleep = sleep
        self._unknown: set[str] = set()
        self.offered: frozenset[str] = frozenset()
        """Names of the providers that the cluster has."""

    async def discover(self) -> None:
        """Find out what the cluster has; asked again where the server fails for a moment.

        Raises:
            ServerError: It does not say; UnreachableError: likewise.
        """
        for attempt in itertools.count(1):
            try:
                self.offered = await self._find()
                break
            except (ServerError, UnreachableError) as error:
                if attempt == _TRIES:
                    raise
                _LOG.warning("cannot see which queues there are, and ask again: %s", error)
                await self._sleep(doubling_wait(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT))
        if self.offered:
            _LOG.info("queues and gangs: %s", ", ".join(sorted(self.offered)))

    async def look_again(self) -> None:
        """See whether the cluster has what it had.

        Raises:
            QueuesChangedError: It has not; what is watched is chosen at the start.
        """
        now = await self._find()
        if now != self.offered:
            before, after = (", ".join(sorted(names)) or "none" for names in (self.offered, now))
            raise QueuesChangedError(
                f"the cluster's queue and gang providers changed from {before} to {after}; the"
                " operator starts anew with them"
            )

    async def assignment(
        self,
        job: Job | None,
        known: WorkloadView | None,
        pods: Sequence[PodView],
        config: OperatorConfig,
    ) -> Assignment:
        """Read what pods of a job need to be where it was admitted to, as long as some are missing.

        Args:
            job: The job, if it is valid.
            known: Its Workload.
            pods: Pods of its current attempt.
            config: The operator's configuration.
        """
        if job is None or "kueue" not in self.offered or job.spec.scheduling.queue is None:
            return Assignment()
        named, found = priority_class(job, config), Assignment()
        if named is not None and (known is None or known.lacks_priority):
            found = await self._priority(named)
        if known is None or not known.admitted or len(pods) >= job.spec.resources.nodes:
            return found
        flavors: dict[str, FlavorView] = {}
        for name in known.flavors:
            try:
                body = await self._api.find(f"{_FLAVORS}/{name}")
            except ServerError as error:
                if error.status != 403:
                    raise
                return replace(found, problem=_withheld(error))
            if body is None:
                return replace(found, problem=_MISSING)
            flavors[name] = FlavorView.read(body)
        return replace(found, flavors=flavors)

    async def _priority(self, name: str) -> Assignment:
        """The priority of a class, or why it is not known; that is logged once."""
        try:
            body = await self._api.find(f"{_PRIORITIES}/{name}")
        except ServerError as error:
            if error.status != 403:
                raise
            if name not in self._unknown:
                _LOG.warning("queues do not know the priority of %s: %s", name, error)
            self._unknown.add(name)
            return Assignment(priority_problem=_withheld(error))
        self._unknown.discard(name)
        if body is None:
            return Assignment(priority_problem=_MISSING)
        return Assignment(priority=int(body.get("value") or 0))

    async def _find(self) -> frozenset[str]:
        found: set[str] = set()
        for provider in PROVIDERS:
            served = await self._api.find(provider.path)
            plurals = {entry["name"] for entry in (served or {}).get("resources", ())}
            if provider.plural in plurals:
                found.add(provider.name)
        return frozenset(found)


def _withheld(error: ServerError) -> str:
    return f"the operator may not ({error.message})"
