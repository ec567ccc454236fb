"""One reconcile of one pipeline: whether runs can be made of it, and whether one is due."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmrlhf_api.constants import API_VERSION, Reason
from mmrlhf_api.pipelines import PIPELINE, RUN, AlignmentPipeline, freeze
from mmrlhf_api.pipelines.aliases import moved_aliases
from mmrlhf_api.pipelines.names import LABEL_PIPELINE
from mmrlhf_api.pipelines.types import AlignmentPipelineStatus, RunCondition
from mmrlhf_api.schedule import ScheduleCondition, ScheduleStatus, StartedRun
from mmrlhf_operator.acting.contents import Looker
from mmrlhf_operator.acting.earlier_events import EarlierEvents
from mmrlhf_operator.acting.owned import create_owned, patch_if_there, write_status
from mmrlhf_operator.acting.sights import Sights
from mmrlhf_operator.acting.telling import Told
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest
from mmrlhf_operator.kube.timestamps import format_time, whole
from mmrlhf_operator.planning.conditions import Conditions
from mmrlhf_operator.planning.schedule_notes import schedule_notes
from mmrlhf_operator.planning.schedules import Decision, Scheduled, decide
from mmrlhf_operator.state.bodies import trim
from mmrlhf_operator.state.metadata import owner_uid
from mmrlhf_operator.state.runs import PipelineView
from mmrlhf_operator.state.schedules import (
    ANNOTATION_CAUSE,
    ANNOTATION_DIGEST,
    ANNOTATION_TIME,
    SeenRun,
)
from mmrlhf_operator.state.store import Key, RunStore
from mmrlhf_operator.state.views import Finding, StatusUnreadableError

__all__ = ["PipelineReconciler"]

_LOG = logging.getLogger(__name__)
_REFUSED_SECONDS = 30.0
_RETELL_SECONDS = 3600.0
"""What is told bears the time that a run was for, which may begin later."""

Alias = tuple[str, str]
"""Store and name of an alias."""


@dataclass
class _Memory:
    """What is remembered of a pipeline; all of it can be found out again."""

    uid: str
    born: tuple[datetime, str]
    told: Told
    aliases: frozenset[Alias] = frozenset()
    judged: int = -1
    conflict: Finding | None = None


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What is decided about a pipeline: its status, and its runs if it has a schedule."""

    status: AlignmentPipelineStatus
    decision: Decision | None = None


class PipelineReconciler:
    """Reconciles pipelines.

    Args:
        api: The API server.
        store: What the watches have seen.
        config: The operator's configuration.
        looker: Looks into stores; None where nobody does.
        wake: Asks for a pipeline to be looked at again.
        clock: Tells the time.
    """

    def __init__(
        self,
        api: Api,
        store: RunStore,
        *,
        config: OperatorConfig,
        looker: Looker | None,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._config = config
        self._clock = clock
        self._wake = wake
        self._sights = Sights(looker, wake=wake, clock=clock)
        self._memories: dict[Key, _Memory] = {}
        self._events = EarlierEvents()
        self._met = False

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done about a pipeline; returns after how many seconds to come back."""
        body = self._store.job(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._forget(key)
            return None
        view = PipelineView.read(body)
        memory = self._memory(key, view)
        with contextlib.suppress(ServerError, UnreachableError):
            # Before a new status takes the place of this one, which a crash may have left untold.
            await self._tell(view, memory)
        made = self._decide(key, view, memory, self._runs(key, view))
        if made.status != view.status or _acts(made):
            # What watches have seen may be old: nothing is done but on what is true now.
            live = await self._api.find(_path(key))
            if live is None or live["metadata"]["uid"] != view.uid:
                return None  # the watch will tell
            view = PipelineView.read(trim(live))
            made = self._decide(key, view, memory, self._runs(key, view))
            if _acts(made):  # such a list costs the server the more the more pipelines there are
                made = self._decide(key, view, memory, await self._live_runs(key, view))
        view = await self._write(key, view, made)
        delay = await self._act(key, view, memory, made.decision)
        await self._tell(view, memory)
        return delay

    async def close(self) -> None:
        """End the looks that are under way."""
        await self._events.close()
        await self._sights.close()

    def _decide(
        self, key: Key, view: PipelineView, memory: _Memory, runs: tuple[SeenRun, ...]
    ) -> _Made:
        now = self._clock()
        conditions = Conditions(view.status.conditions, now=whole(now), generation=view.generation)
        problem = self._problem(key, view, memory)
        valid = view.problem is None
        reason = problem.reason if problem is not None else Reason.VALID
        words = problem.message if problem is not None else ""
        conditions.set(
            RunCondition.ACCEPTED,
            "True" if valid else "False",
            Reason.VALID if valid else reason,
            "" if valid else words,
        )
        conditions.set(RunCondition.READY, "False" if problem else "True", reason, words)
        conditions.set(RunCondition.STALLED, "True" if problem else "False", reason, words)
        spec = view.pipeline.spec if view.pipeline is not None else None
        if spec is None or spec.schedule is None or problem is not None:
            conditions.clear(
                ScheduleCondition.ON_SCHEDULE, "NoSchedule" if valid else reason, words
            )
            return _made(view, conditions)
        scheduled = Scheduled(
            name=view.name,
            uid=view.uid,
            created=view.created,
            generation=view.generation,
            schedule=spec.schedule,
            suspended=spec.suspend,
            status=view.status.schedule or ScheduleStatus(),
        )
        sight = self._sights.latest(view.uid)
        decision = decide(
            scheduled,
            runs,
            sight,
            now=now,
            look_seconds=self._config.look_seconds,
        )
        suspended = Finding(reason="Suspended", message="spec.suspend is true")
        waits = suspended if spec.suspend else memory.conflict or decision.waits
        if waits is None and sight is None and decision.look and _is_told(conditions):
            pass  # what is in the way is not known before the first look: it stays as it was told
        elif waits is None:
            conditions.set(
                ScheduleCondition.ON_SCHEDULE, "True", "Waiting", "the next run is not due"
            )
        else:
            conditions.set(ScheduleCondition.ON_SCHEDULE, "False", waits.reason, waits.message)
        return _made(view, conditions, decision)

    def _problem(self, key: Key, view: PipelineView, memory: _Memory) -> Finding | None:
        """Why no runs can be made of a pipeline; None when they can."""
        if view.problem is not None or view.pipeline is None:
            self._note_aliases(key, memory, frozenset(), view.generation)
            return Finding(reason=Reason.INVALID_SPEC, message=view.problem or "")
        if memory.judged != view.generation:
            self._note_aliases(key, memory, moved_aliases(view.pipeline), view.generation)
        if memory.aliases:
            self._meet_others(key)
        for other, known in self._sharing(key, memory.aliases):
            if known.born < memory.born:
                store, alias = min(known.aliases & memory.aliases)
                whose = (
                    f"pipeline {other.name}"
                    if other.namespace == key.namespace
                    else "a pipeline of another namespace"
                )
                return Finding(
                    reason="AliasTaken",
                    message=f"{whose}, which is older, moves alias {alias} in {store}: two would"
                    " undo what the other did; name another alias, or delete one of the two",
                )
        return None

    def _meet_others(self, key: Key) -> None:
        """Get to know the aliases of pipelines that were not reconciled since the start.

        Once: the watches have told all that there were by then, and who comes later says so itself.
        """
        if self._met:
            return
        self._met = True
        for other in self._store.keys():  # noqa: SIM118 - no mapping
            if other.kind != PIPELINE.name or other == key or other in self._memories:
                continue
            body = self._store.job(other)
            # One whose status cannot be read is told by its own look, and stops no others.
            with contextlib.suppress(StatusUnreadableError):
                if body is not None:
                    view = PipelineView.read(body)
                    known = self._memory(other, view)
                    if view.pipeline is not None:
                        known.aliases, known.judged = moved_aliases(view.pipeline), view.generation

    def _note_aliases(
        self, key: Key, memory: _Memory, aliases: frozenset[Alias], generation: int
    ) -> None:
        before, memory.aliases, memory.judged = memory.aliases, aliases, generation
        if before != aliases:
            for other, _ in self._sharing(key, before | aliases):
                self._wake(other)

    def _sharing(self, key: Key, aliases: frozenset[Alias]) -> Iterator[tuple[Key, _Memory]]:
        """Other pipelines that move one of some aliases."""
        for other, known in self._memories.items():
            if other != key and known.aliases & aliases:
                yield other, known

    def _runs(self, key: Key, view: PipelineView) -> tuple[SeenRun, ...]:
        bodies = (self._store.job(run) for run in self._store.runs(key))
        return _own((body for body in bodies if body is not None), view)

    async def _live_runs(self, key: Key, view: PipelineView) -> tuple[SeenRun, ...]:
        path = _runs(key)
        listed = await self._api.get(path, labelSelector=f"{LABEL_PIPELINE}={key.name}")
        return _own(listed.get("items") or (), view)

    async def _write(self, key: Key, view: PipelineView, made: _Made) -> PipelineView:
        """Write the status; returns the pipeline as the server has it then."""
        written = await write_status(self._api, key, _path(key), view, made.status)
        return view if written is None else PipelineView.read(trim(written))

    async def _act(
        self, key: Key, view: PipelineView, memory: _Memory, decision: Decision | None
    ) -> float | None:
        if decision is None:
            return None
        assert view.pipeline is not None
        before = memory.conflict
        if decision.start is not None:
            memory.conflict = await self._start(key, view, decision.start)
        for run in decision.cancel:
            await self._cancel(key, run)
        for run in decision.delete:
            await self._api.delete(f"{_runs(key)}/{run.name}", uid=run.uid)
            _LOG.info("%s: deleted %s, as the history is longer than its limits", key, run.name)
        if decision.look:
            self._sights.begin(key, view.uid, view.pipeline, view.generation)
        if memory.conflict is not None:
            return 0.0 if memory.conflict != before else _REFUSED_SECONDS
        if decision.start is not None:
            return 0.0  # what comes after it is told by its own status
        if decision.wake is None:
            return None
        return max(0.0, (decision.wake - self._clock()).total_seconds())

    async def _start(self, key: Key, view: PipelineView, start: StartedRun) -> Finding | None:
        """Make a run; returns what is in the way."""
        assert view.pipeline is not None
        manifest = run_manifest(view.pipeline, view.uid, start)
        made, conflict = await create_owned(
            self._api,
            _runs(key),
            manifest,
            uid=view.uid,
            what=f"run {start.name}",
            foreign="that does not belong to this pipeline; remove it",
        )
        if made:
            _LOG.info("%s: started %s by %s", key, start.name, start.cause)
        return conflict

    async def _cancel(self, key: Key, run: SeenRun) -> None:
        body = {"metadata": {"uid": run.uid}, "spec": {"cancel": True}}
        await patch_if_there(self._api, f"{_runs(key)}/{run.name}", body)

    async def _tell(self, view: PipelineView, memory: _Memory) -> None:
        """Tell by events what the status says; one that was told before is there already."""
        status = view.status.schedule
        if status is not None:
            notes = schedule_notes(status)
            await memory.told.tell(self._api, view, notes, now=self._clock())

    def _memory(self, key: Key, view: PipelineView) -> _Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != view.uid:
            self._forget(key)
            memory = self._memories[key] = _Memory(
                view.uid,
                (view.created, view.uid),
                Told(self._events, retell_seconds=_RETELL_SECONDS),
            )
        return memory

    def _forget(self, key: Key) -> None:
        memory = self._memories.pop(key, None)
        if memory is not None:
            self._sights.forget(memory.uid)
            for other, _ in self._sharing(key, memory.aliases):
                self._wake(other)


def run_manifest(pipeline: AlignmentPipeline, uid: str, start: StartedRun) -> Manifest:
    """Return the run that a schedule starts; the same each time.

    Args:
        pipeline: The pipeline as it is now.
        uid: Its identity.
        start: Which run.
    """
    owner = pipeline.metadata.model_copy(update={"uid": uid})
    body = freeze(pipeline.model_copy(update={"metadata": owner}), name=start.name)
    noted = {ANNOTATION_TIME: format_time(start.time), ANNOTATION_CAUSE: start.cause}
    if start.digest is not None:
        noted[ANNOTATION_DIGEST] = start.digest
    body["metadata"]["annotations"] = noted
    return body


def _made(view: PipelineView, conditions: Conditions, decision: Decision | None = None) -> _Made:
    changes = {
        "conditions": conditions.all(),
        "observed_generation": view.generation,
        "schedule": decision.status if decision is not None else None,
    }
    return _Made(status=view.status.model_copy(update=changes), decision=decision)


def _is_told(conditions: Conditions) -> bool:
    return conditions.find(ScheduleCondition.ON_SCHEDULE) is not None


def _acts(made: _Made) -> bool:
    found = made.decision
    return found is not None and bool(found.start or found.cancel or found.delete)


def _own(bodies: Iterable[Mapping[str, Any]], view: PipelineView) -> tuple[SeenRun, ...]:
    return tuple(SeenRun.read(body) for body in bodies if owner_uid(body) == view.uid)


def _path(key: Key) -> str:
    return f"{_runs(key, PIPELINE.plural)}/{key.name}"


def _runs(key: Key, plural: str = RUN.plural) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{plural}"
