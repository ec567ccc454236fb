"""One reconcile of one sweep: observe, plan, carry out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines import SWEEP
from mmrlhf_api.sweeps.phases import PointPhase
from mmrlhf_operator.acting.children import Children, NamedJob
from mmrlhf_operator.acting.owned import write_status
from mmrlhf_operator.acting.tracing import Tracing
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.run_actions import CreateJob
from mmrlhf_operator.planning.sweeps import SweepPlan, plan_sweep
from mmrlhf_operator.state.bodies import trim
from mmrlhf_operator.state.store import Key, RunStore
from mmrlhf_operator.state.sweep_views import ParsedSweep, SweepObserved, SweepView
from mmrlhf_operator.state.views import Finding

__all__ = ["SweepReconciler"]

_MADE = frozenset({PointPhase.STARTING, PointPhase.RUNNING, PointPhase.STOPPED})


@dataclass
class _Memory:
    uid: str
    parsed: ParsedSweep | None = None
    conflicts: dict[str, Finding] = field(default_factory=dict)


class SweepReconciler:
    """Reconciles sweeps.

    Args:
        api: The API server.
        store: What the watches have seen.
        clock: Tells the time.
        tracing: Told of what has ended; None where nobody traces.
    """

    def __init__(
        self,
        api: Api,
        store: RunStore,
        *,
        clock: Callable[[], datetime],
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._api = api
        self._store = store
        self._clock = clock
        self._children = Children(api, store, "sweep")
        self._memories: dict[Key, _Memory] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done about a sweep; returns after how many seconds to come back."""
        body = self._store.job(key)
        if body is None:
            self._memories.pop(key, None)
            return None
        memory = self._memory(key, body)
        view = self._read(body, memory)
        observed = SweepObserved(
            children=self._children.seen(key, _named(view)), conflicts=dict(memory.conflicts)
        )
        made = plan_sweep(view, observed, now=self._clock())
        if made.status == view.status and not made.actions:
            return made.requeue_after
        # What watches have seen may be old: nothing is done but on what is true now.
        live = await self._api.find(_path(key))
        if live is None or live["metadata"]["uid"] != view.uid:
            return None  # the watch will tell
        view = self._read(trim(live), memory)
        named = _named(view)
        seen = self._children.seen(key, named)
        observed = replace(observed, children=await self._children.there(key, named, seen))
        made = plan_sweep(view, observed, now=self._clock())
        await write_status(self._api, key, _path(key), view, made.status)
        if self._tracing is not None:
            self._tracing.flow_changed(key, live, view.status, made.status)
        return await self._act(key, view, made, memory)

    async def _act(
        self, key: Key, view: SweepView, made: SweepPlan, memory: _Memory
    ) -> float | None:
        delay = made.requeue_after
        for action in made.actions:
            if not isinstance(action, CreateJob):
                await self._children.patch(key, action)
                continue
            before = memory.conflicts.pop(action.step, None)
            conflict = await self._children.create(key, view.uid, action)
            if conflict is not None:
                memory.conflicts[action.step] = conflict
            if conflict != before:
                delay = 0.0  # tell it
        return delay

    def _read(self, body: Mapping[str, Any], memory: _Memory) -> SweepView:
        view = SweepView.read(body, memory.parsed)
        memory.parsed = view.parsed
        return view

    def _memory(self, key: Key, body: Mapping[str, Any]) -> _Memory:
        uid = body["metadata"]["uid"]
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            memory = self._memories[key] = _Memory(uid)
        return memory


def _path(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{SWEEP.plural}/{key.name}"


def _named(view: SweepView) -> list[NamedJob]:
    """Each job that the sweep has or may have made, but those that have ended well or failed."""
    if view.sweep is None:
        return []
    kind = view.sweep.spec.template.kind
    return [
        NamedJob(one.name, kind, one.job)
        for one in view.status.points
        if one.job is not None and one.phase in _MADE
    ]
