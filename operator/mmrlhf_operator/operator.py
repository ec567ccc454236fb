"""The parts of a running operator, put together."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines import RESOURCES
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.acting.checks import Checker
from mmrlhf_operator.acting.contents import Looker
from mmrlhf_operator.acting.leftover_gangs import LeftoverGangs
from mmrlhf_operator.acting.preflight import Preflight
from mmrlhf_operator.acting.queue import WorkQueue
from mmrlhf_operator.acting.queues import Queues
from mmrlhf_operator.acting.reconciler import Reconciler
from mmrlhf_operator.acting.resync import due, steps
from mmrlhf_operator.acting.runs import RunReconciler
from mmrlhf_operator.acting.tracing import Tracing
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.errors import ConfigError, ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.clock import SteadyClock
from mmrlhf_operator.kube.transport import ApiTransport, MeteredTransport, Transport
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.planning.actions import Disband
from mmrlhf_operator.serving.progress import ProgressServer
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.sweep import Sweep
from mmrlhf_operator.state.watchdog import Watchdog
from mmrlhf_operator.state.watches import NETWORK_POLICIES, WORKLOADS, Pump

if TYPE_CHECKING:
    from mmrlhf_operator.serving.tracing import SpanSender

__all__ = ["Operator", "own_addresses"]

_LOG = logging.getLogger(__name__)
_LONGEST_WATCH_RETRY: Final = 30.0
"""Seconds; as long as nothing is heard of all jobs."""


class Operator:
    """A whole operator, as it runs in a pod, on a laptop and in tests.

    Args:
        configuration: How to reach the API server.
        config: The operator's configuration.
        transport: Carries the operator's own requests; by default the client library.
        checker: Looks up what specs name; by default `Preflight`.
        looker: Looks into stores for what steps of runs read; by default `Preflight`, unless the
            configuration forbids it.
        clock: Tells the time; by default one that never jumps, and for schedules the time of day.
        metrics: What it measures; by default nobody reads them.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        config: OperatorConfig,
        *,
        transport: Transport | None = None,
        checker: Checker | None = None,
        looker: Looker | None = None,
        clock: Callable[[], datetime] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.config = config
        wall = clock or (lambda: datetime.now(UTC))
        clock = clock or SteadyClock()
        limits = config.deadlines
        self.metrics = metrics or Metrics()
        carrier = MeteredTransport(transport or ApiTransport(configuration), self.metrics.asked)
        self.api = Api(carrier, timeout=limits.request)
        self.board = ProgressBoard()
        self.queue: WorkQueue[Key] = WorkQueue(
            self._reconcile,
            deadline=limits.reconcile,
            first=config.retry_seconds,
            most=config.max_retry_seconds,
            tenant=lambda key: key.namespace,
            gauge=self.metrics,
        )
        self._watchdog = Watchdog(self.api, namespaces=config.namespaces)
        self._pump = Pump(
            configuration,
            enqueue=self.queue.add,
            namespaces=config.namespaces,
            seconds=config.watch_seconds,
            retry=(config.retry_seconds, min(config.max_retry_seconds, _LONGEST_WATCH_RETRY)),
            clock=clock,
            asked=self.metrics.asked,
            without=() if config.network_policies else (NETWORK_POLICIES,),
        )
        self._sweep = Sweep(self.api, self._pump.store, wake=self._pump.wake)
        self._queues = Queues(self.api)
        preflight = Preflight(
            self.api,
            seconds=limits.preflight,
            settings=config.preflight,
            reserved=own_addresses(configuration.host),
        )
        self._sender = None if config.tracing_url is None else self._span_sender(config.tracing_url)
        tracing = None if self._sender is None else Tracing(self._sender.tell, clock=clock)
        self._runs = RunReconciler(
            self.api,
            self._pump.store,
            config=config,
            looker=looker or (preflight if config.preflight.enabled else None),
            wake=self.queue.add,
            clock=clock,
            wall=wall,
            tracing=tracing,
        )
        self._reconciler = Reconciler(
            self.api,
            self._pump.store,
            config=config,
            checker=checker or preflight,
            board=self.board,
            queues=self._queues,
            # Looked up and ready: it gets its pods before others are looked up.
            wake=functools.partial(self.queue.add, first=True),
            clock=clock,
            metrics=self.metrics,
            tracing=tracing,
        )
        self._gangs = LeftoverGangs(
            self.api, self._pump.store, namespaces=config.namespaces, found=self._disband
        )
        self.metrics.follow(
            depth=lambda: self.queue.depth, deaf=lambda: self._watchdog.problem() is not None
        )
        self._clock = clock

    async def run(self, *, ready: asyncio.Event | None = None) -> None:
        """Serve until cancelled.

        Args:
            ready: Set once kopf has started.

        Raises:
            CancelledError: The process was told to end.
            ConfigError: The API server does not know the kinds.
            ExceptionGroup: A part died, or a queue provider came or went (`QueuesChangedError`):
                the process should end, to be started anew.
        """
        try:
            await self._check_kinds()
            await self._queues.discover()
            without = () if "kueue" in self._queues.offered else (WORKLOADS,)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.queue.run(self.config.workers), name="queue")
                pump = group.create_task(self._pump.run(ready=ready, without=without), name="pump")
                # kopf takes SIGTERM for itself and returns: then everything else must end as well.
                pump.add_done_callback(functools.partial(_end_with, asyncio.current_task()))
                group.create_task(self._resync(), name="resync")
                group.create_task(self._sweep_often(), name="sweep")
                if self._sender is not None:
                    group.create_task(self._sender.run(), name="traces")
                if self.config.progress_url is not None:
                    server = ProgressServer(
                        self.api,
                        self.board,
                        address=self.config.progress_address,
                        changed=self.queue.add,
                        clock=self._clock,
                        tell=self.metrics.pushed,
                    )
                    group.create_task(server.run(), name="progress")
        finally:
            await self._runs.close()
            await self._reconciler.close()
            await self.api.close()

    def _span_sender(self, url: str) -> SpanSender:
        from mmrlhf_operator.serving.tracing import SpanSender, otlp_exporter

        return SpanSender(otlp_exporter(url), count=self.metrics.traced)

    def problem(self) -> str | None:
        """Say what is wrong with this operator; None when nothing is."""
        return self._watchdog.problem()

    async def _reconcile(self, key: Key) -> float | None:
        if key.kind in RESOURCES:
            return await self._runs.reconcile(key)
        return await self._reconciler.reconcile(key)

    def _disband(self, key: Key, gang: Disband) -> None:
        self._reconciler.disband(key, gang)
        self.queue.add(key)

    async def _resync(self) -> None:
        """Reconcile each job now and then, and see whether the watches still hear anything."""
        period = self.config.resync_seconds
        number, loop = steps(period), asyncio.get_running_loop()
        seen = loop.time()
        while True:
            for _ in range(number):
                await asyncio.sleep(period / number)
                since, seen = seen, loop.time()
                there = self._pump.store.uids().items()
                for key in due(there, period=period, since=since, until=seen):
                    self.queue.add(key)
            await self._look_for_queues()
            await self._gangs.look(self._queues.offered)
            await self._watchdog.look(self._pump.store)

    async def _look_for_queues(self) -> None:
        try:
            await self._queues.look_again()
        except (ServerError, UnreachableError) as error:
            _LOG.warning("cannot see which queues there are: %s", error)

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(self.config.sweep_seconds)
            await self._sweep.run()

    async def _check_kinds(self) -> None:
        known = await self.api.find(f"/apis/{API_VERSION}")
        served = {entry["kind"] for entry in (known or {}).get("resources", ())}
        missing = [kind.name for kind in all_resources() if kind.name not in served]
        if missing:
            raise ConfigError(
                f"the API server does not know {', '.join(missing)}: apply the"
                " CustomResourceDefinitions in crds/ first"
            )


def own_addresses(server: str) -> list[str]:
    """Where the API server is, as the operator and every pod are told."""
    told = (urlsplit(server).hostname, os.environ.get("KUBERNETES_SERVICE_HOST"))
    return [host for host in told if host]


def _end_with(whole: asyncio.Task[None] | None, pump: asyncio.Task[None]) -> None:
    if whole is not None and not pump.cancelled() and pump.exception() is None:
        _LOG.info("told to end")
        whole.cancel()
