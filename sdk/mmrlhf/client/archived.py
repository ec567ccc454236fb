"""What a job that a cluster knows has in its artifact store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mmrlhf.archive.logs import ArchivedLogs
from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.archive.store import open_store, unreadable
from mmrlhf.client.views import JobView
from mmrlhf.errors import MmrlhfError
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.runs import RunLayout

__all__ = ["archived_attempts", "archived_logs", "archived_run", "moment"]


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


def archived_attempts(job: JobView) -> list[Mapping[str, Any]]:
    """Return every start of a job and how it ended, oldest first; none where it left no word.

    Raises:
        MmrlhfError: The store cannot be read, or what is there is no record of attempts.
    """
    artifacts = job.spec.get("artifacts") or {}
    run = RunLayout.named(job.namespace, job.name, job.uid).within(str(artifacts.get("uri")))
    try:
        fs, path = open_store(
            run.attempts, endpoint=artifacts.get("endpoint"), region=artifacts.get("region")
        )
        content = json.loads(fs.cat_file(path))
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        raise MmrlhfError(f"{run.attempts} is damaged: {error}") from error
    except Exception as error:
        raise unreadable(run.attempts, error) from error
    if not isinstance(content, list) or not all(isinstance(one, Mapping) for one in content):
        raise MmrlhfError(f"{run.attempts} is damaged: it is no list of attempts")
    return content


def moment(seconds: float | None) -> datetime | None:
    """When it was so many seconds ago; None for None."""
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)
