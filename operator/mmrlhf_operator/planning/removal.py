"""Deleting the pods of a job, gently first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.actions import DeletePod
from mmrlhf_operator.planning.deadlines import force_at
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Observed, after

__all__ = ["remove", "stuck_words"]

_LOOK_AGAIN_SECONDS = 15.0
_LATE_SECONDS = 15.0
"""How long after its time a pod is not gone before it is told."""
_MOST_NAMED = 3


def remove(
    draft: Draft, pods: Iterable[PodView], observed: Observed, config: OperatorConfig
) -> None:
    """Delete pods, and by force those that a lost node keeps."""
    for pod in pods:
        gone_by = pod.gone_by
        if gone_by is None:
            draft.actions.append(DeletePod(name=pod.name, uid=pod.uid))
            continue
        due = force_at(pod, observed, config.deadlines)
        if due is not None and draft.now >= due:
            draft.actions.append(DeletePod(name=pod.name, uid=pod.uid, force=True))
            continue
        # Its node may be lost from now on, which nobody tells.
        draft.wake(max(gone_by, after(draft.now, _LOOK_AGAIN_SECONDS)))
        draft.wake(due)


def stuck_words(pods: Iterable[PodView], now: datetime) -> str | None:
    """Say which pods should be gone and what holds them; None while all are in their time."""
    late = [
        pod for pod in pods if pod.gone_by is not None and now >= after(pod.gone_by, _LATE_SECONDS)
    ]
    if not late:
        return None
    named = "; ".join(_holder(pod) for pod in late[:_MOST_NAMED])
    more = f" and {len(late) - _MOST_NAMED} more" if len(late) > _MOST_NAMED else ""
    return f"pods that were stopped should be gone and are not: {named}{more}"


def _holder(pod: PodView) -> str:
    if pod.finalizers:
        held = ", ".join(pod.finalizers)
        return f"{pod.name} is held by {held}, which someone else must take from it"
    return f"{pod.name} is left by the kubelet of {pod.node or 'no node'}"
