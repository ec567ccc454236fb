"""Which logs to show: attempts and ranks; pure."""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf.client.views import JobView
from mmrlhf.errors import NotFoundError
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode

__all__ = ["LogOptions", "choose_attempt", "nothing_to_show", "parse_ranks", "parse_tail", "wants"]

Ranks = str | frozenset[int]
"""``all``, ``last``, or node ranks."""


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Which logs, and how they look.

    Attributes:
        follow: Go on with whatever is written, over restarts, to the end of the job.
        ranks: Node ranks.
        attempt: Attempt; None takes the current one and those after it.
        previous: Take the attempt before the current one.
        since: Seconds to look back; None looks back to the start.
        tail: Lines at the end of each log; None takes all.
        container: Container of each pod; None is the job's.
        archived: Read the job's artifact store instead of pods.
        prefix: Whether each line names its pod; None does where there are several.
        timestamps: Whether each line has its time.
    """

    follow: bool = False
    ranks: Ranks = "all"
    attempt: int | None = None
    previous: bool = False
    since: float | None = None
    tail: int | None = None
    container: str | None = None
    archived: bool = False
    prefix: bool | None = None
    timestamps: bool = False


def parse_tail(count: int | None) -> int | None:
    """Return how many lines to show; None is all, which ``-1`` means as for kubectl.

    Raises:
        CliError: It is less.
    """
    if count is not None and count < -1:
        raise CliError(
            f"--tail {count}: must be a number of lines, or -1 for all", code=ExitCode.USAGE
        )
    return None if count == -1 else count


def parse_ranks(text: str) -> Ranks:
    """Return the ranks of ``all``, ``last``, ``0`` or ``0,3``.

    Raises:
        CliError: It is none of these.
    """
    if text in {"all", "last"}:
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise CliError(
            f"--rank {text}: must be all, last, or node ranks such as 0 or 0,3",
            code=ExitCode.USAGE,
        )
    return frozenset(map(int, parts))


def choose_attempt(job: JobView, options: LogOptions) -> int:
    """Return the attempt to show.

    Raises:
        CliError: There was no such attempt.
    """
    if options.previous:
        if options.attempt is not None:
            raise CliError("--previous and --attempt exclude each other", code=ExitCode.USAGE)
        if job.attempt == 0:
            raise NotFoundError(f"{job.title} is in its first attempt; there is none before it")
        return job.attempt - 1
    if options.attempt is None:
        return job.attempt
    if options.attempt > job.attempt:
        raise NotFoundError(
            f"{job.title} has had no attempt {options.attempt} yet; "
            f"the current one is {job.attempt}"
        )
    return options.attempt


def wants(job: JobView, ranks: Ranks) -> frozenset[int]:
    """Return the node ranks to show.

    Raises:
        CliError: The job has no such node.
    """
    nodes = job.nodes
    if ranks == "all":
        return frozenset(range(nodes))
    if ranks == "last":
        return frozenset({nodes - 1})
    assert isinstance(ranks, frozenset)  # parse_ranks makes nothing else
    if beyond := sorted(rank for rank in ranks if rank >= nodes):
        has = "one node, rank 0" if nodes == 1 else f"nodes 0 to {nodes - 1}"
        raise CliError(f"--rank {beyond[0]}: {job.title} has {has}", code=ExitCode.USAGE)
    return ranks


def nothing_to_show(job: JobView, *, attempt: int) -> NotFoundError:
    """Return the error of an attempt that has no pods."""
    if job.ended or attempt < job.attempt:
        return NotFoundError(
            f"{job.title}: the pods of attempt {attempt} are gone, and their logs with them",
            f"--archived --attempt {attempt} shows what its artifact store has of them",
        )
    return NotFoundError(
        f"{job.title} has no pods yet; it is {job.state_line}",
        "-f waits for them",
    )
