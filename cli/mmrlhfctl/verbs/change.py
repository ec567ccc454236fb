"""``suspend``, ``resume``, ``cancel`` and ``delete``."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, find_jobs, parse_job_names
from mmrlhf.client.paths import job_path
from mmrlhf.client.policy import cancel_job, check_suspendable, suspend_job
from mmrlhf.client.views import JobView
from mmrlhf.client.waiting import wait_until_cleaned_up
from mmrlhf.errors import NotFoundError
from mmrlhfctl.terminal import note, out

__all__ = ["cancel_jobs", "delete_jobs", "set_suspended"]


def set_suspended(connection: Connection, words: Sequence[str], *, suspend: bool) -> None:
    """Suspend jobs, or let them go on.

    Raises:
        MmrlhfError: A job is not there, or has ended.
    """
    cluster = open_cluster(connection)
    jobs = find_jobs(cluster, parse_job_names(words))
    word = "suspended" if suspend else "resumed"
    for job in jobs:
        check_suspendable(job, suspend=suspend)
    for job in jobs:
        if job.suspended is suspend:
            state = "suspended already" if suspend else "not suspended"
            note(f"{job.title} is {state}")
            continue
        suspend_job(cluster, job, suspend=suspend)
        out(f"{job.resource} {word}")


def cancel_jobs(connection: Connection, words: Sequence[str]) -> None:
    """Stop jobs for good and keep them, with their record and artifacts.

    One that has ended is left as it is, which is no error: it runs no more.

    Raises:
        MmrlhfError: A job is not there, or the cluster does not know how to cancel one.
    """
    cluster = open_cluster(connection)
    for job in find_jobs(cluster, parse_job_names(words)):
        if job.ended:
            note(f"{job.title} has ended already ({job.phase})")
            continue
        if job.cancelled:
            note(f"{job.title} is being cancelled already")
            continue
        cancel_job(cluster, job)
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
            left = None if end is None else max(0.0, end - time.monotonic())
            wait_until_cleaned_up(cluster, job, seconds=left, tell=note)
