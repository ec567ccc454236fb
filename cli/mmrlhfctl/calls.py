"""One call of the program, from its arguments to its exit code."""

from __future__ import annotations

import os
import sys

from mmrlhf.errors import MmrlhfError
from mmrlhf_api.interrupts import heard_signals
from mmrlhfctl.app import run_app
from mmrlhfctl.errors import exit_code, told
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import error

__all__ = ["run_call"]


def run_call(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    code: int = ExitCode.OK
    try:
        with heard_signals():
            code = run_app(arguments)
            sys.stdout.flush()
            return code
    except MmrlhfError as failure:
        for line in told(failure):
            error(line)
        return exit_code(failure)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    except Exception as failure:
        if os.environ.get("MMRLHF_DEBUG"):
            raise
        error(f"this is a bug in mmrlhfctl: {type(failure).__name__}: {failure}")
        error("set MMRLHF_DEBUG=1 to see where")
        return ExitCode.FAILED
