"""Acts out a plan: marks first, a second look, then removal, in an order that loses nothing.

A run goes by its mark (`mmrlhf_jobs.storage.marks`), its record first, so that readers see no run
before they see half of one; commit markers follow, then all other files, and the mark stays and
says that it is gone. What was cut off in the middle goes on with the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from mmrlhf_api.steps.prune import PruneSettings
from mmrlhf_jobs.retention.plan import Fate, Found, FoundRun, Item, Need, goes_in_order, plan
from mmrlhf_jobs.retention.plan import origins as all_origins
from mmrlhf_jobs.retention.survey import survey
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marks import MARK, Mark, Marks, MarkState
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["BY", "Pruned", "prune"]

BY: Final = "retention"


@dataclass(frozen=True)
class Pruned:
    """What came of it.

    Attributes:
        items: What was planned.
        marked: Keys of runs that are marked now.
        removed: Keys of runs and cached values that are gone.
        spared: Keys of runs that were to go and that something began to need, by why they stay.
    """

    items: tuple[Item, ...]
    marked: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    spared: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """How many there are of each, and their bytes."""
        gone = [one for one in self.items if one.key in self.removed]
        stays = [one for one in self.items if one.fate is Fate.STAYS or one.key in self.spared]
        to_go = [one for one in self.items if one.fate is Fate.GOES]
        return {
            "removed": float(len(gone)),
            "removedBytes": float(sum(one.bytes for one in gone)),
            "marked": float(len(self.marked)),
            "waiting": float(sum(one.fate is Fate.WAITS for one in self.items)),
            "toGo": float(len(to_go)),
            "toGoBytes": float(sum(one.bytes for one in to_go)),
            "spared": float(len(self.spared)),
            "stays": float(len(stays)),
            "staysBytes": float(sum(one.bytes for one in stays)),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the same for the same store and time."""
        return {
            "version": "PruneReport/v1",
            "figures": self.figures(),
            "marked": list(self.marked),
            "removed": list(self.removed),
            "spared": dict(self.spared),
            "items": [
                {
                    "what": one.what,
                    "key": one.key,
                    "title": one.title,
                    "fate": one.fate.value,
                    "why": one.why,
                    "bytes": one.bytes,
                    "files": one.files,
                }
                for one in self.items
            ],
        }


def prune(
    uri: str,
    policy: PruneSettings,
    options: StorageOptions | None = None,
    *,
    clock: Callable[[], datetime],
    delete: bool,
    needs: Sequence[Need] = (),
    count: Callable[[int, int], None] | None = None,
) -> Pruned:
    """Say what of a store may go, and let it go if that was asked.

    Args:
        uri: Folder of artifacts: a path, ``file://`` or ``s3://``.
        policy: What stays.
        options: Where the object store is, for ``s3://``.
        clock: Tells the time.
        delete: Whether to mark and remove; else nothing is written.
        needs: What needs something of it that the store does not know of.
        count: Takes how many of how many are removed.

    Raises:
        DamagedError: An alias or a mark is damaged: nothing is removed until it is mended.
        StorageError: The store fails, or does not keep conditions on writes.
        InputError: It may not be written.
    """

    def look() -> tuple[Found, tuple[Item, ...]]:
        found = survey(uri, options, also=policy.also)
        found = replace(found, needs=(*needs, *found.needs))
        return found, plan(found, policy, clock())

    found, items = look()
    if not delete:
        return Pruned(items)
    work = _Work(uri, options, clock)
    marked = work.mark(found, items)
    if marked and policy.wait_days == 0:
        found, items = look()  # who came to need one before it was marked is seen now
    removed, spared = work.remove(found, items, count or (lambda _done, _total: None))
    return Pruned(items, tuple(sorted(marked - set(removed))), tuple(removed), spared)


class _Work:
    def __init__(
        self, uri: str, options: StorageOptions | None, clock: Callable[[], datetime]
    ) -> None:
        self._store = ArtifactStore(uri, options)
        self._marks = Marks(uri, options)
        self._clock = clock

    def mark(self, found: Found, items: Sequence[Item]) -> set[str]:
        """Mark what is to go; return the keys of what is marked by this."""
        runs = {run.key: run for run in found.runs}
        return {
            one.key
            for one in items
            if one.fate is Fate.MARK
            and self._change(one.key, MarkState.MARKED, runs[one.key].mark) is not None
        }

    def remove(
        self, found: Found, items: Sequence[Item], tell: Callable[[int, int], None]
    ) -> tuple[list[str], dict[str, str]]:
        """Remove what goes; return what is gone, and what stays after all."""
        caches = [one.key for one in items if one.what == "cache" and one.fate is Fate.GOES]
        condemned, spared = self._condemn(found, goes_in_order(found, items))
        total = len(condemned) + len(caches)
        for done, (run, mark) in enumerate(condemned, start=1):
            self._remove_run(run, mark)
            tell(done, total)
        for done, key in enumerate(caches, start=len(condemned) + 1):
            self._store.remove(key)
            tell(done, total)
        return [*(run.key for run, _ in condemned), *caches], spared

    def _condemn(
        self, found: Found, going: Sequence[FoundRun]
    ) -> tuple[list[tuple[FoundRun, Mark]], dict[str, str]]:
        """Let nobody begin to need what goes; what somebody does stays, with what it is from."""
        condemned: list[tuple[FoundRun, Mark]] = []
        spared: dict[str, str] = {}
        for run in going:
            if run.key in spared:
                continue
            mark = self._condemned(run)
            if mark is not None:
                condemned.append((run, mark))
                continue
            spared[run.key] = "something began to need it"
            for origin in all_origins(found, [run.key]) - {run.key}:
                spared.setdefault(origin, f"{run.key} was made from it, and something needs that")
        # Runs that name each other in a circle may be condemned before they are spared.
        left = {run.key for run in going} - {run.key for run, _ in condemned}
        return condemned, {key: why for key, why in spared.items() if key in left}

    def _condemned(self, run: FoundRun) -> Mark | None:
        if run.is_gone:
            return run.mark
        return self._change(run.key, MarkState.DELETING, run.mark)

    def _remove_run(self, run: FoundRun, mark: Mark) -> None:
        if mark.state is MarkState.GONE:
            self._store.remove(run.key)  # it was removed long ago, and its mark alone is left
            return
        self._store.remove(f"{run.key}/manifest.json")
        self._store.remove(run.key, but=f"{run.key}/{MARK}")
        self._change(run.key, MarkState.GONE, mark)

    def _change(self, key: str, state: MarkState, of: Mark | None) -> Mark | None:
        return self._marks.change(key, state, of=of, by=BY, now=self._clock())
