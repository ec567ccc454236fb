"""Which runs of a pipeline are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["RunView", "outlived"]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run, as its pipeline sees it.

    Attributes:
        name: Its name.
        uid: Its identity.
        created: When it was made.
        ended: When it succeeded or failed; None while it goes on.
        succeeded: Whether it did.
        cancelled: Whether it was told to stop for good.
        deleting: Whether it is on its way out.
        time: Time that it was started for by its pipeline; None when a person made it.
        digest: Digest of its data and steps; None when that was not looked at.
        takes: Names of the runs of which it took results.
    """

    name: str
    uid: str
    created: datetime
    ended: datetime | None = None
    succeeded: bool = False
    cancelled: bool = False
    deleting: bool = False
    time: datetime | None = None
    digest: str | None = None
    takes: frozenset[str] = frozenset()


def outlived(runs: Iterable[RunView], *, successful: int, failed: int) -> tuple[RunView, ...]:
    """Return the runs to be deleted, the oldest first.

    Never one that goes on. Nor, whatever the limits, one whose results a run took that stays: its
    steps are what a later run takes from the cache.

    Args:
        runs: All of a pipeline.
        successful: How many that succeeded are kept.
        failed: How many that failed.
    """
    everything = {run.name: run for run in runs}
    ended = sorted(
        (run for run in everything.values() if run.ended is not None),
        key=lambda run: (run.ended, run.created, run.name),
        reverse=True,
    )
    kept = {run.name for run in everything.values() if run.ended is None}
    kept |= _first(ended, successful, succeeded=True) | _first(ended, failed, succeeded=False)
    reached: set[str] = set()
    while kept - reached:
        name = (kept - reached).pop()
        reached.add(name)
        kept |= everything[name].takes & everything.keys()
    return tuple(run for run in reversed(ended) if run.name not in kept and not run.deleting)


def _first(ended: Sequence[RunView], number: int, *, succeeded: bool) -> set[str]:
    return {run.name for run in [r for r in ended if r.succeeded is succeeded][:number]}
