"""``wait``, and waiting for the end of jobs in other commands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence

from mmrlhf.client.choice import Choice
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import choose_jobs, find_job, parse_job_names
from mmrlhf.client.views import JobView
from mmrlhf.client.waiting import Verdict, wait_for, wait_until_gone
from mmrlhf.errors import NotFoundError
from mmrlhf_api.constants import ConditionType
from mmrlhf_api.interrupts import interrupt_arrived
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.endings import detached, failure, success_lines
from mmrlhfctl.text.jsonpath import JsonPathError, parse_path, shown
from mmrlhfctl.verbs.runs import chosen_runs

__all__ = ["parse_purpose", "wait_for_end", "wait_for_jobs"]


def wait_for_jobs(
    connection: Connection, choice: Choice, *, purpose: str, seconds: float | None
) -> None:
    """Wait until some jobs have a condition or a field, or are gone.

    Args:
        connection: Which cluster.
        choice: Jobs.
        purpose: What to wait for; see `parse_purpose`.
        seconds: How long in all; None waits for ever.

    Raises:
        CliError: It did not come in time, or cannot come any more.
    """
    if chosen_runs(choice) is not None:
        raise CliError(
            "wait is for jobs; of a run: kubectl wait ar/NAME --for=condition=Succeeded",
            code=ExitCode.USAGE,
        )
    verdict = parse_purpose(purpose)
    cluster = open_cluster(connection)
    jobs = list(_jobs(cluster, choice, gone=verdict is None))
    end = None if seconds is None else time.monotonic() + seconds
    for job in jobs:
        left = None if end is None else max(0.0, end - time.monotonic())
        if verdict is None:
            wait_until_gone(cluster, job, seconds=left, tell=note)
            out(f"{job.resource} deleted")
        else:
            last = wait_for(cluster, job, verdict, purpose, seconds=left, tell=note)
            out(f"{last.resource} condition met")


def _jobs(cluster: Cluster, choice: Choice, *, gone: bool) -> Iterator[JobView]:
    """Yield the jobs of a choice; where they are to be gone, those that are there."""
    if not choice.named:
        jobs = choose_jobs(cluster, choice)
        if not jobs and not gone:
            raise NotFoundError(f"no jobs found in namespace {cluster.namespace}")
        yield from jobs
        return
    for target in parse_job_names(choice.words):
        try:
            yield find_job(cluster, target)
        except NotFoundError:
            if not gone:
                raise
            if target.kind is None:
                # A misspelt name would look deleted too, so that is at least said.
                note(f"there is no job {target.name} in namespace {cluster.namespace}")


def parse_purpose(text: str) -> Verdict | None:
    """Return how to judge a job; None stands for ``delete``.

    Args:
        text: ``condition=TYPE[=STATUS]``, ``jsonpath={FIELD}[=VALUE]`` or ``delete``.

    Raises:
        CliError: It is none of them.
    """
    if text == "delete":
        return None
    word, _, rest = text.partition("=")
    if word == "jsonpath":
        return _field_verdict(text, rest)
    name, _, status = rest.partition("=")
    types = {kind.value.lower(): kind.value for kind in ConditionType}
    if word != "condition" or name.lower() not in types:
        raise CliError(
            f"--for {text}: must be delete, jsonpath={{FIELD}}=VALUE or condition=TYPE, with TYPE "
            f"one of {', '.join(types.values())}",
            code=ExitCode.USAGE,
        )
    kind, status = types[name.lower()], (status or "True").capitalize()
    if status not in {"True", "False", "Unknown"}:
        raise CliError(f"--for {text}: a condition is True, False or Unknown", code=ExitCode.USAGE)

    def holds(job: JobView) -> bool:
        return job.conditions.get(kind, {}).get("status") == status

    return _until(holds, f"{kind} is not {status}")


def _field_verdict(text: str, rest: str) -> Verdict:
    """Return how to judge a job by a field; without a value, whether it is there."""
    braced = re.fullmatch(r"(\{.*\}|[^{=]*)(?:=(.*))?", rest, re.DOTALL)
    try:
        path = parse_path(braced[1] if braced else rest)
    except JsonPathError as error:
        raise CliError(f"--for {text}: {error}", code=ExitCode.USAGE) from error
    wanted = braced[2] if braced else None
    if wanted is not None:
        wanted = re.sub(r"""^(['"])(.*)\1$""", r"\2", wanted)

    def holds(job: JobView) -> bool:
        values = [shown(value) for value in path.values(job.body)]
        return bool(values) if wanted is None else values == [wanted]

    missing = "is not there" if wanted is None else f"is not {wanted}"
    return _until(holds, f"{braced[1] if braced else rest} {missing}")


def _until(holds: Verdict, otherwise: str) -> Verdict:
    """Return the verdict of a wait, which ends with a job that can change no more."""

    def verdict(job: JobView) -> bool:
        if holds(job):
            return True
        if job.ended:
            raise failure(job) or CliError(f"{job.title} has ended ({job.phase}), and {otherwise}")
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
            interrupt_arrived()
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
