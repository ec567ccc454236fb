"""Change what a job's ``runPolicy`` says: suspend it, let it go on, cancel it."""

from __future__ import annotations

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.client.paths import job_path
from mmrlhf.client.views import JobView
from mmrlhf.errors import ClusterError, UsageError

__all__ = ["cancel_job", "check_kept", "check_suspendable", "suspend_job"]


def check_suspendable(job: JobView, *, suspend: bool) -> None:
    """Check that there is something to suspend or to let go on.

    Raises:
        UsageError: The job has ended or is being cancelled.
    """
    if job.ended or job.cancelled:
        verb = "suspend" if suspend else "resume"
        state = f"has ended ({job.phase})" if job.ended else "is being cancelled"
        raise UsageError(f"{job.title} {state}; there is nothing to {verb}")


def suspend_job(cluster: Cluster, job: JobView, *, suspend: bool) -> JobView:
    """Set whether a job is suspended; return it as it is then.

    Raises:
        UsageError: The job has ended or is being cancelled.
    """
    check_suspendable(job, suspend=suspend)
    # A field manager of its own: `submit` then says who has set the field.
    return _set(cluster, job, "suspend", suspend, manager="mmrlhfctl-suspend")


def cancel_job(cluster: Cluster, job: JobView) -> JobView:
    """Cancel a job permanently; return it as it is then.

    Raises:
        ClusterError: The cluster does not know how to cancel one.
    """
    return _set(cluster, job, "cancel", True, manager="mmrlhfctl-cancel")


def check_kept(job: JobView, answer: Manifest, *, field: str, value: object) -> None:
    """Check that the API server kept a field of ``runPolicy``; it drops those that it lacks.

    Raises:
        ClusterError: It did not: its CRDs are of an older version.
    """
    policy = (answer.get("spec") or {}).get("runPolicy") or {}
    if policy.get(field) != value:
        raise ClusterError(
            f"the CRDs of this cluster do not know spec.runPolicy.{field}, so {job.title} is as it "
            "was; install those of this version (mmrlhfctl doctor compares them)"
        )


def _set(cluster: Cluster, job: JobView, field: str, value: object, *, manager: str) -> JobView:
    # The version makes sure that the job is still the one that was looked at, and not its heir.
    body = {"metadata": {"uid": job.uid}, "spec": {"runPolicy": {field: value}}}
    path = job_path(job.kind, job.namespace, job.name)
    answer = cluster.patch(path, body, manager=manager)
    check_kept(job, answer, field=field, value=value)
    return JobView.read(answer)
