"""A gang is created all or nothing: what was made of one that was refused is given back.

Half a gang computes nothing, and holds quota that the gang of another job may lack. That a gang was
refused stands in the condition Scheduled before the first of its pods is deleted, so that an
operator that takes over in between goes on, and takes no such pod for one that was lost.
"""

from __future__ import annotations

import hashlib

from mmrlhf_api.backoff import doubling_wait
from mmrlhf_api.constants import ConditionType
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.planning.removal import remove
from mmrlhf_operator.state.views import Finding, Observed

__all__ = ["give_back", "patience", "refusal"]

_REFUSED = frozenset({OperatorReason.CREATION_REFUSED, OperatorReason.NAME_CONFLICT})
_FIRST_SECONDS = 5.0
_MOST_SECONDS = 60.0


def refusal(draft: Draft, observed: Observed, *, total: int) -> Finding | None:
    """Return what keeps the current attempt's gang from being whole; None when nothing does.

    Args:
        draft: The plan in the making.
        observed: What there is.
        total: Pods of the attempt.
    """
    whole = len(observed.pods_of(draft.status.attempt)) >= total
    if whole or draft.conditions.holds(ConditionType.SCHEDULED):
        return None
    told = draft.conditions.find(ConditionType.SCHEDULED)
    if observed.conflicts:
        return observed.conflicts[0]
    if told is None or told.reason not in _REFUSED:
        return None
    return Finding(reason=told.reason, message=told.message)


def give_back(draft: Draft, observed: Observed, config: OperatorConfig, *, total: int) -> bool:
    """Remove what there is of a gang that was refused; True while some of it is there.

    Nothing is created as long: pods of the next try bear the same names, and must not meet these.
    """
    pods = observed.pods_of(draft.status.attempt)
    if not pods or refusal(draft, observed, total=total) is None:
        return False
    remove(draft, pods, observed, config)
    return True


def patience(uid: str, refusals: int) -> float:
    """Return the seconds before what was refused is tried again: 5 s, doubled up to a minute.

    Two gangs that do not fit together take each other's quota for the moment of a try. Half of the
    time more or less, a pure function of the job and of how often, keeps them from doing so for
    ever.

    Args:
        uid: Of the job.
        refusals: How often it was refused in a row, from 1.
    """
    digest = hashlib.sha256(f"{uid}:{refusals}".encode()).digest()
    uniform = int.from_bytes(digest[:8], "big") / 2**64
    wait = doubling_wait(refusals, first=_FIRST_SECONDS, longest=_MOST_SECONDS)
    return wait * (0.5 + uniform)
