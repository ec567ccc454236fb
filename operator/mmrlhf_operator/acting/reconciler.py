"""One reconcile of one job: observe, plan, carry out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mmrlhf_api import KINDS, JobStatus
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhf_operator.acting import effects
from mmrlhf_operator.acting.checks import Checker, Checks
from mmrlhf_operator.acting.creations import Creations
from mmrlhf_operator.acting.earlier_events import EarlierEvents
from mmrlhf_operator.acting.pod_warnings import PodWarnings
from mmrlhf_operator.acting.queues import Queues
from mmrlhf_operator.acting.telling import Told
from mmrlhf_operator.acting.tracing import Tracing
from mmrlhf_operator.acting.troubles import Troubles
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest, collection, jobs
from mmrlhf_operator.kube.clock import SteadyClock
from mmrlhf_operator.kube.concurrency import run_all
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.planning.actions import (
    Action,
    Check,
    Create,
    DeletePod,
    DeleteService,
    Disband,
    Note,
    Plan,
)
from mmrlhf_operator.planning.conditions import find
from mmrlhf_operator.planning.deadlines import nodes_in_question
from mmrlhf_operator.planning.notes import notes
from mmrlhf_operator.planning.plan import plan
from mmrlhf_operator.planning.queueing import needs_gang
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.rendering.names import pod_name, shared_name
from mmrlhf_operator.state.bodies import trim
from mmrlhf_operator.state.dependencies import dependency
from mmrlhf_operator.state.job_views import JobViews
from mmrlhf_operator.state.pods import PodView, see
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key, Store
from mmrlhf_operator.state.views import (
    TERMINAL,
    DependencyView,
    JobView,
    Observed,
)
from mmrlhf_operator.state.workloads import WorkloadView

__all__ = ["Reconciler"]

_LOG = logging.getLogger(__name__)
_AT_ONCE = 16
_RETELL_SECONDS = 600.0


@dataclass
class _Memory:
    """What is remembered of a job between reconciles; all of it can be found out again."""

    uid: str
    told: Told
    creations: Creations = field(default_factory=Creations)
    written: Manifest | None = None
    superseded: set[str] = field(default_factory=set)
    troubles: Troubles = field(default_factory=Troubles)
    disbanding: dict[str, Disband] = field(default_factory=dict)
    leftover: dict[str, Disband] = field(default_factory=dict)
    """Found beside a look at the job, and taken up by the next, which asks how the job is now."""


class Reconciler:
    """Reconciles jobs.

    Args:
        api: The API server.
        store: What the watches have seen.
        config: The operator's configuration.
        checker: Looks up what specs name.
        board: Progress that jobs pushed.
        queues: Knows what the cluster has to queue jobs.
        wake: Asks for a job to be reconciled, as what it names was looked up.
        clock: Tells the time.
        metrics: Told of jobs and how they get on.
        tracing: Told of what has ended; None where nobody traces.
    """

    def __init__(
        self,
        api: Api,
        store: Store,
        *,
        config: OperatorConfig,
        checker: Checker,
        board: ProgressBoard,
        queues: Queues,
        wake: Callable[[Key], None] = lambda _: None,
        clock: Callable[[], datetime] | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._clock = clock or SteadyClock()
        self._tracing = tracing
        self._api = api
        self._store = store
        self._config = config
        self._checks = Checks(
            checker,
            wake=wake,
            clock=self._clock,
            first=config.retry_seconds,
            longest=config.max_retry_seconds,
        )
        self._board = board
        self._metrics = metrics or Metrics()
        self._queues = queues
        self._memories: dict[Key, _Memory] = {}
        self._nodes_withheld = False
        self._views = JobViews()
        self._warnings = PodWarnings()
        self._events = EarlierEvents()

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done about a job; returns after how many seconds to come back."""
        body = self._store.job(key)
        if body is None:
            self._board.forget(key)
            self._checks.forget(key)
            self._memories.pop(key, None)
            self._metrics.forget(key)
            if self._tracing is not None:
                self._tracing.forget(key)
            return None
        memory = self._memory(key, body)
        job = self._views.read(key, self._latest(body, memory))
        memory.disbanding |= memory.leftover
        memory.leftover.clear()
        self._count(key, job.status)
        try:
            # Before a new status takes the place of this one, which a crash may have left untold.
            await self._tell(job, memory)
        except (ServerError, UnreachableError) as error:
            _LOG.info("%s: told later: %s", key, error)
        observed = await self._observe(key, body, job, memory)
        made = self._plan(job, observed)
        if _acts(job, made) or memory.disbanding:
            # What watches have seen may be old: nothing is done but on what is true now.
            live = await self._api.find(f"{jobs(job.kind, job.namespace)}/{job.name}")
            if live is None or live["metadata"]["uid"] != job.uid:
                return None  # the watch will tell
            believed = (job, observed)
            job = self._views.read(key, trim(live))
            observed = replace(observed, pods=await self._live_pods(job, observed))
            observed = await self._queued(job, observed, await self._live_workload(job, observed))
            if not _is_same(believed, (job, observed)):
                made = self._plan(job, observed)
        self._board.recognise(key, job.uid, made.status.reporter)
        _LOG.debug("%s: %s", key, ", ".join(map(_in_words, made.actions)) or "nothing to do")
        was_blocked = memory.troubles.finding is not None
        try:
            with memory.troubles.noted(body["metadata"]["resourceVersion"]):
                before, job = job, await self._write(key, body, job, made, memory)
                if self._tracing is not None and before is not job:
                    self._tracing.changed(key, before, made.status, observed.pods)
                delay = await self._act(key, job, made, memory)
        except ServerError:
            await self._tell_trouble(job, memory)
            raise
        await self._tell(job, memory)
        return 0.0 if was_blocked else delay

    async def _write(
        self, key: Key, body: Manifest, job: JobView, made: Plan, memory: _Memory
    ) -> JobView:
        """Write the status of a plan; returns the job as the server has it then."""
        path = f"{jobs(job.kind, job.namespace)}/{job.name}"
        written = await effects.write_status(self._api, path, job, made.status)
        if written is None:
            return job
        memory.troubles.begin_anew()
        before, now = job.status, made.status
        self._count(key, now, before)
        if (before.phase, before.reason) != (now.phase, now.reason):
            _LOG.info("%s: %s (%s), attempt %d", key, now.phase, now.reason, now.attempt)
        memory.superseded.add(body["metadata"]["resourceVersion"])
        memory.superseded.add(job.resource_version)
        memory.written = trim(written)
        return self._views.read(key, memory.written)

    def _count(self, key: Key, now: JobStatus, before: JobStatus | None = None) -> None:
        """Measure where a job is and, given what it was, what became of it."""
        blocked = find(now.conditions, ConditionType.BLOCKED)
        self._metrics.saw(key, now.phase, blocked=blocked is not None and blocked.status == "True")
        if before is None:
            return
        if now.phase in TERMINAL and before.phase not in TERMINAL:
            self._metrics.ended(key, now.phase, now.reason)
        if now.phase is Phase.RESTARTING and now.attempt > before.attempt:
            counted = now.restarts > before.restarts
            self._metrics.restarted(key, now.reason, counted=counted)

    async def _tell_trouble(self, job: JobView, memory: _Memory) -> None:
        """Tell by an event alone what no status says: where none can be written, or may any more.

        The next plan of a job that goes on has the condition, which tells of itself.
        """
        found = memory.troubles.finding
        if found is None or not memory.told.is_known:
            return
        if job.status.phase not in TERMINAL and "/status:" not in found.message:
            return
        note = Note(
            type="Warning",
            reason=found.reason,
            message=found.message,
            at=whole(self._clock()),
            key=f"trouble/{found.message}",
        )
        with contextlib.suppress(ServerError, UnreachableError):
            await memory.told.tell(self._api, job, [note], now=self._clock())

    def disband(self, key: Key, gang: Disband) -> None:
        """Have a gang taken back with the next look at its job, unless that needs it then."""
        memory = self._memories.get(key)
        if memory is not None:  # else there was no look at all yet
            memory.leftover[gang.name] = gang

    async def close(self) -> None:
        """End the look-ups that are under way."""
        await self._checks.close()
        await self._warnings.close()
        await self._events.close()

    async def _tell(self, job: JobView, memory: _Memory) -> None:
        """Tell by events what the status says; what cannot be told now stays due."""
        await memory.told.tell(self._api, job, notes(job.status), now=self._clock())

    def _memory(self, key: Key, body: Manifest) -> _Memory:
        uid, status = body["metadata"]["uid"], body.get("status") or {}
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            self._checks.forget(key)
            memory = self._memories[key] = _Memory(
                uid, Told(self._events, retell_seconds=_RETELL_SECONDS)
            )
            if status.get("phase"):  # an operator before this one was at it
                first = pod_name(
                    status.get("podStem") or key.name, attempt=status.get("attempt", 0), index=0
                )
                memory.creations.told(first, None)
        return memory

    def _plan(self, job: JobView, observed: Observed) -> Plan:
        return plan(job, observed, now=self._clock(), config=self._config)

    async def _act(self, key: Key, job: JobView, made: Plan, memory: _Memory) -> float | None:
        before = memory.creations.conflicts
        wanted = tuple(a.manifest for a in made.actions if isinstance(a, Create))
        # Planned once, with a phase that is written by now: one that fails is tried again.
        memory.disbanding.update((a.name, a) for a in made.actions if isinstance(a, Disband))
        others = (action for action in made.actions if not isinstance(action, Disband))
        over = (gang for gang in memory.disbanding.values() if not _needs(job, gang))
        actions: list[Action] = [*others, *over]
        found = await effects.act(self._api, job, actions, told=memory.creations.told)
        if not found:
            memory.disbanding.clear()
        if wanted:
            memory.creations.note(memory.uid, wanted, found, now=self._clock())
        for action in made.actions:
            if isinstance(action, Check):
                self._checks.begin(key, action.job)
        if found or memory.creations.conflicts != before:
            return 0.0
        return made.requeue_after

    def _latest(self, body: Manifest, memory: _Memory) -> Manifest:
        """The job as this operator last wrote it, until the watch has caught up."""
        if memory.written is not None:
            if body["metadata"]["resourceVersion"] in memory.superseded:
                return memory.written
            memory.written = None
            memory.superseded.clear()
        return body

    async def _observe(self, key: Key, body: Manifest, job: JobView, memory: _Memory) -> Observed:
        pods = self._store.pods(key, job.uid)
        await self._review_conflicts(job, memory)
        lost, known = await self._look_up_nodes(nodes_in_question(pods, self._clock()))
        observed = Observed(
            pods=pods,
            service=self._store.service(key, job.uid),
            config_map=self._store.config_map(key, job.uid),
            blocked=memory.troubles.finding,
            network_policy=self._store.network_policy(key, job.uid),
            dependency=self._dependency(body),
            offered=self._queues.offered,
            namesake=self._has_namesake(key),
            check=self._checks.latest(key),
            conflicts=memory.creations.conflicts,
            retry_at=memory.creations.retry_at,
            progress=self._board.latest(key, job.uid),
            listening_since=self._board.listening_since,
            lost_nodes=lost,
            known_nodes=known,
            warnings=await self._warnings.look(self._api, job.namespace, pods, now=self._clock()),
            made=memory.creations.uids,
            perhaps_made=frozenset(memory.creations.unsure),
        )
        return await self._queued(job, observed, self._store.workload(key, job.uid))

    def _has_namesake(self, key: Key) -> bool:
        others = (Key(kind, key.namespace, key.name) for kind in KINDS if kind != key.kind)
        found = ((other, self._store.job(other)) for other in others)
        return any(body is not None and body["kind"] == other.kind for other, body in found)

    def _dependency(self, job: Manifest) -> DependencyView | None:
        named = dependency(job)
        body = self._store.job(named) if named is not None else None
        return None if body is None else DependencyView.read(body)

    async def _review_conflicts(self, job: JobView, memory: _Memory) -> None:
        """See whether what was in the way still is, by looking rather than by trying."""
        known = memory.creations
        if not known.conflicts or known.conflicts[0].reason != OperatorReason.NAME_CONFLICT:
            return
        found = [
            finding
            for manifest in known.wanted
            if (finding := await effects.conflict_with(self._api, job, manifest)) is not None
        ]
        known.conflicts = tuple(found[:1])

    async def _look_up_nodes(self, names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        lost: set[str] = set()
        known: set[str] = set()
        for name in sorted(names):
            try:
                node = await self._api.find(f"/api/v1/nodes/{name}")
            except ServerError as error:
                if error.status != 403:
                    raise
                # A namespaced operator may not read nodes.
                if not self._nodes_withheld:  # told once, not with each pod
                    _LOG.warning("whether nodes are lost is not seen: %s", error)
                self._nodes_withheld = True
                continue
            self._nodes_withheld = False
            known.add(name)
            if node is None or not _is_reachable(node):
                lost.add(name)
        return frozenset(lost), frozenset(known)

    async def _live_pods(self, job: JobView, observed: Observed) -> tuple[PodView, ...]:
        """The pods as they are now: those that were seen, and those that may have been missed."""
        attempt = job.status.attempt
        names = {pod.name for pod in observed.pods}
        total = job.job.spec.resources.nodes if job.job is not None else 0
        if job.status.pods is not None:
            total = max(total, job.status.pods.total)  # as it was accepted
        if attempt > 0 or (
            job.status.phase is not None and await self._may_have_pods(job, observed)
        ):
            names |= {
                pod_name(job.status.pod_stem or job.name, attempt=number, index=index)
                for number in (attempt, max(0, attempt - 1))
                for index in range(total)
            }
        path = collection("Pod", job.namespace)
        reads = (self._api.find(f"{path}/{name}") for name in sorted(names))
        found = await run_all(reads, at_once=_AT_ONCE)
        views = (PodView.read(body) for body in found if body is not None)
        before, now = {pod.uid: pod for pod in observed.pods}, self._clock()
        return tuple(
            see(view, before.get(view.uid), now)
            for view in views
            if view is not None and view.owner == job.uid
        )

    async def _may_have_pods(self, job: JobView, observed: Observed) -> bool:
        """Whether pods of the first attempt may be there: its ConfigMap is made before them."""
        if observed.config_map is not None:
            return True
        name = shared_name(job.kind, job.name)
        found = await self._api.find(f"{collection('ConfigMap', job.namespace)}/{name}")
        return found is not None

    async def _queued(
        self, job: JobView, observed: Observed, workload: WorkloadView | None
    ) -> Observed:
        """What is known of the job's place in a queue, added."""
        pods = observed.pods_of(job.status.attempt)
        assigned = await self._queues.assignment(job.accepted, workload, pods, self._config)
        return replace(
            observed,
            workload=workload,
            flavors=assigned.flavors,
            flavor_problem=assigned.problem,
            priority=assigned.priority,
            priority_problem=assigned.priority_problem,
        )

    async def _live_workload(self, job: JobView, observed: Observed) -> WorkloadView | None:
        """The Workload as it is now, which is written to on top of the version that was read."""
        known = observed.workload
        if "kueue" not in observed.offered or (known is None and not _is_queued(observed)):
            return known
        name = shared_name(job.kind, job.name)
        body = await self._api.find(f"{collection('Workload', job.namespace)}/{name}")
        found = None if body is None else WorkloadView.read(body)
        return found if found is not None and found.owner == job.uid else None


def _in_words(action: Action) -> str:
    name = action.name if isinstance(action, Create | DeletePod | DeleteService) else ""
    return f"{type(action).__name__} {name}".rstrip()


def _is_queued(observed: Observed) -> bool:
    return any(pod.workload is not None for pod in observed.pods)


def _acts(job: JobView, made: Plan) -> bool:
    ends = made.status.phase is Phase.FAILED and job.status.phase is not Phase.FAILED
    # A Service that goes by its UID needs no second look.
    acts = any(not isinstance(action, DeleteService) for action in made.actions)
    return acts or ends or made.status.attempt != job.status.attempt


def _needs(job: JobView, gang: Disband) -> bool:
    """Whether a job that has resumed since needs what was to be taken back."""
    now = job.status
    return needs_gang(
        gang.name, stem=now.pod_stem or job.name, attempt=now.attempt, phase=now.phase
    )


def _is_same(believed: tuple[JobView, Observed], true: tuple[JobView, Observed]) -> bool:
    """Whether what the watches have seen is what there is, in whatever order."""
    (job, seen), (live, there) = believed, true
    return (
        (job.uid, job.resource_version) == (live.uid, live.resource_version)
        and set(seen.pods) == set(there.pods)
        and replace(seen, pods=()) == replace(there, pods=())
    )


def _is_reachable(node: dict[str, Any]) -> bool:
    """Whether the node's kubelet was heard of lately, as the node controller sees it."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((entry for entry in conditions if entry["type"] == "Ready"), None)
    return ready is not None and ready["status"] != "Unknown"
