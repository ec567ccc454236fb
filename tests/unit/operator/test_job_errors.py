"""Jobs end in words and exit codes that the operator understands."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mmrlhf_jobs import errors
from tests.unit.operator.world import running


def _leaves(kind: type[errors.JobError]) -> Iterator[type[errors.JobError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _leaves(below)


EXPECTED = {
    errors.SpecError: ("Failed", "InvalidInput"),
    errors.DataError: ("Failed", "InvalidInput"),
    errors.ModelError: ("Failed", "InvalidInput"),
    errors.SidecarError: ("Failed", "InvalidInput"),
    errors.InputError: ("Failed", "InvalidInput"),
    errors.DamagedError: ("Failed", "ApplicationError"),
    errors.StorageFullError: ("Failed", "StorageFull"),
    errors.StorageUnavailableError: ("Restarting", "StorageUnavailable"),
    errors.StorageError: ("Failed", "ApplicationError"),
    errors.SupersededError: ("Restarting", "Killed"),
    errors.EndpointError: ("Failed", "ApplicationError"),
    errors.NotPromotedError: ("Failed", "ApplicationError"),
    errors.RejectedError: ("Failed", "NotPromoted"),
    errors.CannotJudgeError: ("Failed", "NotPromoted"),
    errors.TrainingError: ("Failed", "ApplicationError"),
    errors.RunError: ("Failed", "ApplicationError"),
    errors.JobError: ("Failed", "ApplicationError"),
}
"""What follows from each; a more special one, wherever it is defined, follows the nearest above."""


@pytest.mark.parametrize("kind", list(_leaves(errors.JobError)), ids=lambda kind: kind.__name__)
def test_every_error_of_a_job_has_its_consequence(kind: type[errors.JobError]) -> None:
    error = kind("what was wrong")
    message = {"exitCode": error.exit_code, "reason": error.word, "message": str(error)}
    there = running()
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name, error.exit_code, message=json.dumps(message))
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == next(
        EXPECTED[above] for above in kind.__mro__ if above in EXPECTED
    )
    told = there.conditions["Failed" if there.status["phase"] == "Failed" else "Restarting"]
    assert "what was wrong" in told["message"]
