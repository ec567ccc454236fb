"""Entry point of ``mmrlhfctl``; also installed as ``kubectl-mmrlhf``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

from mmrlhf.errors import MmrlhfError
from mmrlhf_api.interrupts import heard_signals
from mmrlhfctl.app import run_app
from mmrlhfctl.errors import exit_code, told
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import error

__all__ = ["main"]

_CONTAINERS: Final = 50_000
"""New objects after which Python looks for rings of them: a list of jobs is many at once and holds
none, and to look through it each 700, as Python does, takes as long as to read it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    gc.set_threshold(_CONTAINERS)
    try:
        with heard_signals():
            return run_app(sys.argv[1:] if arguments is None else list(arguments))
    except MmrlhfError as failure:
        for line in told(failure):
            error(line)
        return exit_code(failure)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as failure:
        if os.environ.get("MMRLHF_DEBUG"):
            raise
        error(f"this is a bug in mmrlhfctl: {type(failure).__name__}: {failure}")
        error("set MMRLHF_DEBUG=1 to see where")
        return ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
