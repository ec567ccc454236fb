"""Errors of the SDK, and what the command line makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf import errors
from mmrlhf.errors import JobFailedError, LocalRunError, MmrlhfError, RunStoppedError, UsageError
from mmrlhfctl.errors import CliError, exit_code, told
from tests.cli.remote.specimens import condition, job


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MmrlhfError("x"), 1),
        (UsageError("x"), 2),
        (errors.RejectedError("x"), 2),
        (errors.ConflictError("x"), 2),
        (errors.NotFoundError("x"), 3),
        (errors.WaitTimeoutError("x"), 4),
        (errors.NoClusterError("x"), 5),
        (errors.ForbiddenError("x"), 5),
        (errors.ExpiredError("x"), 5),
        (LocalRunError("x", exit_code=7), 7),
        (RunStoppedError("x", exit_code=130), 130),
        (CliError("x", code=9), 9),
    ],
)
def test_each_error_has_its_exit_code(error: MmrlhfError, code: int) -> None:
    assert exit_code(error) == code


def test_the_command_line_speaks_of_its_own_options() -> None:
    assert told(UsageError("context prd: unknown", argument="context")) == [
        "--context prd: unknown"
    ]
    assert told(UsageError("context prd: unknown")) == ["context prd: unknown"]
    assert told(LocalRunError("cannot write; choose another state_dir")) == [
        "cannot write; choose another --state-dir"
    ]
    assert told(LocalRunError("boom", log=Path("a.log"))) == ["boom\nfull log: a.log"]


def test_a_job_that_failed_says_why() -> None:
    status = {
        "phase": "Failed",
        "reason": "OutOfMemory",
        "conditions": [condition("Failed", "OutOfMemory", "node 0 took more than 4Gi")],
    }
    failed = job(status=status)
    assert JobFailedError(failed).job is failed
    assert str(JobFailedError(failed)) == (
        "MMDPOJob vision/digits failed (OutOfMemory): node 0 took more than 4Gi"
    )
    cancelled = job(status={"phase": "Failed", "reason": "Cancelled"})
    assert str(JobFailedError(cancelled)) == "MMDPOJob vision/digits was cancelled"
