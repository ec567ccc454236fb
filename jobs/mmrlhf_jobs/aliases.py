"""Old command lines, which say what to write instead and go in the next version."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["run_alias"]

# By name, as a program of its own would: the rooms that keep an alias lie below the steps.
_RUNNER: Final = "mmrlhf_jobs.steps.runner:run_command"


def run_alias(old: str, steps: str | Mapping[str, str], arguments: Sequence[str] | None) -> int:
    """Run the step of an old command line; return its exit code.

    Args:
        old: Module that was run, without ``mmrlhf_jobs.``.
        steps: The step, or the step of each first argument.
        arguments: What was given; None is the process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(steps, str):
        step = steps
    elif given[:1] and given[0] in steps:
        step = steps[given.pop(0)]
    else:
        step = " or ".join(f"{name} (was: {first})" for first, name in steps.items())
    sys.stderr.write(
        f"note: python -m mmrlhf_jobs.{old} goes in the next version; write python -m mmrlhf_jobs"
        f" {step}\n"
    )
    if not isinstance(steps, str) and step not in steps.values():
        return 2
    code: int = pkgutil.resolve_name(_RUNNER)(step, given)
    return code
