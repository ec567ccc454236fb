"""Why a job's pods do not all run yet, in the words of whoever is in the way."""

from __future__ import annotations

from mmrlhf_api.constants import Reason
from mmrlhf_operator.planning.failures import blocking_reason, waiting_words
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding, Observed

__all__ = ["why_not_running", "why_not_scheduled"]

_ON_ITS_WAY = frozenset({"ContainerCreating", "PodInitializing"})


def why_not_scheduled(observed: Observed, *, attempt: int, total: int) -> Finding | None:
    """Say why not all pods have nodes; None when they have."""
    pods = observed.pods_of(attempt)
    if len(pods) < total:
        return Finding(
            reason=Reason.WAITING_FOR_PODS, message=f"{len(pods)} of {total} pods are created"
        )
    without = [pod for pod in pods if pod.node is None and not pod.finished]
    if not without:
        return None
    explained = next((pod for pod in without if pod.unscheduled is not None), None)
    count = f"{len(without)} of {total} pods have no node"
    if explained is not None and explained.unscheduled is not None:
        gated = explained.unscheduled.reason == "SchedulingGated"
        return Finding(
            reason=Reason.QUEUED if gated else Reason.UNSCHEDULABLE,
            message=f"{count}; {explained.name}: {explained.unscheduled.message}",
        )
    warned = _warned(without, observed)
    if warned is not None:
        return Finding(
            reason=Reason.UNSCHEDULABLE, message=f"{count}; {warned[0]}: {warned[1].message}"
        )
    return Finding(reason=Reason.WAITING_FOR_PODS, message=count)


def why_not_running(observed: Observed, *, attempt: int, total: int) -> Finding | None:
    """Say why not all pods run; None when they do, or have ended well."""
    pods = observed.pods_of(attempt)
    waiting = [pod for pod in pods if not pod.running and not pod.succeeded]
    if len(pods) == total and not waiting:
        return None
    unscheduled = why_not_scheduled(observed, attempt=attempt, total=total)
    if unscheduled is not None:
        return unscheduled
    count = f"{total - len(waiting)} of {total} pods run"
    stuck = next((pod for pod in waiting if blocking_reason(pod) is not None), None)
    if stuck is not None and stuck.waiting is not None:
        reason = blocking_reason(stuck)
        assert reason is not None  # that is why it was chosen
        return Finding(
            reason=reason,
            message=f"{count}; {stuck.name}: {waiting_words(stuck.waiting)}",
        )
    warned = _warned(waiting, observed)
    if warned is not None:
        name, warning = warned
        return Finding(
            reason=Reason.WAITING_FOR_PODS,
            message=f"{count}; {name}: {warning.reason}: {warning.message}",
        )
    told = next((p for p in waiting if p.waiting and p.waiting.reason not in _ON_ITS_WAY), None)
    if told is not None and told.waiting is not None:
        return Finding(
            reason=Reason.WAITING_FOR_PODS,
            message=f"{count}; {told.name}: {waiting_words(told.waiting)}",
        )
    creating = [pod for pod in waiting if pod.waiting and pod.waiting.reason == "ContainerCreating"]
    return Finding(
        reason=Reason.PULLING_IMAGE if creating else Reason.WAITING_FOR_PODS, message=count
    )


def _warned(pods: list[PodView], observed: Observed) -> tuple[str, Finding] | None:
    for pod in pods:
        if pod.name in observed.warnings:
            return pod.name, observed.warnings[pod.name]
    return None
