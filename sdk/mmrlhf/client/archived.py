"""What a job that a cluster knows has in its artifact store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mmrlhf.archive.logs import ArchivedLogs
from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.client.views import JobView
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.runs import RunLayout

__all__ = ["archived_logs", "archived_run", "moment"]


def archived_logs(job: JobView, *, tell: Tell = log_line) -> ArchivedLogs:
    """Open the logs of a job in its artifact store.

    Args:
        job: The job.
        tell: Takes lines for a person.

    Raises:
        MmrlhfError: The store cannot be read.
    """
    artifacts = job.spec.get("artifacts") or {}
    run = RunLayout.named(job.namespace, job.name, job.uid).within(str(artifacts.get("uri")))
    return ArchivedLogs(
        run.logs,
        endpoint=artifacts.get("endpoint"),
        region=artifacts.get("region"),
        tell=tell,
    )


def archived_run(job: JobView) -> ArchivedRun:
    """Open a finished job's run in its artifact store.

    Raises:
        NotFoundError: It has no finished run.
        MmrlhfError: The store cannot be read.
    """
    artifacts = job.spec.get("artifacts") or {}
    run = RunLayout.named(job.namespace, job.name, job.uid).within(str(artifacts.get("uri")))
    return ArchivedRun(
        run.prefix, endpoint=artifacts.get("endpoint"), region=artifacts.get("region")
    )


def moment(seconds: float | None) -> datetime | None:
    """When it was so many seconds ago; None for None."""
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)
