"""Which time of a cron expression is due: pure functions of when the last one was."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta

from mmrlhf_api.cron import Cron, fires_between, first_after
from mmrlhf_api.schedule import Schedule

__all__ = ["MANY_MISSED", "Due", "due", "jitter"]

MANY_MISSED = 100
"""No more are counted: a pipeline may have been suspended for years."""
_CLOCK_ERROR = timedelta(hours=1)
"""By so much the clocks of two machines may differ. A time further ahead was told by a clock that
was wrong, and is not waited for."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is due by cron.

    Attributes:
        time: Latest time that has come and is not done with; None when there is none.
        starts: When its run starts, jitter added.
        missed: How many times before it are not done with either; more than `MANY_MISSED` are
            `MANY_MISSED` + 1.
        following: When the next one starts, jitter added; None: never again.
        astray: Whether the last one is so far ahead that a clock must have been wrong.
    """

    time: datetime | None
    starts: datetime | None
    missed: int
    following: datetime | None
    astray: bool = False


def due(schedule: Schedule, *, uid: str, since: datetime, now: datetime) -> Due:
    """Say which time of a schedule with cron is due.

    As in Kubernetes' CronJob at most one run makes up for all that were missed, and it is that of
    the latest time. A clock that goes back starts nothing again.

    Args:
        schedule: The schedule.
        uid: Of the pipeline.
        since: The last time that is done with, or when the pipeline was created.
        now: Time of the decision.
    """
    assert schedule.cron is not None
    cron, where = Cron.parse(schedule.cron), schedule.where
    later = jitter(uid, schedule.jitter_seconds)
    astray = since > now + _CLOCK_ERROR
    if astray:
        since = now - later
    come = fires_between(cron, where, since, now - later)
    found = list(itertools.islice(come, MANY_MISSED + 2))
    following = first_after(cron, where, max(now - later, since))
    return Due(
        time=found[0] if found else None,
        starts=found[0] + later if found else None,
        missed=max(0, len(found) - 1),
        following=None if following is None else following + later,
        astray=astray,
    )


def jitter(uid: str, most: int) -> timedelta:
    """Return how much later than its time the runs of a pipeline start, from 0 to `most` seconds.

    It is the same for all of them: they keep their order and their distance.
    """
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8])
    return timedelta(seconds=number % (most + 1))
