"""Commands that are about pods, and so about jobs alone."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf.client.runs import run_targets
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name

__all__ = ["refuse_runs"]


def refuse_runs(words: Sequence[str], what: str) -> None:
    """Refuse runs where a command is about pods.

    Raises:
        CliError: Runs are meant.
    """
    if run_targets(words) is not None:
        raise CliError(
            f"a run or sweep has no {what} of its own; {program_name()} status names the jobs of"
            " its steps or points",
            code=ExitCode.USAGE,
        )
