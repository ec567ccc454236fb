"""``suspend``, ``resume``, ``cancel`` and ``delete``."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, find_jobs, parse_job_names
from mmrlhf.client.paths import job_path
from mmrlhf.client.views import JobView
from mmrlhf.errors import ClusterError, NotFoundError, WaitTimeoutError
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import note, out
from mmrlhfctl.verbs.describe import list_pods
from mmrlhfctl.verbs.wait import wait_until_gone

__all__ = ["cancel_jobs", "delete_jobs", "kept", "set_suspended"]

_POLL_SECONDS = 0.5


def set_suspended(connection: Connection, words: Sequence[str], *, suspend: bool) -> None:
    """Suspend jobs, or let them go on.

    Raises:
        CliError: A job is not there, or has ended.
    """
    cluster = open_cluster(connection)
    jobs = find_jobs(cluster, parse_job_names(words))
    word = "suspended" if suspend else "resumed"
    for job in jobs:
        if job.ended or job.cancelled:
            verb = "suspend" if suspend else "resume"
            state = f"has ended ({job.phase})" if job.ended else "is being cancelled"
            raise CliError(f"{job.title} {state}; there is nothing to {verb}", code=ExitCode.USAGE)
    for job in jobs:
        if job.suspended is suspend:
            state = "suspended already" if suspend else "not suspended"
            note(f"{job.title} is {state}")
            continue
        # A field manager of its own: `submit` then says who has set the field.
        _set_policy(cluster, job, "suspend", suspend, manager="mmrlhfctl-suspend")
        out(f"{job.resource} {word}")


def cancel_jobs(connection: Connection, words: Sequence[str]) -> None:
    """Stop jobs for good and keep them, with their record and artifacts.

    One that has ended is left as it is, which is no error: it runs no more.

    Raises:
        CliError: A job is not there, or the cluster does not know how to cancel one.
    """
    cluster = open_cluster(connection)
    for job in find_jobs(cluster, parse_job_names(words)):
        if job.ended:
            note(f"{job.title} has ended already ({job.phase})")
            continue
        if job.cancelled:
            note(f"{job.title} is being cancelled already")
            continue
        _set_policy(cluster, job, "cancel", True, manager="mmrlhfctl-cancel")
        out(f"{job.resource} cancelled")


def delete_jobs(
    connection: Connection,
    words: Sequence[str],
    *,
    wait: bool,
    seconds: float | None,
    ignore_missing: bool,
) -> None:
    """Delete jobs and their pods; artifacts stay.

    Args:
        connection: Which cluster.
        words: Jobs.
        wait: Return only when the jobs and their pods are gone.
        seconds: How long to wait; None waits for ever.
        ignore_missing: Jobs that are not there are no error.
    """
    cluster = open_cluster(connection)
    jobs: list[JobView] = []
    for target in parse_job_names(words):
        try:
            jobs.append(find_job(cluster, target))
        except NotFoundError:
            if not ignore_missing:
                raise
    for job in jobs:
        try:
            cluster.delete(job_path(job.kind, job.namespace, job.name), uid=job.uid)
        except NotFoundError:
            note(f"{job.title} was gone already")
        out(f"{job.resource} deleted")
    if wait:
        end = None if seconds is None else time.monotonic() + seconds
        for job in jobs:
            _wait_for_cleanup(cluster, job, end)


def kept(job: JobView, answer: Manifest, *, field: str, value: object) -> None:
    """Check that the API server kept a field of ``runPolicy``; it drops those that it lacks.

    Raises:
        ClusterError: It did not: its CRDs are of an older version.
    """
    policy = (answer.get("spec") or {}).get("runPolicy") or {}
    if policy.get(field) != value:
        raise ClusterError(
            f"the CRDs of this cluster do not know spec.runPolicy.{field}, so {job.title} is as it "
            f"was; install those of this version ({program_name()} doctor compares them)"
        )


def _set_policy(cluster: Cluster, job: JobView, field: str, value: object, *, manager: str) -> None:
    # The version makes sure that the job is still the one that was looked at, and not its heir.
    body = {"metadata": {"uid": job.uid}, "spec": {"runPolicy": {field: value}}}
    path = job_path(job.kind, job.namespace, job.name)
    kept(job, cluster.patch(path, body, manager=manager), field=field, value=value)


def _wait_for_cleanup(cluster: Cluster, job: JobView, end: float | None) -> None:
    left = None if end is None else max(0.0, end - time.monotonic())
    wait_until_gone(cluster, job, seconds=left)
    while pods := [pod for pod in list_pods(cluster, job) if pod.owner == job.uid]:
        if end is not None and time.monotonic() > end:
            names = ", ".join(pod.name for pod in pods)
            raise WaitTimeoutError(f"{job.title} is gone, but its pods are still there: {names}")
        time.sleep(_POLL_SECONDS)
