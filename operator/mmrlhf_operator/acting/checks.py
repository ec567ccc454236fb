"""Look-ups that are under way beside the workers, and what the last one of each job found.

A look-up may take as long as a stranger's store likes, within its limits; no job of another waits
for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mmrlhf_api import Job, spec_digest
from mmrlhf_api.backoff import doubling_wait
from mmrlhf_operator.errors import OperatorError, PostponeError
from mmrlhf_operator.kube.concurrency import end_all
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import CheckResult, Finding

__all__ = ["Checker", "Checks"]

_LOG = logging.getLogger(__name__)


class Checker(Protocol):
    """Looks up what a spec names; see preflight.py."""

    async def check(self, job: Job) -> Finding | None:
        """Return what is in the way of a job, None when nothing is."""


@dataclass
class _Known:
    task: asyncio.Task[CheckResult] | None = None
    result: CheckResult | None = None
    checks: int = 0
    failures: int = 0


class Checks:
    """Begins look-ups and keeps what they find; one at a time for a job.

    Args:
        checker: Looks up what specs name.
        wake: Asks for a job to be reconciled, as something was found.
        clock: Tells the time.
        first: Seconds before a look-up that failed is made again; they double with each failure.
        longest: Most seconds before that.
    """

    def __init__(
        self,
        checker: Checker,
        *,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime],
        first: float,
        longest: float,
    ) -> None:
        self._checker = checker
        self._wake = wake
        self._clock = clock
        self._first = first
        self._longest = longest
        self._known: dict[Key, _Known] = {}

    def latest(self, key: Key) -> CheckResult | None:
        """Return what the last look-up of a job found; None when none has ended.

        Raises:
            PostponeError: It found nothing out, for instance as the API server did not answer.
        """
        known = self._known.get(key)
        if known is None:
            return None
        if known.task is not None and known.task.done():
            self._take(key, known, known.task)
        return known.result

    def begin(self, key: Key, job: Job) -> None:
        """Look up what a job names, unless that is being done."""
        known = self._known.setdefault(key, _Known())
        if known.task is None:
            known.task = asyncio.create_task(self._check(key, job, known))
            known.task.add_done_callback(lambda _: self._wake(key))

    def forget(self, key: Key) -> None:
        """Drop what is known of a job that is gone."""
        known = self._known.pop(key, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    async def close(self) -> None:
        """End the look-ups that are under way."""
        tasks = [one.task for one in self._known.values() if one.task is not None]
        await end_all(tasks)

    async def _check(self, key: Key, job: Job, known: _Known) -> CheckResult:
        finding = await self._checker.check(job)
        known.checks += 1
        seconds = doubling_wait(known.checks + 1, first=5.0, longest=300.0)
        _LOG.info("%s: checked: %s", key, finding.reason if finding else "ready to start")
        return CheckResult(
            digest=spec_digest(job),
            finding=finding,
            retry_at=self._clock() + timedelta(seconds=seconds),
        )

    def _take(self, key: Key, known: _Known, task: asyncio.Task[CheckResult]) -> None:
        known.task = None
        error = task.exception()
        if error is None:
            known.result, known.failures = task.result(), 0
            return
        known.failures += 1
        if not isinstance(error, OperatorError | OSError):
            _LOG.warning("%s: the look-up failed", key, exc_info=error)
        raise PostponeError(
            f"what the job names could not be looked up: {error or type(error).__name__}",
            seconds=doubling_wait(known.failures, first=self._first, longest=self._longest),
        ) from error
