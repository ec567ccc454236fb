"""Time of attempts that failed, by why they did: what a cluster has paid for and may not have."""

from __future__ import annotations

from datetime import datetime

from mmrlhf_api.constants import ConditionType
from mmrlhf_api.status import JobStatus, LostTime
from mmrlhf_operator.planning.conditions import find

__all__ = ["with_lost"]


def with_lost(status: JobStatus, reason: str, *, now: datetime) -> tuple[LostTime, ...]:
    """Return the lost time of a job one of whose attempts has just failed.

    It is counted from when all pods of the attempt ran; one that never came so far has lost none.

    Args:
        status: The status, with the conditions that the attempt had.
        reason: Why the attempt failed.
        now: Time of the decision, in whole seconds.
    """
    ran = find(status.conditions, ConditionType.RUNNING)
    since = ran.last_transition_time if ran is not None and ran.status == "True" else now
    seconds = max(0, int((now - since).total_seconds()))
    known = {one.reason: one for one in status.lost or ()}
    before = known.get(reason) or LostTime(reason=reason, attempts=0, seconds=0)
    known[reason] = LostTime(
        reason=reason, attempts=before.attempts + 1, seconds=before.seconds + seconds
    )
    return tuple(known.values())
