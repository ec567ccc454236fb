"""``mmrlhfctl validate``."""

from __future__ import annotations

from mmrlhf_api.errors import JobFileError
from mmrlhf_api.pipelines.files import load_all
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import out

__all__ = ["invalid", "validate_file"]


def validate_file(file: str) -> None:
    """Say which jobs, pipelines and runs a file holds.

    Raises:
        CliError: The file cannot be read or is not valid; one line for each problem.
    """
    try:
        jobs = load_all(file)
    except JobFileError as error:
        raise invalid(error) from error
    for job in jobs:
        out(f"{job.kind} {job.metadata.namespace}/{job.metadata.name}: valid")


def invalid(error: JobFileError) -> CliError:
    """Return the error that a command ends with when its job file is not valid."""
    return CliError(*error.lines(), code=ExitCode.USAGE)
