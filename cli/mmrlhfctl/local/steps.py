"""Commands that are a step of the jobs, such as ``mmrlhfctl import``: in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from mmrlhf_api.interrupts import interrupt_arrived
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode

__all__ = ["run_step"]


def run_step(name: str, arguments: Sequence[str]) -> int:
    """Run a step to its end; what it writes goes where this program's goes.

    Args:
        name: Name of the step.
        arguments: Its command line.

    Returns:
        Its exit code.

    Raises:
        CliError: The packages that jobs need are not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise CliError(
            f"{name} needs pyarrow, which is not installed: pip install 'mmrlhf[jobs]'",
            code=ExitCode.USAGE,
        )
    command = [sys.executable, "-m", "mmrlhf_jobs", name, *arguments]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        interrupt_arrived()
        return 130
