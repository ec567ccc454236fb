"""Pods that have ended and stay for the sake of their logs.

Those of the attempt that failed last stay until the next one has ended, too: whoever asks why it
failed (``mmrlhfctl logs --previous``) finds them. They hold no resources, as all of them has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_operator.state.pods import PodView

__all__ = ["kept_pods", "older_pods"]


def kept_pods(pods: Sequence[PodView], *, attempt: int) -> tuple[PodView, ...]:
    """Pods that may stay while an attempt is under way: those of the latest one before it.

    None of them is in its way, not even when somebody deletes it. One that others hold by a
    finalizer is: only its deletion can free what they keep for it.

    Args:
        pods: All pods of the job.
        attempt: The current attempt.
    """
    latest = max((pod.attempt for pod in pods if pod.attempt < attempt), default=None)
    return tuple(
        pod for pod in pods if pod.attempt == latest and pod.finished and not pod.finalizers
    )


def older_pods(pods: Sequence[PodView]) -> tuple[PodView, ...]:
    """Pods of a job that has ended of which a later attempt has ended as well."""
    latest = max((pod.attempt for pod in pods), default=0)
    return tuple(pod for pod in pods if pod.attempt < latest)
