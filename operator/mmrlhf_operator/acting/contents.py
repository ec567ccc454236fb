"""Look-ups for runs of pipelines, beside the workers: what steps read, and what runs have left.

What is found holds for one step of one run: nothing is kept once that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mmrlhf_api import Job
from mmrlhf_operator.acting.object_store import Store as ObjectStore
from mmrlhf_operator.acting.outcomes import LookUpError
from mmrlhf_operator.errors import OperatorError
from mmrlhf_operator.kube.concurrency import end_all
from mmrlhf_operator.planning.run_actions import LookForRecord, LookUpInputs
from mmrlhf_operator.state.runs import SeenInputs
from mmrlhf_operator.state.store import Key

__all__ = ["Contents", "Looker"]

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Looker(Protocol):
    """Does work on the object store of a job; see `preflight.Preflight.look`."""

    async def look(self, job: Job, work: Callable[[ObjectStore], T]) -> T:
        """Return what the work finds.

        Raises:
            LookUpError: Nothing was found out.
        """


@dataclass
class _Known:
    inputs: dict[str, SeenInputs] = field(default_factory=dict)
    held: dict[str, bool] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Contents:
    """Begins look-ups and keeps what they find.

    Args:
        looker: Does them; without one, nothing is looked at, and every step is run.
        wake: Asks for a run to be looked at, as something was found.
    """

    def __init__(self, looker: Looker | None, *, wake: Callable[[Key], None]) -> None:
        self._looker = looker
        self._wake = wake
        self._known: dict[str, _Known] = {}

    def inputs(self, uid: str) -> dict[str, SeenInputs]:
        """What looks at the inputs of a run's steps have found, by step."""
        return dict(self._of(uid).inputs)

    def held(self, uid: str) -> dict[str, bool]:
        """Whether records are there, by URI, as far as they were looked up for a run."""
        return dict(self._of(uid).held)

    def begin(self, key: Key, uid: str, wanted: LookUpInputs | LookForRecord) -> None:
        """Look something up for a run, unless that is being done."""
        known = self._of(uid)
        if wanted.step in known.tasks:
            return
        task = asyncio.create_task(
            self._see(known, wanted)
            if isinstance(wanted, LookUpInputs)
            else self._search(known, wanted)
        )
        known.tasks[wanted.step] = task

        def end(_: object) -> None:
            known.tasks.pop(wanted.step, None)
            self._wake(key)

        task.add_done_callback(end)

    def settle(self, uid: str, step: str) -> None:
        """Drop what a step was found to read: it is decided about, and a retry looks again."""
        self._of(uid).inputs.pop(step, None)

    def forget(self, uid: str) -> None:
        """Drop what is known for a run that has ended or is gone."""
        known = self._known.pop(uid, None)
        for task in known.tasks.values() if known is not None else ():
            task.cancel()

    async def close(self) -> None:
        """End the look-ups that are under way."""
        tasks = [task for known in self._known.values() for task in known.tasks.values()]
        await end_all(tasks)

    def _of(self, uid: str) -> _Known:
        return self._known.setdefault(uid, _Known())

    async def _see(self, known: _Known, wanted: LookUpInputs) -> None:
        far = {name: uri for name, uri in wanted.uris.items() if not uri.startswith("s3://")}
        if self._looker is None:
            seen = SeenInputs(digests=None, why="the operator looks into no store")
        elif far:
            name, uri = next(iter(far.items()))
            seen = SeenInputs(digests=None, why=f"{name}: {uri} is not in an object store")
        else:
            seen = await self._digests(wanted)
        known.inputs[wanted.step] = seen

    async def _digests(self, wanted: LookUpInputs) -> SeenInputs:
        def work(store: ObjectStore) -> SeenInputs:
            found: dict[str, str] = {}
            for name, uri in wanted.uris.items():
                digest = store.digest(uri)
                if digest is None:
                    return SeenInputs(digests=None, why=f"{name}: there is no {uri}")
                found[name] = digest
            return SeenInputs(digests=found)

        return await self._asked(
            wanted, work, otherwise=lambda error: SeenInputs(digests=None, why=str(error))
        )

    async def _search(self, known: _Known, wanted: LookForRecord) -> None:
        uri = wanted.uri
        there = False
        if uri.startswith("s3://"):
            there = await self._asked(
                wanted, lambda store: store.holds(uri), otherwise=lambda _: False
            )
        known.held[uri] = there

    async def _asked(
        self,
        wanted: LookUpInputs | LookForRecord,
        work: Callable[[ObjectStore], T],
        *,
        otherwise: Callable[[Exception], T],
    ) -> T:
        assert self._looker is not None
        try:
            return await self._looker.look(wanted.job, work)
        except (LookUpError, OperatorError, OSError) as error:
            job = wanted.job
            _LOG.info("%s %s: not looked up: %s", job.kind, job.metadata.name, error)
            return otherwise(error)
