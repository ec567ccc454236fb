"""Which process of a job holds all others up; pure functions over what was seen of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.watch.position import Place

__all__ = ["Limits", "Sighting", "Verdict", "judge"]

_FIRST: Final = 3
"""The first step of an attempt may take so many times as long as any other."""


@dataclass(frozen=True)
class Limits:
    """How long what may last, in seconds.

    Attributes:
        step: That no process gets on in a step.
        stopped: That a process is stopped by a signal, or that the others of one that is gone live.
    """

    step: float
    stopped: float = 10.0


@dataclass(frozen=True)
class Sighting:
    """What is seen of a process.

    Attributes:
        place: Where it is.
        node: Node that it is on.
        still: Seconds since it told something new.
        stopped: Seconds that it has been stopped by a signal.
        gone: Seconds since it is gone; 0 while it lives.
    """

    place: Place
    node: int
    still: float = 0.0
    stopped: float = 0.0
    gone: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """That the processes are to be ended.

    Attributes:
        rank: The one at fault.
        node: Its node.
        message: What it was at, and the others; for people.
        died: Whether it is gone, so that whoever waits for it knows how it ended.
    """

    rank: int
    node: int
    message: str
    died: bool = False


def judge(sightings: Sequence[Sighting], limits: Limits, *, world_size: int) -> Verdict | None:
    """Say whether a process holds all others up, and which.

    One that is stopped, or gone without a word, does at once. Others do where nobody gets on: all
    that are not at fault wait, and the one that has come least far is. As long as any process is at
    something that may take as long as it must, such as loading or writing a checkpoint, all is
    well.

    Args:
        sightings: Of each process that was seen.
        limits: How long what may last.
        world_size: Processes of the job.
    """
    if world_size == 1:
        return None
    lost = [one for one in sightings if one.gone > limits.stopped and not _ended(one, sightings)]
    if lost:
        first = max(lost, key=lambda one: one.gone)
        how = "is gone" if first.place.code is None else "has ended with an error"
        return _verdict(first, f"{how} in {first.place.words}", sightings, died=True)
    halted = [one for one in sightings if one.stopped > limits.stopped and not one.gone]
    if halted:
        first = max(halted, key=lambda one: one.stopped)
        how = f"is stopped by a signal (SIGSTOP) since {first.stopped:.0f} s, in"
        return _verdict(first, f"{how} {first.place.words}", sightings)
    left = [one for one in sightings if one.place.code is None]
    if len(sightings) < world_size or not left or not all(_stands(one, limits) for one in left):
        return None
    first = min(left, key=_progress)
    how = f"has not got on for {first.still:.0f} s, in {first.place.words}"
    return _verdict(first, how, sightings)


def _ended(one: Sighting, all_of_them: Sequence[Sighting]) -> bool:
    """Whether one that is gone is nobody's loss, or not yet: the others may have work to end."""
    if one.place.code is None:
        return False
    others = [other for other in all_of_them if not other.gone]
    return one.place.code == 0 or any(
        (not other.place.timed and not other.place.waits) or other.still <= one.gone / 2
        for other in others
    )


def _stands(one: Sighting, limits: Limits) -> bool:
    bounded = one.place.timed or bool(one.place.waits)
    return bounded and one.still > limits.step * (_FIRST if one.place.first else 1)


def _progress(one: Sighting) -> tuple[bool, int, int, float, int]:
    """Least for the one that others wait for."""
    place = one.place
    return bool(place.waits), place.step, place.move, -one.still, place.rank


def _verdict(
    first: Sighting, how: str, sightings: Sequence[Sighting], *, died: bool = False
) -> Verdict:
    others = [
        f"rank {one.place.rank} is in {one.place.words}"
        for one in sorted(sightings, key=lambda one: one.place.rank)
        if one is not first and one.place.code is None
    ]
    shown = [*others[:8], *([f"and {len(others) - 8} more"] if len(others) > 8 else [])]
    message = ". ".join([f"rank {first.place.rank} on node {first.node} {how}", *shown])
    return Verdict(first.place.rank, first.node, message, died)
