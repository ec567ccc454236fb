"""``suspend``, ``resume``, ``cancel`` and ``delete``."""

from __future__ import annotations

import time
from contextlib import suppress

from mmrlhf.client.choice import Choice
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import choose_jobs, find_job, parse_job_names
from mmrlhf.client.paths import job_path
from mmrlhf.client.policy import cancel_job, check_suspendable, suspend_job
from mmrlhf.client.views import JobView
from mmrlhf.client.waiting import wait_until_cleaned_up
from mmrlhf.errors import NotFoundError
from mmrlhfctl.terminal import note, out
from mmrlhfctl.verbs.runs import chosen_runs, delete_runs, set_runs

__all__ = ["cancel_jobs", "delete_jobs", "set_suspended"]


def set_suspended(connection: Connection, choice: Choice, *, suspend: bool) -> None:
    """Suspend jobs, or let them go on.

    Of all jobs, or of those that a selector finds, those that have ended are left as they are.

    Raises:
        MmrlhfError: A job is not there, or one that was named has ended.
    """
    runs = chosen_runs(choice)
    if runs is not None:
        word = "suspended" if suspend else "resumed"
        set_runs(connection, runs, {"suspend": suspend}, word=word)
        return
    cluster = open_cluster(connection)
    jobs = _chosen(cluster, choice)
    word = "suspended" if suspend else "resumed"
    if choice.named:
        for job in jobs:
            check_suspendable(job, suspend=suspend)
    for job in jobs:
        if job.ended:
            note(f"{job.title} has ended already ({job.phase})")
            continue
        if job.suspended is suspend:
            state = "suspended already" if suspend else "not suspended"
            note(f"{job.title} is {state}")
            continue
        suspend_job(cluster, job, suspend=suspend)
        out(f"{job.resource} {word}")


def cancel_jobs(connection: Connection, choice: Choice) -> None:
    """Stop jobs for good and keep them, with their record and artifacts.

    One that has ended is left as it is, which is no error: it runs no more.

    Raises:
        MmrlhfError: A job is not there, or the cluster does not know how to cancel one.
    """
    runs = chosen_runs(choice)
    if runs is not None:
        set_runs(connection, runs, {"cancel": True}, word="cancelled")
        return
    cluster = open_cluster(connection)
    for job in _chosen(cluster, choice):
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
    choice: Choice,
    *,
    wait: bool,
    seconds: float | None,
    ignore_missing: bool,
) -> None:
    """Delete jobs and their pods; artifacts stay.

    Args:
        connection: Which cluster.
        choice: Jobs.
        wait: Return only when the jobs and their pods are gone.
        seconds: How long to wait; None waits for ever.
        ignore_missing: Jobs that are not there are no error.
    """
    runs = chosen_runs(choice)
    if runs is not None:
        delete_runs(connection, runs, ignore_missing=ignore_missing)
        return
    cluster = open_cluster(connection)
    jobs = _there(cluster, choice) if ignore_missing else _chosen(cluster, choice)
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


def _chosen(cluster: Cluster, choice: Choice) -> list[JobView]:
    jobs = choose_jobs(cluster, choice)
    if not jobs:
        note(f"no jobs found in namespace {cluster.namespace}")
    return jobs


def _there(cluster: Cluster, choice: Choice) -> list[JobView]:
    """Return the jobs of a choice; those that are not there are left out."""
    if not choice.named:
        return _chosen(cluster, choice)
    jobs: list[JobView] = []
    for target in parse_job_names(choice.words):
        with suppress(NotFoundError):
            jobs.append(find_job(cluster, target))
    return jobs
