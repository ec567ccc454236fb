"""Which runs of a pipeline are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmrlhf_operator.state.schedules import SeenRun

__all__ = ["outlived"]


def outlived(runs: Iterable[SeenRun], *, successful: int, failed: int) -> tuple[SeenRun, ...]:
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


def _first(ended: Sequence[SeenRun], number: int, *, succeeded: bool) -> set[str]:
    return {run.name for run in [r for r in ended if r.succeeded is succeeded][:number]}
