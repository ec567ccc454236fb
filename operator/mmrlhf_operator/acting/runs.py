"""One reconcile of one run of a pipeline, a pipeline or a sweep: observe, plan, carry out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines import PIPELINE, RESOURCES, SWEEP
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import StepStatus
from mmrlhf_operator.acting.children import Children, NamedJob
from mmrlhf_operator.acting.contents import Contents, Looker
from mmrlhf_operator.acting.earlier_events import EarlierEvents
from mmrlhf_operator.acting.owned import write_status
from mmrlhf_operator.acting.pipelines import PipelineReconciler
from mmrlhf_operator.acting.sweeps import SweepReconciler
from mmrlhf_operator.acting.telling import Told
from mmrlhf_operator.acting.tracing import Tracing
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.clock import SteadyClock
from mmrlhf_operator.planning.run_actions import CreateJob, PatchJob, RunPlan
from mmrlhf_operator.planning.run_notes import run_notes
from mmrlhf_operator.planning.runs import plan_run
from mmrlhf_operator.state.bodies import trim
from mmrlhf_operator.state.runs import RunObserved, RunView, steps_of
from mmrlhf_operator.state.store import Key, RunStore
from mmrlhf_operator.state.views import Finding

__all__ = ["RunReconciler"]

_RETELL_SECONDS = 600.0


@dataclass
class _Memory:
    uid: str
    told: Told
    conflicts: dict[str, Finding] = field(default_factory=dict)


class RunReconciler:
    """Reconciles runs, pipelines and sweeps.

    Args:
        api: The API server.
        store: What the watches have seen.
        config: The operator's configuration.
        looker: Looks into stores for what steps read; None where nobody does.
        wake: Asks for a run to be looked at again.
        clock: Tells the time, and never jumps.
        wall: Tells the time of day, as the machine knows it now: schedules go by that.
        tracing: Told of what has ended; None where nobody traces.
    """

    def __init__(
        self,
        api: Api,
        store: RunStore,
        *,
        config: OperatorConfig,
        looker: Looker | None,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime] | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._api = api
        self._store = store
        self._config = config
        self._clock = clock or SteadyClock()
        self._children = Children(api, store, "run")
        self._contents = Contents(looker, wake=wake)
        self._sweeps = SweepReconciler(api, store, clock=self._clock, tracing=tracing)
        self._pipelines = PipelineReconciler(
            api, store, config=config, looker=looker, wake=wake, clock=wall
        )
        self._memories: dict[Key, _Memory] = {}
        self._events = EarlierEvents()

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done about a run; returns after how many seconds to come back."""
        if key.kind == PIPELINE.name:
            return await self._pipelines.reconcile(key)
        if key.kind == SWEEP.name:
            return await self._sweeps.reconcile(key)
        body = self._store.job(key)
        if body is None:
            self._forget(key)
            return None
        memory = self._memory(key, body)
        run = RunView.read(body)
        with contextlib.suppress(ServerError, UnreachableError):
            # Before a new status takes the place of this one, which a crash may have left untold.
            await self._tell(run, memory)
        made = self._plan(run, self._observe(key, run, memory))
        if made.status == run.status and not made.actions:
            await self._tell(run, memory)
            return made.requeue_after
        # What watches have seen may be old: nothing is done but on what is true now.
        live = await self._api.find(_path(key))
        if live is None or live["metadata"]["uid"] != run.uid:
            return None  # the watch will tell
        run = RunView.read(trim(live))
        observed = self._observe(key, run, memory)
        made = self._plan(run, await self._look_again(key, run, observed))
        written = await write_status(self._api, key, _path(key), run, made.status)
        if self._tracing is not None:
            self._tracing.flow_changed(key, live, run.status, made.status)
        delay = await self._act(key, run, made, memory)
        await self._tell(run if written is None else RunView.read(trim(written)), memory)
        return delay

    async def close(self) -> None:
        """End the look-ups that are under way."""
        await self._events.close()
        await self._contents.close()
        await self._pipelines.close()

    async def _tell(self, run: RunView, memory: _Memory) -> None:
        await memory.told.tell(self._api, run, run_notes(run.status), now=self._clock())

    def _plan(self, run: RunView, observed: RunObserved) -> RunPlan:
        return plan_run(run, observed, now=self._clock(), images=self._config.images)

    def _observe(self, key: Key, run: RunView, memory: _Memory) -> RunObserved:
        return RunObserved(
            children=self._children.seen(key, _named(run)),
            inputs=self._contents.inputs(run.uid),
            held=self._contents.held(run.uid),
            earlier=self._earlier(key, run),
            conflicts=dict(memory.conflicts),
        )

    def _earlier(self, key: Key, run: RunView) -> tuple[tuple[str, StepStatus], ...]:
        """What other runs of the same pipeline have made, that of the latest first."""
        if run.run is None or run.run.spec.pipeline is None:
            return ()
        decided = {StepPhase.STARTING, StepPhase.RUNNING, StepPhase.SUCCEEDED}
        if run.status.steps and all(one.phase in decided for one in run.status.steps):
            return ()
        pipeline = Key(PIPELINE.name, key.namespace, run.run.spec.pipeline)
        bodies = [self._store.job(one) for one in self._store.runs(pipeline) if one != key]
        known = [body for body in bodies if body is not None]
        known.sort(key=lambda body: body["metadata"]["creationTimestamp"], reverse=True)
        return tuple((body["metadata"]["name"], step) for body in known for step in steps_of(body))

    async def _look_again(self, key: Key, run: RunView, observed: RunObserved) -> RunObserved:
        """See whether jobs that the watches do not show are there, by asking."""
        named = _named(run)
        return replace(observed, children=await self._children.there(key, named, observed.children))

    async def _act(self, key: Key, run: RunView, made: RunPlan, memory: _Memory) -> float | None:
        delay = made.requeue_after
        for action in made.actions:
            if isinstance(action, CreateJob):
                self._contents.settle(run.uid, action.step)
                before = memory.conflicts.pop(action.step, None)
                conflict = await self._children.create(key, run.uid, action)
                if conflict is not None:
                    memory.conflicts[action.step] = conflict
                if conflict != before:
                    delay = 0.0  # tell it
            elif isinstance(action, PatchJob):
                await self._children.patch(key, action)
            else:
                self._contents.begin(key, run.uid, action)
        return delay

    def _memory(self, key: Key, body: Mapping[str, Any]) -> _Memory:
        uid = body["metadata"]["uid"]
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            self._forget(key)
            memory = self._memories[key] = _Memory(
                uid, Told(self._events, retell_seconds=_RETELL_SECONDS)
            )
        return memory

    def _forget(self, key: Key) -> None:
        memory = self._memories.pop(key, None)
        if memory is not None:
            self._contents.forget(memory.uid)


def _path(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{RESOURCES[key.kind].plural}/{key.name}"


def _named(run: RunView) -> list[NamedJob]:
    """Each job that the run has or may have made."""
    return [
        NamedJob(one.name, one.kind, one.job)
        for one in run.status.steps
        if one.kind in KINDS
        and one.job is not None
        and one.phase in {StepPhase.STARTING, StepPhase.RUNNING, StepPhase.SKIPPED}
    ]
