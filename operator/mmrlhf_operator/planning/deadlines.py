"""Deadlines: times to act although nothing in the cluster changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mmrlhf_api import JobStatus, RunPolicy
from mmrlhf_api.constants import ConditionType, FailureReason
from mmrlhf_operator.config import Deadlines
from mmrlhf_operator.planning.conditions import find
from mmrlhf_operator.planning.failures import Failure, blocking_reason, waiting_words
from mmrlhf_operator.planning.progress import has_reported
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Observed, after

__all__ = ["Deadline", "expiry", "force_at", "next_deadline", "nodes_in_question"]


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """When an attempt fails unless something happens, and how that will be told."""

    due: datetime
    reason: FailureReason
    message: str

    def failure(self) -> Failure:
        """The failure that passing it is."""
        return Failure(reason=self.reason, message=self.message, at=self.due)


def next_deadline(
    policy: RunPolicy, status: JobStatus, observed: Observed, limits: Deadlines
) -> Deadline | None:
    """Return the deadline of the current attempt that comes first."""
    candidates = [
        _active(policy, status),
        _pending(policy, status),
        _stalled(policy, status, observed),
        _last_ranks(status, observed, limits),
        *(_stuck(pod, limits) for pod in observed.pods_of(status.attempt)),
    ]
    found = [candidate for candidate in candidates if candidate is not None]
    return min(found, key=lambda deadline: deadline.due, default=None)


def expiry(policy: RunPolicy, status: JobStatus) -> datetime | None:
    """Return when a job that has ended is to be deleted."""
    if policy.ttl_seconds_after_finished is None or status.completion_time is None:
        return None
    return after(status.completion_time, policy.ttl_seconds_after_finished)


def force_at(pod: PodView, observed: Observed, limits: Deadlines) -> datetime | None:
    """Return when a pod that is being deleted is to be deleted by force.

    A kubelet that can be reached finishes the deletion itself, so a pod on its node is left to it:
    deleting by force what still runs would let two attempts overlap.
    """
    gone_by = pod.gone_by
    if gone_by is None or pod.node is None:
        return gone_by
    if pod.node in observed.lost_nodes:
        return after(gone_by, limits.lost_node)
    if pod.node in observed.known_nodes:
        return None
    return after(gone_by, limits.unknown_node)


def nodes_in_question(pods: Iterable[PodView], now: datetime) -> frozenset[str]:
    """Return the nodes whose state matters: of pods whose peers failed, or that should be gone."""
    pods = tuple(pods)
    trouble = any(pod.failed or pod.terminating for pod in pods)
    return frozenset(
        pod.node
        for pod in pods
        if pod.node is not None
        and not pod.finished
        and (trouble or (pod.gone_by is not None and pod.gone_by <= now))
    )


def _active(policy: RunPolicy, status: JobStatus) -> Deadline | None:
    if policy.active_deadline_seconds is None or status.start_time is None:
        return None
    return Deadline(
        due=after(status.start_time, policy.active_deadline_seconds),
        reason=FailureReason.ACTIVE_DEADLINE_EXCEEDED,
        message=(
            f"the job ran longer than runPolicy.activeDeadlineSeconds"
            f" ({policy.active_deadline_seconds} s)"
        ),
    )


def _pending(policy: RunPolicy, status: JobStatus) -> Deadline | None:
    if policy.pending_deadline_seconds is None or status.pending_since is None:
        return None
    return Deadline(
        due=after(status.pending_since, policy.pending_deadline_seconds),
        reason=FailureReason.PENDING_DEADLINE_EXCEEDED,
        message=(
            f"the pods waited longer than runPolicy.pendingDeadlineSeconds"
            f" ({policy.pending_deadline_seconds} s): {status.message or status.reason}"
        ),
    )


def _stalled(policy: RunPolicy, status: JobStatus, observed: Observed) -> Deadline | None:
    running = find(status.conditions, ConditionType.RUNNING)
    if (
        policy.stall_timeout_seconds is None
        or observed.listening_since is None
        or running is None
        or running.status != "True"
        # Who was never heard may be cut off; who was, and is not any more, has stopped.
        or not has_reported(status, observed)
    ):
        return None
    # What was pushed while nobody listened is lost: it must not count as silence.
    signs = [running.last_transition_time, observed.listening_since]
    if observed.progress is not None and observed.progress.attempt == status.attempt:
        signs.append(observed.progress.advanced_at)
    return Deadline(
        due=after(max(signs), policy.stall_timeout_seconds),
        reason=FailureReason.STALLED,
        message=(
            f"no step finished within runPolicy.stallTimeoutSeconds"
            f" ({policy.stall_timeout_seconds} s)"
        ),
    )


def _last_ranks(status: JobStatus, observed: Observed, limits: Deadlines) -> Deadline | None:
    """The last pods hang, mostly in a collective that one which has ended never joins."""
    pods = observed.pods_of(status.attempt)
    ends = [pod.ended_since for pod in pods if pod.succeeded and pod.ended_since is not None]
    left = [pod.name for pod in pods if pod.running]
    if not ends or not left:
        return None
    signs = [min(ends)]
    if observed.progress is not None and observed.progress.attempt == status.attempt:
        signs.append(observed.progress.advanced_at)
    return Deadline(
        due=after(max(signs), limits.last_ranks),
        reason=FailureReason.STALLED,
        message=(
            f"{', '.join(left)} run on {limits.last_ranks} s after other pods have ended well, and"
            " nothing advances; their logs have the stacks of what hangs"
        ),
    )


def _stuck(pod: PodView, limits: Deadlines) -> Deadline | None:
    reason = blocking_reason(pod)
    if reason is None or pod.waiting is None:
        return None
    image = reason is FailureReason.IMAGE_PULL_FAILED
    seconds = limits.image_pull if image else limits.config_error
    return Deadline(
        due=after(pod.bound_since, seconds),
        reason=reason,
        message=f"pod {pod.name} waited {seconds} s: {waiting_words(pod.waiting)}",
    )
