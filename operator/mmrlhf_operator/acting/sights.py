"""Looks into stores for the schedules of pipelines, beside the workers.

A look lists what the steps read and what triggers watch, and counts rankings: each file of them
once, since an object of one ETag is always the same.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mmrlhf_api import KINDS, Job
from mmrlhf_api.base import wire_dict
from mmrlhf_api.pipelines import AlignmentPipeline
from mmrlhf_api.pipelines.aliases import moved_aliases
from mmrlhf_api.pipelines.graph import in_order
from mmrlhf_api.pipelines.identity import read_inputs, step_job
from mmrlhf_api.schedule import Triggers
from mmrlhf_api.steps.gate import alias_uri
from mmrlhf_operator.acting.contents import Looker
from mmrlhf_operator.acting.object_store import Store as ObjectStore
from mmrlhf_operator.acting.object_store import StoredObject, digest_of
from mmrlhf_operator.acting.outcomes import LookUpError
from mmrlhf_operator.errors import OperatorError
from mmrlhf_operator.kube.concurrency import end_all
from mmrlhf_operator.planning.schedules import Listed, Sight
from mmrlhf_operator.state.store import Key

__all__ = ["Sights", "count_rankings"]

_LOG = logging.getLogger(__name__)
_PIECES = 64
"""Pieces of files that one look reads to count rankings; the next look goes on from there."""


@dataclass
class Counted:
    """How far a file was counted.

    Attributes:
        offset: Bytes that were read.
        lines: Lines that end within them.
        open: Whether a line goes on behind them.
    """

    offset: int = 0
    lines: int = 0
    open: bool = False


@dataclass
class _Known:
    sight: Sight | None = None
    task: asyncio.Task[Sight] | None = None
    counted: dict[StoredObject, Counted] = field(default_factory=dict)


class Sights:
    """Begins looks and keeps what the latest found; one at a time for a pipeline.

    Args:
        looker: Does them; None where nobody looks into stores.
        wake: Asks for a pipeline to be looked at, as something was found.
        clock: Tells the time.
    """

    def __init__(
        self,
        looker: Looker | None,
        *,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._looker = looker
        self._wake = wake
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def latest(self, uid: str) -> Sight | None:
        """Return what the latest look for a pipeline found; None before the first."""
        known = self._known.get(uid)
        if known is not None and known.task is not None and known.task.done():
            known.sight, known.task = known.task.result(), None
        return known.sight if known is not None else None

    def begin(self, key: Key, uid: str, pipeline: AlignmentPipeline, generation: int) -> None:
        """Look for a pipeline, unless that is being done."""
        known = self._known.setdefault(uid, _Known())
        if known.task is None:
            known.task = asyncio.create_task(self._look(known, pipeline, generation))
            known.task.add_done_callback(lambda _: self._wake(key))

    def forget(self, uid: str) -> None:
        """Drop what is known for a pipeline that is gone."""
        known = self._known.pop(uid, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    async def close(self) -> None:
        """End the looks that are under way."""
        tasks = [one.task for one in self._known.values() if one.task is not None]
        await end_all(tasks)

    async def _look(self, known: _Known, pipeline: AlignmentPipeline, generation: int) -> Sight:
        # What changes while it is looked at is seen with the next look.
        at = self._clock()
        fields: dict[str, Any] = {}
        try:
            if self._looker is None:
                fields["problem"] = "the operator looks into no store (preflight.enabled)"
            else:
                fields = await self._see(self._looker, known, pipeline)
        except (LookUpError, OperatorError, OSError) as error:
            where = f"{pipeline.metadata.namespace}/{pipeline.metadata.name}"
            _LOG.info("pipeline %s: not looked at: %s", where, error)
            fields["problem"] = str(error)
        return Sight(at=at, generation=generation, **fields)

    async def _see(
        self, looker: Looker, known: _Known, pipeline: AlignmentPipeline
    ) -> dict[str, Any]:
        schedule, fields = pipeline.spec.schedule, dict[str, Any]()
        assert schedule is not None
        if schedule.skip_unchanged:
            fields["inputs"] = await _inputs(looker, pipeline)
        triggers = schedule.triggers
        if triggers is not None:
            found = await looker.look(
                _stand_in(pipeline), lambda store: _triggers(store, triggers, known.counted)
            )
            fields |= found
        return fields


def count_rankings(
    store: ObjectStore, uri: str, found: list[StoredObject], counted: dict[StoredObject, Counted]
) -> int | None:
    """Count the rankings below a prefix.

    Args:
        store: Where they are.
        uri: The prefix.
        found: What is below it: a .jsonl file has a ranking a line, any other object is one.
        counted: What was counted before, by object; it is brought up to date.

    Returns:
        How many there are; None where there are files left to count with the next look.
    """
    files = [one for one in found if one.name.endswith(".jsonl") and one.size]
    if not any(one.name for one in found) and uri.endswith(".jsonl"):
        files = [one for one in found if one.size]  # the file itself was named
    for gone in counted.keys() - set(files):
        del counted[gone]
    pieces = _PIECES
    for one in files:
        state = counted.setdefault(one, Counted())
        while state.offset < one.size:
            if pieces == 0:
                return None
            pieces -= 1
            piece = store.read(f"{uri.rstrip('/')}{one.name}", state.offset)
            if not piece:
                break  # it became shorter: it is another object by now
            state.offset += len(piece)
            state.lines += piece.count(b"\n")
            state.open = not piece.endswith(b"\n")
    lines = sum(counted[one].lines + counted[one].open for one in files)
    return lines + sum(1 for one in found if one.size and one not in files)


def _triggers(
    store: ObjectStore, triggers: Triggers, counted: dict[StoredObject, Counted]
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if triggers.new_data is not None:
        found = store.objects(triggers.new_data.uri)
        fields["new_data"] = Listed(digest=digest_of(found), count=len(found))
    if triggers.new_rankings is not None:
        uri = triggers.new_rankings.uri
        found = store.objects(uri)
        count = count_rankings(store, uri, found, counted)
        if count is not None:
            fields["new_rankings"] = Listed(digest=digest_of(found), count=count)
    return fields


async def _inputs(looker: Looker, pipeline: AlignmentPipeline) -> str:
    """Return the digest of the steps and of all that they read from S3.

    Aliases that the pipeline itself moves are no data: a model that its latest run has promoted, or
    that a person has taken back since, is no reason to train the same once more.
    """
    seen: dict[str, str | None] = {}
    own = {alias_uri(store, alias) for store, alias in moved_aliases(pipeline)}
    for job in _jobs(pipeline):
        found = {uri for uri in read_inputs(job).values() if uri.startswith("s3://")}
        if uris := found - seen.keys() - own:
            seen |= await looker.look(job, functools.partial(_digests, uris=uris))
    steps = [wire_dict(step) for step in pipeline.spec.steps]
    parameters = [wire_dict(one) for one in pipeline.spec.parameters]
    content = {"steps": steps, "parameters": parameters, "inputs": seen}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _digests(store: ObjectStore, *, uris: set[str]) -> dict[str, str | None]:
    return {uri: store.digest(uri) for uri in sorted(uris)}


def _jobs(pipeline: AlignmentPipeline) -> Iterator[Job]:
    """The jobs of the steps, with names of steps in place of what those will have left."""
    keys = {step.name: step.name for step in pipeline.spec.steps}
    parameters = {one.name: one.default for one in pipeline.spec.parameters}
    for step in in_order(pipeline.spec.steps):
        job = step_job(step, artifacts=pipeline.spec.artifacts, parameters=parameters, keys=keys)
        yield _of(job, pipeline)


def _stand_in(pipeline: AlignmentPipeline) -> Job:
    """A job that writes where the pipeline does: it says in which store, and by what Secrets."""
    assert pipeline.spec.artifacts is not None
    job = next(_jobs(pipeline))
    spec = job.spec.model_copy(update={"artifacts": pipeline.spec.artifacts})
    return job.model_copy(update={"spec": spec})


def _of(job: Job, pipeline: AlignmentPipeline) -> Job:
    assert job.kind in KINDS
    place = {"name": pipeline.metadata.name, "namespace": pipeline.metadata.namespace}
    return job.model_copy(update={"metadata": job.metadata.model_copy(update=place)})
