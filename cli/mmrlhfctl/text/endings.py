"""How a job ended, as a message and an exit code."""

from __future__ import annotations

import sys

from mmrlhf.client.views import JobView
from mmrlhf.errors import JobFailedError
from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import note

__all__ = ["detached", "failure", "success_lines"]


def success_lines(job: JobView) -> list[str]:
    """Return what to tell about a job that succeeded; the same as after a local run."""
    lines = [f"{job.title} succeeded"]
    if job.artifacts:
        lines.append(f"artifacts: {make_safe(job.artifacts)}")
    return lines + [f"{make_safe(name)}: {value:g}" for name, value in sorted(job.metrics.items())]


def failure(job: JobView) -> CliError | None:
    """Return the error of a job that failed or was cancelled; None for any other."""
    if not job.failed:
        return None
    lines = JobFailedError(job).lines
    if not job.was_cancelled:
        lines += (f"more about it: {program_name()} describe {job.argument} -n {job.namespace}",)
    return CliError(*lines, code=ExitCode.FAILED)


def detached(job: JobView) -> CliError:
    """Tell that the job goes on, if it does, after the user has pressed Ctrl-C; return how to end.

    Args:
        job: The job as it was last seen.
    """
    name = program_name()
    where = f"{job.argument} -n {job.namespace}"
    text = (
        f"{job.title} has ended ({job.phase})"
        if job.ended
        else f"{job.title} is kept and goes on: `{name} logs -f {where}` attaches again, "
        f"`{name} cancel {where}` stops it for good"
    )
    after_echo = "\n" if sys.stderr.isatty() else ""  # the terminal has just shown ^C
    note(f"{after_echo}detached; {text}")
    return CliError(code=ExitCode.INTERRUPTED)
