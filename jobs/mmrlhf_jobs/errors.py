"""Errors of the job package, one tree.

::

    JobError
    +-- InputError            exit 2: the user can mend the input
    |   +-- SpecError         a field of the job file
    |   +-- DataError         a row or file of a data set
    |   +-- ModelError        a model folder or its configuration
    |   +-- SidecarError      a side-car of cached scores or log-probabilities
    +-- RunError              exit 1: the run failed
        +-- StorageError      reading or writing artifacts
        |   +-- DamagedError              what is there is not what was written
        |   +-- StorageFullError          no space is left
        |   +-- StorageUnavailableError   exit 157: the store is away; another attempt may do
        +-- SupersededError   exit 129: another attempt has taken the run over
        +-- EndpointError     a model server that is asked over HTTP
        +-- NotPromotedError  a gate that was to fail unless it promotes
        |   +-- RejectedError
        |   +-- CannotJudgeError
        +-- TrainingError     the optimisation itself

Every message says what was wrong, where, and what to do about it; none needs a traceback to be
understood.
"""

from __future__ import annotations

from typing import ClassVar

from mmrlhf_api.termination import Ending

__all__ = [
    "CannotJudgeError",
    "DamagedError",
    "DataError",
    "EndpointError",
    "InputError",
    "JobError",
    "ModelError",
    "NotPromotedError",
    "RejectedError",
    "RunError",
    "SidecarError",
    "SpecError",
    "StorageError",
    "StorageFullError",
    "StorageUnavailableError",
    "SupersededError",
    "TrainingError",
]


class JobError(Exception):
    """Base of all errors that a job reports to its user."""

    ending: ClassVar[Ending] = Ending.JOB_ERROR
    """How a process ends by this error."""

    @property
    def exit_code(self) -> int:
        """Exit code of that process."""
        return self.ending.exit_code

    @property
    def word(self) -> str:
        """One word for it, which the operator's failure policy knows."""
        return self.ending.value


class InputError(JobError):
    """Something the user gave is wrong and can be mended."""

    ending = Ending.INVALID_INPUT


class SpecError(InputError):
    """A field of the job file is wrong or does not fit another one."""


class DataError(InputError):
    """A data set, a row of it or a file it names is wrong.

    Args:
        message: What was wrong and what to do.
        file: URI of the file at fault.
        row: 1-based row (line) in that file.
        field: Path of the field in the row, such as ``responses[2].text``.
        fault: One word for what is wrong with the row, for counts.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        field: str | None = None,
        fault: str | None = None,
    ) -> None:
        place = ""
        if file is not None:
            place = file if row is None else f"{file}, row {row}"
        if field is not None:
            place = f"{place}, field {field}" if place else f"field {field}"
        super().__init__(f"{place}: {message}" if place else message)
        self.reason = message
        self.file = file
        self.row = row
        self.field = field
        self.fault = fault


class ModelError(InputError):
    """A model folder is missing, incomplete or of a kind that is not supported."""


class SidecarError(InputError):
    """A side-car does not belong to this job, or lacks values that it needs."""


class RunError(JobError):
    """The input was fine, the run failed."""

    ending = Ending.RUN_ERROR


class StorageError(RunError):
    """Artifacts could not be read or written."""

    ending = Ending.STORAGE_ERROR


class DamagedError(StorageError):
    """An artifact is not what was published: bytes differ, or files of it are gone.

    Reading it again does not help; what can be made anew may be.
    """


class StorageFullError(StorageError):
    """No space is left on the disk or in the store."""

    ending = Ending.STORAGE_FULL


class StorageUnavailableError(StorageError):
    """The object store was away for longer than the run waits for it."""

    ending = Ending.STORAGE_UNAVAILABLE


class SupersededError(RunError):
    """Another attempt of the same run has started; this one must not write any more."""

    ending = Ending.SUPERSEDED


class EndpointError(RunError):
    """A model server cannot be used, or too many of its answers cannot."""

    ending = Ending.ENDPOINT_ERROR


class NotPromotedError(RunError):
    """A candidate is not promoted, and the gate was told to fail then."""


class RejectedError(NotPromotedError):
    """The candidate has not shown what was asked."""

    ending = Ending.REJECTED


class CannotJudgeError(NotPromotedError):
    """What was measured does not do to judge the candidate."""

    ending = Ending.CANNOT_JUDGE


class TrainingError(RunError):
    """The optimisation went wrong, for instance by a loss that is not finite."""

    ending = Ending.TRAINING_ERROR
