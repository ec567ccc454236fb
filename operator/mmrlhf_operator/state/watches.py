"""kopf as an event pump: watches keep an index up to date, and every event asks for a reconcile.

Only an index and ``on.event`` handlers are used. kopf's other handlers write annotations or
finalizers to the jobs, and an ``on.event`` handler that raises is not called again: so all they do
is to add a key to the queue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kopf
from kubernetes.aio import client

from mmrlhf_api import KINDS
from mmrlhf_api.backoff import doubling_wait
from mmrlhf_api.constants import GROUP, LABEL_JOB, LABEL_KIND, LABEL_MANAGED_BY, MANAGER, VERSION
from mmrlhf_api.pipelines import PIPELINE, RESOURCES, RUN, SWEEP
from mmrlhf_api.pipelines.names import LABEL_RUN
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.sweeps.grid import LABEL_SWEEP
from mmrlhf_operator.kube.clock import SteadyClock
from mmrlhf_operator.state.bodies import PackedJob
from mmrlhf_operator.state.dependencies import dependency
from mmrlhf_operator.state.memoryless import NoDiffs, NoHandling
from mmrlhf_operator.state.pods import PodView, see
from mmrlhf_operator.state.session import Asked, Pause, connect
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import ConfigMapView, NetworkPolicyView, ServiceView
from mmrlhf_operator.state.workloads import WorkloadView

__all__ = ["CHILDREN", "NETWORK_POLICIES", "WORKLOADS", "Child", "IndexStore", "Place", "Pump"]

_LOG = logging.getLogger(__name__)
SELECTOR = f"{LABEL_MANAGED_BY}={MANAGER}"


@dataclass(frozen=True, kw_only=True)
class Child:
    """A kind of objects that belong to jobs.

    Attributes:
        view: What is kept of one.
        group: Its API group; empty for the core.
        version: Version of that.
        selector: Labels by which the API server finds them.
        optional: Whether clusters may lack the kind.
    """

    view: type[PodView | ServiceView | ConfigMapView | WorkloadView]
    group: str = ""
    version: str = "v1"
    selector: str = SELECTOR
    optional: bool = False

    @property
    def root(self) -> str:
        """Path below which the API server has them."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


NETWORK_POLICIES = "networkpolicies"
WORKLOADS = "workloads"
CHILDREN: Mapping[str, Child] = {
    # Policies write well-known labels onto pods; those of our own group nobody else knows.
    "pods": Child(view=PodView, selector=LABEL_JOB),
    "services": Child(view=ServiceView),
    "configmaps": Child(view=ConfigMapView),
    NETWORK_POLICIES: Child(view=NetworkPolicyView, group="networking.k8s.io"),
    WORKLOADS: Child(
        view=WorkloadView,
        group="kueue.x-k8s.io",
        version="v1beta2",
        optional=True,
    ),
}
"""By plural, which is the name of the index as well."""
_INDEX = "held"  # under which name kopf hands it to handlers
_DEPENDENTS = "dependents"
_RUNS = "runs"
_STEPS = "steps"
Place = tuple[str, Key]
"""Where the index has something: its plural, or how it hangs together with what is named; whose."""
_PLURALS: Mapping[str, str] = {one.name: one.plural for one in all_resources()}
_GRACE = 1.05
_CONNECT_SECONDS = 30.0
_PAGE = 10
_IDLE_SECONDS = 0.1


class IndexStore:
    """The `Store` that kopf's index is; jobs are packed there.

    It is one index for all kinds: kopf hands all that there are to each handler of each event, and
    calls a handler for each of them.
    """

    def __init__(self) -> None:
        self._index: Mapping[Place, Any] = {}
        self._gone: frozenset[str] = frozenset()
        self._listed: set[str] = set()

    def attach(self, index: Mapping[Place, Any]) -> None:
        """Take the index that kopf keeps; it is filled before the first event is told."""
        self._index = index

    def keys(self) -> Iterable[Key]:
        """See `Store`."""
        return list(self.uids().values())

    def uids(self) -> Mapping[str, Key]:
        """All of ours that there is, by UID."""
        ours = frozenset(_PLURALS.values())
        places = [place for place in self._index if place[0] in ours]
        return {_uid(entry): place[1] for place in places for entry in self._of(*place)}

    def job(self, key: Key) -> dict[str, Any] | None:
        """See `Store`."""
        found = next(iter(self._of(_PLURALS[key.kind], key)), None)
        return found.body() if isinstance(found, PackedJob) else found

    def dependents(self, key: Key) -> Iterable[Key]:
        """See `Store`."""
        return self._all(_DEPENDENTS, key)

    def runs(self, pipeline: Key) -> Iterable[Key]:
        """See `RunStore`."""
        return self._all(_RUNS, pipeline)

    def run_of(self, job: Key) -> Iterable[Key]:
        """The run or sweep that a job is of, if it is of one."""
        return self._all(_STEPS, job)

    def pod(self, key: Key, uid: str) -> PodView | None:
        """A pod as it was last seen."""
        return next((pod for pod in self._all("pods", key) if pod.uid == uid), None)

    def pods(self, key: Key, uid: str) -> tuple[PodView, ...]:
        """See `Store`."""
        return tuple(pod for pod in self._of("pods", key) if pod.owner == uid)

    def service(self, key: Key, uid: str) -> ServiceView | None:
        """See `Store`."""
        return next((entry for entry in self._of("services", key) if entry.owner == uid), None)

    def config_map(self, key: Key, uid: str) -> ConfigMapView | None:
        """See `Store`."""
        return next((entry for entry in self._of("configmaps", key) if entry.owner == uid), None)

    def network_policy(self, key: Key, uid: str) -> NetworkPolicyView | None:
        """See `Store`."""
        found = self._of(NETWORK_POLICIES, key)
        return next((entry for entry in found if entry.owner == uid), None)

    def workload(self, key: Key, uid: str) -> WorkloadView | None:
        """See `Store`."""
        return next((entry for entry in self._of(WORKLOADS, key) if entry.owner == uid), None)

    def note_list(self, plural: str) -> None:
        """Take note that kopf lists a kind: what is gone without a word it still holds."""
        self._listed.add(plural)

    def listed_anew(self) -> frozenset[str]:
        """Plurals of what kopf has listed since this was asked last."""
        listed, self._listed = frozenset(self._listed), set()
        return listed

    def held(self, plural: str) -> Mapping[str, Key]:
        """All objects of a kind that kopf holds, by UID, with the job that each is of or is."""
        keys = [key for name, key in self._index if name == plural]
        return {_uid(entry): key for key in keys for entry in self._all(plural, key)}

    def forget(self, uids: Collection[str]) -> None:
        """Hold objects no more, and those no more that were forgotten before and are not named."""
        self._gone = frozenset(uids)

    def _of(self, name: str, key: Key) -> tuple[Any, ...]:
        return tuple(entry for entry in self._all(name, key) if _uid(entry) not in self._gone)

    def _all(self, name: str, key: Key) -> tuple[Any, ...]:
        place = (name, key)
        return tuple(self._index[place]) if place in self._index else ()


class Pump:
    """Watches jobs and what belongs to them.

    Args:
        configuration: How to reach the API server.
        enqueue: Called with the key of a job that something happened to.
        namespaces: Namespaces to watch; none means all.
        seconds: After which a watch is made anew.
        retry: Seconds before a request that failed is made again, and most of them.
        clock: Tells the time; by default one that never jumps.
        asked: Told how each request of a watch went; see `connect`.
        without: Plurals of `CHILDREN` that are not watched.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        *,
        enqueue: Callable[[Key], None],
        namespaces: tuple[str, ...] = (),
        seconds: int,
        retry: tuple[float, float] = (1.0, 30.0),
        clock: Callable[[], datetime] | None = None,
        asked: Asked = lambda verb, code, seconds: None,  # noqa: ARG005 - nobody asks
        without: Collection[str] = (),
    ) -> None:
        self.store = IndexStore()
        self._seconds = seconds
        self._retry = retry
        self._asked = asked
        self._clock = clock or SteadyClock()
        self._configuration = configuration
        self._enqueue = enqueue
        self._namespaces = namespaces
        self._without = frozenset(without)
        self._children: Mapping[str, Child] = {}

    async def run(
        self, *, ready: asyncio.Event | None = None, without: Collection[str] = ()
    ) -> None:
        """Watch until cancelled.

        Args:
            ready: Set once kopf has started; jobs are told a little later.
            without: More plurals that are not watched, as the API server does not know them.
        """
        left_out = self._without | set(without)
        self._children = {name: one for name, one in CHILDREN.items() if name not in left_out}
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(self._seconds, _Waits(*self._retry)),
            standalone=True,  # replicas agree by a Lease; kopf's peering freezes on a tie
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            ready_flag=ready,
        )

    def wake(self, key: Key) -> None:
        """Ask for a look at a job, at those that name it, and at the run or sweep that it is of."""
        self._enqueue(key)
        for waiting in (*self.store.dependents(key), *self.store.run_of(key)):
            self._enqueue(waiting)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        pause = Pause(_Waits(*self._retry), quiet=2 * max(self._retry))

        @kopf.on.login(id="login", registry=registry)
        async def login(**_: object) -> kopf.AiohttpSession:
            await pause.keep()
            return await connect(
                self._configuration, listed=self.store.note_list, asked=self._asked
            )

        for kind in KINDS.values():
            self._watch_jobs(registry, kind.plural, kind.name)
        for resource in RESOURCES.values():
            self._watch_runs(registry, resource.plural, resource.name)
        for plural, child in self._children.items():
            self._watch_children(registry, plural, child)
        return registry

    def _watch_jobs(self, registry: kopf.OperatorRegistry, plural: str, kind: str) -> None:
        @kopf.index(GROUP, VERSION, plural, id=_INDEX, registry=registry)
        async def index(body: Mapping[str, Any], **_: object) -> dict[Place, Any]:
            key, named, run = _key(kind, body), dependency(body), _run_of(body)
            found: dict[Place, Any] = {(plural, key): PackedJob.pack(body)}
            if named is not None:
                found[_DEPENDENTS, named] = key
            if run is not None:
                found[_STEPS, key] = run
            return found

        @kopf.on.event(GROUP, VERSION, plural, id=f"{plural}-event", registry=registry)
        async def tell(body: Mapping[str, Any], held: Mapping[Place, Any], **_: object) -> None:
            self.store.attach(held)
            self.wake(_key(kind, body))
            run = _run_of(body)  # of a job that is gone the index knows no more
            if run is not None:
                self._enqueue(run)

    def _watch_runs(self, registry: kopf.OperatorRegistry, plural: str, kind: str) -> None:
        @kopf.index(GROUP, VERSION, plural, id=_INDEX, registry=registry)
        async def index(body: Mapping[str, Any], **_: object) -> dict[Place, Any]:
            key, pipeline = _key(kind, body), _pipeline_of(body)
            found: dict[Place, Any] = {(plural, key): PackedJob.pack(body)}
            if pipeline is not None:
                found[_RUNS, pipeline] = key
            return found

        @kopf.on.event(GROUP, VERSION, plural, id=f"{plural}-event", registry=registry)
        async def tell(body: Mapping[str, Any], held: Mapping[Place, Any], **_: object) -> None:
            self.store.attach(held)
            self._enqueue(_key(kind, body))
            pipeline = _pipeline_of(body)
            if pipeline is not None:
                self._enqueue(pipeline)

    def _watch_children(self, registry: kopf.OperatorRegistry, plural: str, child: Child) -> None:
        place = (child.group, child.version) if child.group else (child.version,)

        @kopf.index(*place, plural, id=_INDEX, registry=registry)
        async def index(body: Mapping[str, Any], **_: object) -> dict[Place, Any] | None:
            key, read = _job_of(body), child.view.read(body)
            if key is None or read is None:
                return None
            if isinstance(read, PodView):
                read = see(read, self.store.pod(key, read.uid), self._clock())
            return {(plural, key): read}

        @kopf.on.event(*place, plural, id=f"{plural}-event", registry=registry)
        async def tell(body: Mapping[str, Any], held: Mapping[Place, Any], **_: object) -> None:
            self.store.attach(held)
            key = _job_of(body)
            if key is not None:
                self._enqueue(key)


def _uid(entry: Any) -> str:  # noqa: ANN401 - a view, or the body of a job
    uid: str = entry["metadata"]["uid"] if isinstance(entry, dict) else entry.uid
    return uid


def _key(kind: str, body: Mapping[str, Any]) -> Key:
    metadata = body["metadata"]
    return Key(kind, metadata["namespace"], metadata["name"])


def _run_of(body: Mapping[str, Any]) -> Key | None:
    """The run or sweep that a job says it is of; whether it is, its owner tells."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    for kind, label in ((RUN.name, LABEL_RUN), (SWEEP.name, LABEL_SWEEP)):
        if name := labels.get(label):
            return Key(kind, metadata["namespace"], name)
    return None


def _pipeline_of(body: Mapping[str, Any]) -> Key | None:
    """The pipeline that a run is of."""
    spec = body.get("spec")
    name = spec.get("pipeline") if isinstance(spec, Mapping) else None
    named = isinstance(name, str) and body.get("kind") == RUN.name
    return Key(PIPELINE.name, body["metadata"]["namespace"], str(name)) if named else None


def _job_of(body: Mapping[str, Any]) -> Key | None:
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    kind, name = labels.get(LABEL_KIND), labels.get(LABEL_JOB)
    if kind is None or kind not in KINDS or not name:
        return None
    return Key(kind, metadata["namespace"], name)


class _Waits:
    """Seconds before a request is made again, for ever: they double.

    kopf gives up after eight tries by itself, and then ends: for a right that is missing, or a
    server that fails for a minute, all jobs would be without an operator.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest

    def __iter__(self) -> Iterator[float]:
        for attempt in itertools.count(1):
            yield doubling_wait(attempt, first=self._first, longest=self._longest)


def _settings(seconds: int, waits: Iterable[float]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = waits
    # Nothing is told by kopf, which knows no conditions, and nothing is scanned that takes rights
    # on the whole cluster.
    settings.posting.enabled = False
    settings.scanning.disabled = True
    # Who stops an operator is not to be killed ten minutes later: a process that does not end is
    # for kubelet to kill, and others have more to do than this.
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = seconds  # an integer: it is a query parameter
    settings.watching.client_timeout = seconds * _GRACE + 1.0
    settings.watching.connect_timeout = _CONNECT_SECONDS
    # Whoever may create jobs decides how large they are: lists come in pages, and the last event of
    # an object is not held for seconds in case another one follows.
    settings.watching.chunk_size = _PAGE
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoHandling()
    for plural, child in CHILDREN.items():
        settings.watching.label_selectors[plural] = child.selector
    return settings
