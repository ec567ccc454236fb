"""What another attempt costs, how often there may be one, and how long it waits.

No restart is without a limit: those that count have ``runPolicy.maxRestarts``, and those that are
free of charge ``runPolicy.maxFreeRestarts`` in a row. An attempt that held its nodes for a while
ends the row, so that a job on machines that are taken away now and then goes on for as long as it
gets anywhere, while one that ends as soon as it begins does not go round for ever.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from mmrlhf_api import JobStatus, RunPolicy
from mmrlhf_api.backoff import doubling_wait
from mmrlhf_api.constants import ConditionType
from mmrlhf_operator.planning.conditions import find
from mmrlhf_operator.rendering.names import MAX_ATTEMPT

__all__ = ["STEADY_SECONDS", "Restart", "backoff", "next_restart"]

STEADY_SECONDS = 600.0
"""Seconds with all of its nodes after which an attempt is not one that ends as it begins."""

_JITTER = 0.1
_WITHOUT_FLOOR = 3
_FLOOR_SECONDS = 1.0
_MOST_FLOOR_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Another attempt.

    Attributes:
        attempt: Its number.
        restarts: Restarts that count, this one included if it does.
        free: Restarts in a row that are free, this one included if it is.
        cost: What it costs, in words.
        exhausted: Which budget is used up, in words; None when there may be this restart.
    """

    attempt: int
    restarts: int
    free: int
    cost: str
    exhausted: str | None = None


def next_restart(policy: RunPolicy, status: JobStatus, *, counts: bool, now: datetime) -> Restart:
    """Return the restart that comes after the current attempt, and whether it may.

    Args:
        policy: The job's.
        status: Its status, with the conditions of the attempt that failed.
        counts: Whether it counts against ``maxRestarts``.
        now: Time of the decision.
    """
    row = 0 if _was_steady(status, now) else status.free_restarts or 0
    restarts, free = status.restarts + counts, row + (not counts)
    exhausted: str | None = None
    if status.attempt >= MAX_ATTEMPT:
        exhausted = f"names make room for no attempt after {MAX_ATTEMPT}"
    elif counts and status.restarts >= policy.max_restarts:
        exhausted = f"runPolicy.maxRestarts ({policy.max_restarts}) is used up"
    elif not counts and row >= policy.max_free_restarts:
        exhausted = f"runPolicy.maxFreeRestarts ({policy.max_free_restarts} in a row) is used up"
    if counts:
        cost = f"restart {restarts} of {policy.max_restarts}"
    elif free == 1:
        cost = "free of charge"
    else:
        cost = f"free of charge ({free} of {policy.max_free_restarts} in a row)"
    return Restart(
        attempt=status.attempt + 1, restarts=restarts, free=free, cost=cost, exhausted=exhausted
    )


def backoff(policy: RunPolicy, *, uid: str, attempt: int, restarts: int, free: int = 0) -> float:
    """Return the seconds to wait before an attempt.

    It doubles with each restart that counts, and with each after the first of those in a row that
    are free; jitter of a tenth, a pure function of job and attempt, keeps jobs that failed together
    from starting together. Whatever the policy says, from the fourth restart on the wait is never
    shorter than a floor, which grows as that of a crashing container does (Kubernetes, "Pod
    Lifecycle", "Container restarts").

    Args:
        policy: The job's.
        uid: Of the job.
        attempt: The attempt that is waiting.
        restarts: Restarts that count, this one included.
        free: Restarts in a row that are free of charge, this one included.
    """
    turn = max(restarts, 1) + max(free - 1, 0)
    late = turn - _WITHOUT_FLOOR
    floor = (
        doubling_wait(late, first=_FLOOR_SECONDS, longest=_MOST_FLOOR_SECONDS) if late > 0 else 0.0
    )
    if policy.backoff_seconds == 0:
        return floor
    longest = float(policy.max_backoff_seconds)
    seconds = doubling_wait(turn, first=policy.backoff_seconds, longest=longest)
    digest = hashlib.sha256(f"{uid}:{attempt}".encode()).digest()
    uniform = int.from_bytes(digest[:8], "big") / 2**64
    jittered = seconds * (1 + _JITTER * (2 * uniform - 1))
    return max(floor, min(jittered, longest))


def _was_steady(status: JobStatus, now: datetime) -> bool:
    """Whether the attempt had all of its nodes for a while before it ended."""
    scheduled = find(status.conditions, ConditionType.SCHEDULED)
    if scheduled is None or scheduled.status != "True":
        return False
    return (now - scheduled.last_transition_time).total_seconds() >= STEADY_SECONDS
