"""How the process of a job ends: its word, its exit code, and what the operator makes of it.

The first failing process of a node writes one JSON object for whoever launched it::

    {"exitCode": 2, "reason": "InvalidInput", "message": "train.jsonl, row 3: no responses"}

Exit codes from 1 to 127 blame the job itself; those from 128 tell of a death from outside, after
which another attempt may do. A job that ends well leaves nothing, but for a gate:
with exit code 0 it says what becomes of its candidate (`mmrlhf_api.constants.GateOutcome`).
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from enum import StrEnum

from mmrlhf_api.constants import FailureReason, GateOutcome
from mmrlhf_api.foreign_json import read_object
from mmrlhf_api.plain_text import make_safe

__all__ = ["Ending", "TerminationMessage", "describe_signal", "failure_reason"]

_SIGNAL = 128
_MAX_SIZE = 64 * 1024
"""Kubernetes keeps 4 KiB, and jobs write no more; on a laptop nobody cuts."""


class Ending(StrEnum):
    """Words of endings; each has its exit code, and its failure where the code alone says less."""

    exit_code: int
    failure: FailureReason | None

    def __new__(cls, word: str, exit_code: int, failure: FailureReason | None = None) -> Ending:
        """Make a member."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.exit_code = exit_code
        member.failure = failure
        return member

    INVALID_INPUT = "InvalidInput", 2, FailureReason.INVALID_INPUT
    """The data, the model or a side-car is wrong."""
    INVALID_JOB = "InvalidJob", 2, FailureReason.INVALID_INPUT
    """The job file is wrong."""
    JOB_ERROR = "JobError", 1
    """The job failed, and no other word fits."""
    RUN_ERROR = "RunError", 1
    """The input was fine, the run failed."""
    STORAGE_ERROR = "StorageError", 1
    """Artifacts could not be read or written."""
    STORAGE_FULL = "StorageFull", 1, FailureReason.STORAGE_FULL
    """No space is left on the disk or in the store."""
    STORAGE_UNAVAILABLE = "StorageUnavailable", _SIGNAL + 29, FailureReason.STORAGE_UNAVAILABLE
    """The store was away for longer than the run waits for it; 157, as if by SIGIO."""
    ENDPOINT_ERROR = "EndpointError", 1
    """A model server cannot be used."""
    REJECTED = GateOutcome.REJECTED.value, 1, FailureReason.NOT_PROMOTED
    """A gate has rejected its candidate, and was told to fail then."""
    CANNOT_JUDGE = GateOutcome.CANNOT_JUDGE.value, 1, FailureReason.NOT_PROMOTED
    """A gate cannot judge its candidate, and was told to fail then."""
    TRAINING_ERROR = "TrainingError", 1
    """The optimisation went wrong."""
    INTERNAL_ERROR = "InternalError", 1
    """A bug of mmrlhf."""
    PROCESS_FAILED = "ProcessFailed", 1
    """A process left no message; its launcher speaks for it, with the exit code of the process."""
    PEER_LOST = "PeerLost", _SIGNAL + 13, FailureReason.KILLED
    """Another process of the job is gone; 141, as if by SIGPIPE."""
    STALLED = "Stalled", _SIGNAL + 14, FailureReason.STALLED
    """A process holds all others up; 142, as if by SIGALRM."""
    SUPERSEDED = "Superseded", _SIGNAL + 1, FailureReason.KILLED
    """Another attempt of the same run has taken over; 129, as if by SIGHUP."""
    INTERRUPTED = "Interrupted", _SIGNAL + 15, FailureReason.KILLED
    """Stopped as asked, with all that is worth keeping saved; 143, as if by SIGTERM."""


def failure_reason(word: str, exit_code: int) -> FailureReason:
    """Return why a process failed.

    Args:
        word: What it said; words that are not known, and no word, leave it to the exit code.
        exit_code: Its exit code, 128 + n after signal n.
    """
    known = {ending.value: ending for ending in Ending}.get(word)
    if known is not None and known.failure is not None:
        return known.failure
    return FailureReason.KILLED if exit_code >= _SIGNAL else FailureReason.APPLICATION_ERROR


@dataclass(frozen=True, kw_only=True)
class TerminationMessage:
    """What a process left behind.

    Attributes:
        exit_code: Exit code that it ended with; None where it is not told.
        reason: Word of an `Ending`; newer jobs may have others.
        message: For people.
    """

    exit_code: int | None
    reason: str
    message: str

    @classmethod
    def read(cls, text: str) -> TerminationMessage | None:
        """Read a termination message; None for one that is not a JSON object, or an odd one.

        Whatever runs in the container may have written it.
        """
        content = read_object(text, max_size=_MAX_SIZE)
        if content is None:
            return None
        code = content.get("exitCode")
        return cls(
            exit_code=code if isinstance(code, int) and not isinstance(code, bool) else None,
            reason=make_safe(str(content.get("reason") or "")),
            message=make_safe(str(content.get("message") or ""), lines=True),
        )

    def encode(self) -> bytes:
        """Return it as JSON, in ASCII, so that a cut after any byte cuts no character."""
        content = {"exitCode": self.exit_code, "reason": self.reason, "message": self.message}
        return json.dumps(content, ensure_ascii=True).encode()


def describe_signal(number: int) -> str:
    """Say of a process which signal ended it, as in "was killed (SIGTERM)"."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"was killed ({name}); the machine may have run out of memory"
    return f"was killed ({name})"
