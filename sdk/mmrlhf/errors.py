"""Errors of the SDK, one tree.

::

    MmrlhfError               a message for the user, in one line or several
    +-- UsageError            what was asked for makes no sense: a name, a field, an option
    +-- NoClusterError        no configuration says how to reach a cluster
    +-- WaitTimeoutError      something did not come true in time
    +-- JobFailedError        a job on a cluster failed or was cancelled
    +-- LocalRunError         a job on this machine could not be run, or failed
    |   +-- MachineError      this machine lacks what the job needs
    |   +-- RunStoppedError   the run was asked to stop, and did
    +-- ClusterError          the cluster did not do what it was asked for
        +-- UnreachableError  no answer, or one that says to try again
        +-- CredentialsError  the credentials are refused, or there are none
        +-- ForbiddenError    the user may not do that
        +-- KindMissingError  the cluster does not know the kind: its CRD is not installed
        +-- NotFoundError     there is no such object
        +-- ConflictError     someone else set the same fields, or changed the object meanwhile
        +-- RejectedError     the API server finds the input wrong
        +-- ExpiredError      a watch is too far behind and must start over

A job file that is not valid is a `mmrlhf_api.JobFileError`; data, models and scores that are wrong
are errors of `mmrlhf_jobs.errors`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = [
    "ClusterError",
    "ConflictError",
    "CredentialsError",
    "EndedJob",
    "ExpiredError",
    "ForbiddenError",
    "JobFailedError",
    "KindMissingError",
    "LocalRunError",
    "MachineError",
    "MmrlhfError",
    "NoClusterError",
    "NotFoundError",
    "RejectedError",
    "RunStoppedError",
    "UnreachableError",
    "UsageError",
    "WaitTimeoutError",
]


class MmrlhfError(Exception):
    """Something cannot go on.

    Args:
        lines: What is wrong and what to do, one line or several.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class UsageError(MmrlhfError):
    """What was asked for makes no sense.

    Args:
        lines: What is wrong and what to do.
        argument: The argument at fault, with which the first line begins; None where the line
            says it in other words.
    """

    def __init__(self, *lines: str, argument: str | None = None) -> None:
        super().__init__(*lines)
        self.argument = argument


class NoClusterError(MmrlhfError):
    """No configuration says how to reach a cluster."""


class WaitTimeoutError(MmrlhfError):
    """Something did not come true in time."""


class EndedJob(Protocol):
    """What is told of a job that did not succeed; a `JobView` has it."""

    @property
    def title(self) -> str:
        """Kind and name."""

    @property
    def reason(self) -> str:
        """Why, in one word; empty when it is not known."""

    @property
    def message(self) -> str:
        """Why, in a sentence; empty when it is not known."""

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody cancelled it."""


class JobFailedError(MmrlhfError):
    """A job on a cluster failed or was cancelled.

    Args:
        job: The job as it was last seen.
    """

    def __init__(self, job: EndedJob) -> None:
        why = f" ({job.reason})" if job.reason else ""
        message = f": {job.message}" if job.message else ""
        end = "was cancelled" if job.was_cancelled else f"failed{why}{message}"
        super().__init__(f"{job.title} {end}")
        self.job = job


class LocalRunError(MmrlhfError):
    """A job on this machine could not be run, or failed.

    Args:
        lines: What is wrong and what to do.
        exit_code: Exit code of the job: 1 when it failed, 2 when job file, data or model are wrong.
        log: Log of the process that failed first; None when there is none.
    """

    def __init__(self, *lines: str, exit_code: int = 1, log: Path | None = None) -> None:
        super().__init__(*lines)
        self.exit_code = exit_code
        self.log = log


class MachineError(LocalRunError):
    """This machine lacks what the job needs: GPUs, packages, variables that a Secret would set."""


class RunStoppedError(LocalRunError):
    """The run was asked to stop, and did; it goes on from its last checkpoint when started again.

    Its exit code is 128 and the number of the signal: 130 after Ctrl-C.
    """


class ClusterError(MmrlhfError):
    """The cluster did not do what it was asked for."""


class UnreachableError(ClusterError):
    """The API server gives no answer, or one that says to try again."""


class CredentialsError(ClusterError):
    """The API server refuses the credentials, or there are none."""


class ForbiddenError(ClusterError):
    """The user may not do that."""


class KindMissingError(ClusterError):
    """The API server does not know the kind."""


class NotFoundError(ClusterError):
    """There is no such object."""


class ConflictError(ClusterError):
    """Someone else set the same fields, or changed the object meanwhile."""


class RejectedError(ClusterError):
    """The API server finds the input wrong."""


class ExpiredError(ClusterError):
    """A watch is too far behind and must start over."""
