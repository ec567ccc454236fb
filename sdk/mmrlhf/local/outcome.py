"""Why a local run failed, from what its processes left behind.

The job's exit code and message come from the termination file, which the first failing rank writes.
A process that died before it could write one (killed, or not even started) is found in torchrun's
own report.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from mmrlhf_api.termination import Ending, TerminationMessage, describe_signal

__all__ = ["Outcome", "failure_outcome"]

_ROOT_CAUSE = re.compile(
    r"Root Cause \(first observed failure\):.*?"
    r"rank\s*:\s*(?P<rank>\d+) \(local_rank: (?P<local>\d+)\).*?"
    r"exitcode\s*:\s*(?P<code>-?\d+)",
    re.DOTALL,
)
_REPORT_BYTES = 64 * 1024
_FAILED = 1


@dataclass(frozen=True)
class Outcome:
    """How a run failed.

    Attributes:
        exit_code: Exit code for the command.
        message: What went wrong, for people.
        log: File to look into for more; None when there is none.
    """

    exit_code: int
    message: str
    log: Path | None = None


def failure_outcome(termination: Path, launch_logs: Path, *, failed_node: int) -> Outcome:
    """Return why a run failed.

    Args:
        termination: File that the first failing rank writes.
        launch_logs: Folder of the launch's logs.
        failed_node: Node whose torchrun ended first with an error.
    """
    report = _torchrun_report(launch_logs, failed_node)
    cause = _ROOT_CAUSE.search(report)
    log = _rank_log(launch_logs, failed_node, cause["local"] if cause else "0")
    told = _termination(termination)
    if (watched := _told_by_launcher(termination)) is not None:
        return Outcome(*watched, log)
    if cause is not None and _was_killed(int(cause["code"])):
        # The others then fail for want of a peer, and what they say is not the reason.
        message = f"rank {cause['rank']} {describe_signal(-int(cause['code']))}"
        if told is not None:
            message += f" (another process: {told[1]})"
        return Outcome(_FAILED, message, log)
    if told is not None:
        return Outcome(*told, log)
    if cause is None:
        reason = _last_line(report) or "it left no message"
        return Outcome(_FAILED, f"node {failed_node} could not run the job: {reason}", log)
    code = int(cause["code"])
    how = describe_signal(-code) if code < 0 else f"ended with exit code {code}"
    said = _last_line(log.read_text(errors="replace")) if code > 0 and log is not None else ""
    message = f"rank {cause['rank']} {how}" + (f": {said}" if said else "")
    return Outcome(_FAILED, message, log)


def _was_killed(code: int) -> bool:
    # SIGTERM is how torchrun and this command stop processes after something else went wrong.
    return code < 0 and -code != signal.SIGTERM


def _told_by_launcher(path: Path) -> tuple[int, str] | None:
    """What the launcher of a node says of a process that hung or was killed, and of what it did."""
    told = _read(path)
    if told is not None and told.reason == Ending.STALLED:
        return Ending.STALLED.exit_code, told.message
    if told is not None and told.reason == Ending.PROCESS_FAILED and _is_death(told.exit_code):
        return _FAILED, told.message
    return None


def _is_death(code: int | None) -> bool:
    return code is not None and code > 128


def _read(path: Path) -> TerminationMessage | None:
    try:
        return TerminationMessage.read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _termination(path: Path) -> tuple[int, str] | None:
    told = _read(path)
    if told is None or told.exit_code is None or told.reason == Ending.PROCESS_FAILED:
        # The node's launcher speaks for a process that left no message; its log says more.
        return None
    return (told.exit_code if 1 <= told.exit_code <= 255 else _FAILED), told.message


def _torchrun_report(launch_logs: Path, node: int) -> str:
    for path in launch_logs.glob(f"*/*/{node}/stderr.log"):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _REPORT_BYTES))
            return file.read().decode(errors="replace")
    return ""


def _rank_log(launch_logs: Path, node: int, local_rank: str) -> Path | None:
    pattern = f"node-{node}/*/attempt_*/{local_rank}/stderr.log"
    return next(launch_logs.glob(pattern), next(launch_logs.glob(f"*/*/{node}/stderr.log"), None))


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
