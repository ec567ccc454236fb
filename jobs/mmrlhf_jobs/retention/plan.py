"""What of a store stays and what goes: one pure function of what was found."""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from mmrlhf_api.steps.prune import PruneSettings
from mmrlhf_jobs.storage.marks import Mark, MarkState

__all__ = ["Fate", "Found", "FoundCache", "FoundRun", "Item", "Need", "goes_in_order", "plan"]

_ABANDONED: Final = timedelta(hours=1)
"""After which another goes on with a removal that was cut off."""
_REMEMBERED: Final = timedelta(days=90)
"""How long it is known of a run that it was removed."""


class Fate(StrEnum):
    """What becomes of something."""

    STAYS = "stays"
    MARK = "to be marked"
    WAITS = "marked"
    GOES = "goes"


@dataclass(frozen=True)
class FoundRun:
    """A run.

    Attributes:
        key: Key of its folder: namespace, name and UID.
        series: Whose latest runs stay: namespace, pipeline or name, and step.
        title: What it is, for people.
        pipeline: Its pipeline; None of a job by itself.
        ended: When it ended; None of one that has not, or whose record cannot be read.
        touched: When anything of it was written last.
        bytes: Of all its files.
        files: How many there are.
        reads: URIs that it was made from, or that its attempts read.
        mark: Its mark.
        flaw: Why what it needs cannot be told.
    """

    key: str
    series: tuple[str, ...]
    title: str
    pipeline: str | None
    ended: datetime | None
    touched: datetime
    bytes: int
    files: int
    reads: tuple[str, ...] = ()
    mark: Mark | None = None
    flaw: str = ""

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.key.partition("/")[0]

    @property
    def is_gone(self) -> bool:
        """Whether its mark alone is left."""
        return self.mark is not None and self.mark.state is MarkState.GONE


@dataclass(frozen=True)
class FoundCache:
    """A cached value, which is made anew where it is needed."""

    key: str
    touched: datetime
    bytes: int
    files: int


@dataclass(frozen=True)
class Need:
    """Something that needs what is at a URI.

    Attributes:
        uri: What it needs.
        why: Who does, for people.
        rank: Of rollback targets of an alias, their place from 1; 0 of all other needs.
    """

    uri: str
    why: str
    rank: int = 0


@dataclass(frozen=True)
class Found:
    """What is in a store.

    Attributes:
        root: Its URI.
        runs: Runs.
        caches: Cached values.
        needs: What needs something of it, besides its own runs.
    """

    root: str
    runs: tuple[FoundRun, ...]
    caches: tuple[FoundCache, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Item:
    """What becomes of a run or a cached value, and why."""

    what: Literal["run", "cache"]
    key: str
    title: str
    fate: Fate
    why: str
    bytes: int
    files: int


def plan(found: Found, policy: PruneSettings, now: datetime) -> tuple[Item, ...]:
    """Say of each run and cached value whether it stays, and why.

    What stays keeps all that it was made from. Of what is to go, a run is marked first; when it has
    been marked for long enough it goes.

    Args:
        found: What is there.
        policy: What stays.
        now: The time.
    """
    stays = _staying(found, policy, now)
    runs = [_fate(run, stays, policy, now) for run in found.runs if not run.is_gone]
    return (*runs, *_gone(found, now), *(_cached(one, policy, now) for one in found.caches))


def goes_in_order(found: Found, items: Iterable[Item]) -> list[FoundRun]:
    """Runs that go, each before those that it was made from.

    So when one turns out to be needed, what it was made from is still there.
    """
    keys = {one.key for one in items if one.what == "run" and one.fate is Fate.GOES}
    going = {run.key: run for run in found.runs if run.key in keys}
    index = _Index(found)
    made_from = {key: set(index.runs(run.reads)) & going.keys() for key, run in going.items()}
    ordered: list[FoundRun] = []
    left = dict.fromkeys(sorted(going))
    while left:
        named = {origin for key in left for origin in made_from[key] if origin != key}
        # Of runs that name each other in a circle, any is first.
        ready = [key for key in left if key not in named] or [next(iter(left))]
        for key in ready:
            ordered.append(going[key])
            del left[key]
    return ordered


def origins(found: Found, keys: Iterable[str]) -> set[str]:
    """Keys of runs, and of all those that they were made from."""
    index = _Index(found)
    return set(_closure(index, dict.fromkeys(keys, "")))


class _Index:
    """Finds the runs that URIs are in, however they spell the store."""

    def __init__(self, found: Found) -> None:
        self._root = _plain(found.root)
        self._known = {run.key: run for run in found.runs}

    def __getitem__(self, key: str) -> FoundRun:
        return self._known[key]

    def runs(self, uris: Iterable[str]) -> list[str]:
        """Keys of the runs that URIs name, or may name."""
        return [key for uri in uris for key in self._of(uri)]

    def _of(self, uri: str) -> Iterator[str]:
        plain = _plain(uri)
        if any(mark in plain for mark in "*?["):
            # A pattern may name what is in a run, or the run; what may be meant stays.
            for key in self._known:
                whole = f"{self._root}/{key}"
                if _may_match(plain, whole):
                    yield key
            return
        parts = plain.split("/")
        for start in range(len(parts) - 2):
            key = "/".join(parts[start : start + 3])
            if key in self._known:
                yield key
        # A folder above runs is all of them; the store itself is only where somebody writes.
        if plain.startswith(f"{self._root}/"):
            above = plain.removeprefix(f"{self._root}/")
            yield from (key for key in self._known if key.startswith(f"{above}/"))


def _plain(uri: str) -> str:
    return uri.replace("s3a://", "s3://", 1).removeprefix("file://").rstrip("/")


def _may_match(pattern: str, folder: str) -> bool:
    """Whether a pattern may name a folder, what is in it, or what it is in."""
    wanted, there = pattern.split("/"), folder.split("/")
    if "**" in pattern:
        wanted = wanted[: wanted.index(next(one for one in wanted if "**" in one))]
    return all(fnmatch.fnmatchcase(part, one) for one, part in zip(wanted, there, strict=False))


def _staying(found: Found, policy: PruneSettings, now: datetime) -> dict[str, str]:
    """Why each run stays that does."""
    index = _Index(found)
    roots: dict[str, str] = {}
    for need in found.needs:
        if policy.rollbacks is None or need.rank <= policy.rollbacks:
            for key in index.runs([need.uri]):
                roots.setdefault(key, need.why)
    for run in found.runs:
        if not run.is_gone and (why := _own_reason(run, policy, now)) is not None:
            roots.setdefault(run.key, why)
    for series in _series(found.runs).values():
        for place, run in enumerate(series[: policy.last], start=1):
            words = " ".join(filter(None, run.series))
            roots.setdefault(run.key, f"{_th(place)} latest of {words}")
    return _closure(index, roots)


def _own_reason(run: FoundRun, policy: PruneSettings, now: datetime) -> str | None:
    recent = timedelta(days=policy.recent_days)
    mark = run.mark
    why: str | None = run.flaw or None
    if policy.pipeline is not None and run.pipeline != policy.pipeline:
        why = f"not of pipeline {policy.pipeline}"
    elif policy.namespace is not None and run.namespace != policy.namespace:
        why = f"not of namespace {policy.namespace}"
    elif mark is not None and mark.state is MarkState.KEPT and now - mark.at < recent:
        why = f"needed on {mark.at:%Y-%m-%d} by {mark.by}"
    elif run.ended is not None and now - run.ended < recent:
        why = f"ended on {run.ended:%Y-%m-%d}"
    elif run.ended is None and not _is_abandoned(run, policy, now):
        why = why or f"has not ended; written last on {run.touched:%Y-%m-%d}"
    return why


def _is_abandoned(run: FoundRun, policy: PruneSettings, now: datetime) -> bool:
    if policy.unfinished_days is None:
        return False
    return now - run.touched >= timedelta(days=max(policy.unfinished_days, policy.recent_days))


def _series(runs: Sequence[FoundRun]) -> dict[tuple[str, ...], list[FoundRun]]:
    """Finished runs of each series, the latest first."""
    found: dict[tuple[str, ...], list[FoundRun]] = {}
    for run in runs:
        if run.ended is not None and not run.is_gone and not _is_leaving(run):
            found.setdefault(run.series, []).append(run)
    for series in found.values():
        series.sort(key=lambda run: (run.ended, run.key), reverse=True)
    return found


def _is_leaving(run: FoundRun) -> bool:
    return run.mark is not None and run.mark.state is MarkState.DELETING


def _closure(index: _Index, roots: Mapping[str, str]) -> dict[str, str]:
    """Runs that stay and all that they were made from, with the reason of each."""
    reasons = dict(roots)
    waiting = deque(roots)
    while waiting:
        key = waiting.popleft()
        for origin in index.runs(index[key].reads):
            if origin not in reasons:
                reasons[origin] = f"{key} was made from it"
                waiting.append(origin)
    return reasons


def _fate(run: FoundRun, stays: Mapping[str, str], policy: PruneSettings, now: datetime) -> Item:
    fate, why = Fate.STAYS, stays.get(run.key, "")
    mark = run.mark
    if mark is not None and mark.state is MarkState.DELETING:
        # Nobody can begin to need it any more.
        cut_off = now - mark.at >= _ABANDONED
        fate = Fate.GOES if cut_off else Fate.WAITS
        why = "its removal was cut off" if cut_off else f"{mark.by} is removing it"
    elif run.key not in stays:
        until = timedelta(days=policy.wait_days)
        if mark is None or mark.state is not MarkState.MARKED:
            fate, why = Fate.MARK, "nothing needs it"
        elif now - mark.at < until:
            fate, why = Fate.WAITS, f"goes after {mark.at + until:%Y-%m-%d %H:%M} UTC"
        else:
            fate, why = Fate.GOES, f"marked on {mark.at:%Y-%m-%d}, and nothing needs it"
    return Item("run", run.key, run.title, fate, why, run.bytes, run.files)


def _gone(found: Found, now: datetime) -> Iterator[Item]:
    """What is left of runs that were removed long ago."""
    for run in found.runs:
        if run.is_gone and run.mark is not None and now - run.mark.at >= _REMEMBERED:
            why = f"was removed on {run.mark.at:%Y-%m-%d}"
            yield Item("run", run.key, run.title, Fate.GOES, why, run.bytes, run.files)


def _cached(one: FoundCache, policy: PruneSettings, now: datetime) -> Item:
    old = now - one.touched >= timedelta(days=policy.cache_days)
    why = f"made on {one.touched:%Y-%m-%d}"
    fate = Fate.GOES if old else Fate.STAYS
    return Item("cache", one.key, "cached values", fate, why, one.bytes, one.files)


def _th(place: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(place, f"{place}th")
