"""What the launcher of a node says of its end, where its processes could not say it themselves.

A termination file has the word of whoever wrote it first. That is mostly right. But whoever loses a
peer says so at once, and one that was killed, or hangs, says nothing: the launcher then tells the
cause instead of the symptom.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from mmrlhf_api.constants import ENV_TERMINATION_FILE
from mmrlhf_api.termination import Ending, TerminationMessage, describe_signal
from mmrlhf_jobs.reporting.termination import write_termination
from mmrlhf_jobs.watch.judging import Verdict
from mmrlhf_jobs.watch.watching import Watch

__all__ = ["Failure", "exit_code_told", "shell_code", "tell_failure", "tell_verdict"]

_SYMPTOMS: Final = frozenset({Ending.PEER_LOST.value, Ending.INTERRUPTED.value})
"""What processes say for want of a peer, or when their launcher stops them for that."""


class Failure(Protocol):
    """How torchrun has seen a process end."""

    local_rank: int
    exitcode: int
    timestamp: int


def tell_verdict(verdict: Verdict, *, node: int) -> None:
    """Say that the processes of this node are ended because one of the job holds all others up.

    Args:
        verdict: Which and how.
        node: This node's rank.
    """
    if verdict.died and verdict.node == node:
        return  # `tell_failure` knows how it ended
    stalled = verdict.node == node and not verdict.died
    ending = Ending.STALLED if stalled else Ending.PEER_LOST
    failed = f"node {verdict.node} has failed: " if verdict.died else ""
    _write(ending, ending.exit_code, failed + verdict.message)


def tell_failure(failures: Mapping[int, Any], watch: Watch, *, node: int) -> int:
    """Say why processes of this node ended, here and to the other nodes; return the exit code.

    Args:
        failures: How they ended, each a `Failure`, by rank.
        watch: Has watched them.
        node: This node's rank.
    """
    verdict = watch.verdict
    told = _told()
    if verdict is None and told is not None and told.reason == Ending.PEER_LOST:
        verdict = watch.told()
    if verdict is not None and not (verdict.died and verdict.node == node):
        tell_verdict(verdict, node=node)
        return exit_code_told() or Ending.PEER_LOST.exit_code
    rank = _first(failures) if verdict is None else verdict.rank
    if rank not in failures:
        rank = _first(failures)
    first: Failure = failures[rank]
    code = shell_code(first.exitcode)
    was_killed = first.exitcode < 0 and -first.exitcode != signal.SIGTERM
    if was_killed and (told is None or told.reason in _SYMPTOMS):
        words = watch.words_of(rank)
        where = f". It was in {words}" if words else ""
        message = f"rank {rank} {describe_signal(-first.exitcode)}{where}"
        _write(Ending.PROCESS_FAILED, code, message)
    elif told is None:
        _write(
            Ending.PROCESS_FAILED,
            code,
            f"local process {first.local_rank} ended with exit code {code} and left no message;"
            " see its log",
        )
    if (said := _told()) is not None and said.reason not in _SYMPTOMS:
        watch.tell(Verdict(rank, node, said.message, died=True))
    return exit_code_told() or code


def exit_code_told() -> int | None:
    """Exit code in the termination file, if a process of this node wrote one."""
    told = _told()
    return None if told is None else told.exit_code


def shell_code(exit_code: int) -> int:
    """Exit code as a shell tells it: 128 + n for a process that signal n ended."""
    return exit_code if exit_code >= 0 else 128 - exit_code


def _first(failures: Mapping[int, Failure]) -> int:
    """The one that failed first: torchrun's times are of whole seconds, and its own looks."""

    def order(rank: int) -> tuple[int, int, int]:
        code = failures[rank].exitcode
        symptom = shell_code(code) in (Ending.PEER_LOST.exit_code, Ending.INTERRUPTED.exit_code)
        return (2 if symptom else int(code > 0)), failures[rank].timestamp, rank

    return min(failures, key=order)


def _told() -> TerminationMessage | None:
    path = os.environ.get(ENV_TERMINATION_FILE)
    try:
        return TerminationMessage.read(Path(path or "").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(ending: Ending, code: int, message: str) -> None:
    told = _told()
    write_termination(
        exit_code=code,
        reason=ending,
        message=message,
        instead=told is not None and told.reason in _SYMPTOMS,
    )
