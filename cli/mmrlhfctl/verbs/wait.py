"""``wait``, and waiting for the end of jobs in other commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.client.views import JobView
from mmrlhf.client.waiting import Verdict, wait_for, wait_until_gone
from mmrlhf.errors import NotFoundError
from mmrlhf_api.constants import ConditionType
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.endings import detached, failure, success_lines

__all__ = ["parse_purpose", "wait_for_end", "wait_for_jobs"]


def wait_for_jobs(
    connection: Connection, words: Sequence[str], *, purpose: str, seconds: float | None
) -> None:
    """Wait until some jobs have a condition, or are gone.

    Args:
        connection: Which cluster.
        words: Jobs.
        purpose: What to wait for; see `parse_purpose`.
        seconds: How long in all; None waits for ever.

    Raises:
        CliError: It did not come in time, or cannot come any more.
    """
    verdict = parse_purpose(purpose)
    cluster = open_cluster(connection)
    end = None if seconds is None else time.monotonic() + seconds
    for target in parse_job_names(words):
        left = None if end is None else max(0.0, end - time.monotonic())
        if verdict is None:
            try:
                job = find_job(cluster, target)
            except NotFoundError:
                if target.kind is None:
                    # A misspelt name would look deleted too, so that is at least said.
                    note(f"there is no job {target.name} in namespace {cluster.namespace}")
                continue
            wait_until_gone(cluster, job, seconds=left, tell=note)
            out(f"{job.resource} deleted")
        else:
            job = find_job(cluster, target)
            job = wait_for(cluster, job, verdict, purpose, seconds=left, tell=note)
            out(f"{job.resource} condition met")


def parse_purpose(text: str) -> Verdict | None:
    """Return how to judge a job by ``condition=TYPE[=STATUS]``; None stands for ``delete``.

    Raises:
        CliError: It is neither.
    """
    if text == "delete":
        return None
    word, _, rest = text.partition("=")
    name, _, status = rest.partition("=")
    types = {kind.value.lower(): kind.value for kind in ConditionType}
    if word != "condition" or name.lower() not in types:
        raise CliError(
            f"--for {text}: must be delete or condition=TYPE, with TYPE one of "
            f"{', '.join(types.values())}",
            code=ExitCode.USAGE,
        )
    kind, status = types[name.lower()], (status or "True").capitalize()
    if status not in {"True", "False", "Unknown"}:
        raise CliError(f"--for {text}: a condition is True, False or Unknown", code=ExitCode.USAGE)

    def verdict(job: JobView) -> bool:
        if job.conditions.get(kind, {}).get("status") == status:
            return True
        if job.ended:
            raise failure(job) or CliError(
                f"{job.title} has ended ({job.phase}), and {kind} is not {status}"
            )
        return False

    return verdict


def wait_for_end(cluster: Cluster, jobs: Sequence[JobView], *, seconds: float | None) -> None:
    """Wait until jobs have ended, telling what happens to them.

    Raises:
        CliError: A job failed, was deleted, or takes too long; Ctrl-C.
    """
    end = None if seconds is None else time.monotonic() + seconds
    failed: CliError | None = None
    for job in jobs:
        left = None if end is None else max(0.0, end - time.monotonic())
        try:
            final = wait_for(
                cluster,
                job,
                lambda now: now.ended,
                "its end",
                seconds=left,
                on_change=_note_changes() if len(jobs) < 2 else None,
                tell=note,
            )
        except KeyboardInterrupt:
            raise detached(job) from None
        error = failure(final)
        if error is None:
            out("\n".join(success_lines(final)))
        elif failed is None:
            failed = error
        else:
            failed = CliError(*failed.lines, *error.lines)
    if failed is not None:
        raise failed


def _note_changes() -> Callable[[JobView], None]:
    """Return what tells the state of a job whenever it is another one."""
    told = ""

    def tell(job: JobView) -> None:
        nonlocal told
        if job.state_line != told:
            told = job.state_line
            note(told)

    return tell
