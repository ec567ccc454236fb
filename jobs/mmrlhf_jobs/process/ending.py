"""How a process ends: one exit code, one line on stderr, the same in the termination file."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from mmrlhf_api import JobFileError
from mmrlhf_api.termination import Ending
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.reporting.termination import write_termination

__all__ = ["end"]


def end(work: Callable[[], int]) -> int:
    """Do work, and say in one line why it did not end well; return the exit code.

    0 done, 1 the run failed, 2 the input is wrong, 143 stopped as asked; other errors of the jobs
    bring their own. Tracebacks are for bugs alone.
    """
    try:
        return work()
    except JobFileError as error:
        return _fail(Ending.INVALID_JOB, str(error))
    except JobError as error:
        return _fail(error.ending, str(error))
    except Interrupted as stopped:
        return _fail(Ending.INTERRUPTED, str(stopped))
    except Exception as error:  # noqa: BLE001 - the last resort of a process
        traceback.print_exc()
        return _fail(
            Ending.INTERNAL_ERROR,
            f"{type(error).__name__}: {error}. This is a bug of mmrlhf; the log has its traceback",
        )


def _fail(ending: Ending, message: str) -> int:
    write_termination(exit_code=ending.exit_code, reason=ending, message=message)
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    return ending.exit_code
