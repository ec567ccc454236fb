"""Wait for what a job becomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mmrlhf.client.cluster import Cluster
from mmrlhf.client.paths import job_path
from mmrlhf.client.pods import list_pods
from mmrlhf.client.views import JobView
from mmrlhf.client.watch import Snapshot, observe
from mmrlhf.errors import NotFoundError, WaitTimeoutError
from mmrlhf.telling import Tell, log_line

__all__ = ["Verdict", "wait_for", "wait_until_cleaned_up", "wait_until_gone"]

Verdict = Callable[[JobView], bool]
"""Says whether what is waited for has come; raises when it cannot come any more."""

_POLL_SECONDS = 0.5


def wait_for(
    cluster: Cluster,
    job: JobView,
    verdict: Verdict,
    purpose: str,
    *,
    seconds: float | None,
    on_change: Callable[[JobView], None] | None = None,
    tell: Tell = log_line,
) -> JobView:
    """Wait until something is true of a job; return the job as it is then.

    Args:
        cluster: The cluster.
        job: The job.
        verdict: Judges the job whenever it has changed.
        purpose: What is waited for, in words.
        seconds: How long; None waits for ever.
        on_change: Takes the job whenever it has changed.
        tell: Takes a line, such as that the connection is lost.

    Raises:
        NotFoundError: The job was deleted.
        WaitTimeoutError: It takes too long.
    """
    last = job
    for current in _states(cluster, job, seconds=seconds, tell=tell):
        if current is None:
            raise NotFoundError(f"{job.title} was deleted")
        last = current
        if on_change is not None:
            on_change(current)
        if verdict(current):
            return current
    raise WaitTimeoutError(
        f"{job.title}: {purpose} did not come within {seconds:.3g} s; it is {last.state_line}"
    )


def wait_until_gone(
    cluster: Cluster, job: JobView, *, seconds: float | None, tell: Tell = log_line
) -> None:
    """Wait until a job is no more.

    Raises:
        WaitTimeoutError: It takes too long; says what is in the way.
    """
    last = job
    for current in _states(cluster, job, seconds=seconds, tell=tell):
        if current is None:
            return
        last = current
    finalizers = last.metadata.get("finalizers")
    held = f"; it is held by {', '.join(finalizers)}" if finalizers else ""
    raise WaitTimeoutError(f"{job.title} is still there after {seconds:.3g} s{held}")


def wait_until_cleaned_up(
    cluster: Cluster, job: JobView, *, seconds: float | None, tell: Tell = log_line
) -> None:
    """Wait until a job and its pods are no more.

    Raises:
        WaitTimeoutError: It takes too long; says what is still there.
    """
    end = None if seconds is None else time.monotonic() + seconds
    wait_until_gone(cluster, job, seconds=seconds, tell=tell)
    while pods := [pod for pod in list_pods(cluster, job) if pod.owner == job.uid]:
        if end is not None and time.monotonic() > end:
            names = ", ".join(pod.name for pod in pods)
            raise WaitTimeoutError(f"{job.title} is gone, but its pods are still there: {names}")
        time.sleep(_POLL_SECONDS)


def _states(
    cluster: Cluster, job: JobView, *, seconds: float | None, tell: Tell
) -> Iterator[JobView | None]:
    """Yield a job whenever it changes; None once it is gone, or another one has its name."""
    query = {"fieldSelector": f"metadata.name={job.name}"}
    path = job_path(job.kind, job.namespace)
    for event in observe(cluster, path, seconds=seconds, query=query, tell=tell):
        if isinstance(event, Snapshot):
            bodies = list(event.items)
        elif event.type == "DELETED":
            bodies = []
        else:
            bodies = [event.object]
        mine = [body for body in bodies if body["metadata"]["uid"] == job.uid]
        yield JobView.read(mine[0]) if mine else None
        if not mine:
            return
