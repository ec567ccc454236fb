"""Budgets: how many rows may be left out, all together and for single reasons.

They are watched while a stage runs, so that hours are not spent on data that are bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.errors import DataError, StorageError
from mmrlhf_jobs.process.shared_work import SharedWork
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE, DROP_COUNT, count_drops, count_rows
from mmrlhf_jobs.sampling.corpora.extents import Extent
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE
from mmrlhf_jobs.sampling.parts import Part

__all__ = ["BudgetWatch", "Excess", "Limits", "name_excess", "sum_counts"]

_SHOWN_FILES: Final = 3
_EXAMPLE_CHARACTERS: Final = 200
_NOTHING: Final = Extent()


@dataclass(frozen=True)
class Excess:
    """A budget that is passed, whatever the rows that are still to come hold.

    Attributes:
        field: Field of the spec that set it.
        reasons: Reasons that it counts.
        found: Rows that were left out.
        total: Rows so far.
        unread: Most rows that were still to come.
        limit: Part that may be left out.
    """

    field: str
    reasons: frozenset[str]
    found: int
    total: int
    unread: int
    limit: float


@dataclass(frozen=True)
class Limits:
    """The budgets (``spec.failures``).

    Attributes:
        most: Part of all rows that may be left out for reasons that are no row's nature.
        per_reason: Part that may be left out for single reasons.
    """

    most: float
    per_reason: Mapping[str, float]

    def excess(
        self, counts: Mapping[str, int], total: int, unread: Extent = _NOTHING
    ) -> Excess | None:
        """The first budget that is passed for certain, single reasons first.

        Rows to come can only help a budget by being sound, or of another reason. So one that is
        passed stays so.

        Args:
            counts: Counts so far; ``drop:<reason>`` are rows left out.
            total: Rows so far, left out or not.
            unread: Rows to come.
        """
        dropped = {
            name.removeprefix(DROP_COUNT): number
            for name, number in counts.items()
            if name.startswith(DROP_COUNT)
        }
        for reason, limit in sorted(self.per_reason.items()):
            found = dropped.get(reason, 0)
            if found > limit * (total + unread.any):
                field = f"spec.failures.perReason[{reason}]"
                return Excess(field, frozenset({reason}), found, total, unread.any, limit)
        faults = frozenset(dropped) - BY_NATURE
        found = sum(dropped[reason] for reason in faults)
        if found > self.most * (total + unread.sound):
            field = "spec.failures.maxFraction"
            return Excess(field, faults, found, total, unread.sound, self.most)
        return None


def _example(drop: Mapping[str, Any]) -> str:
    told = f"row {drop['row']}: {drop['message']}"
    cut = f"{told[: _EXAMPLE_CHARACTERS - 3]}..."
    return told if len(told) <= _EXAMPLE_CHARACTERS else cut


def sum_counts(parts: Iterable[Part]) -> dict[str, int]:
    """Counts of parts, added up by name."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.counts)
    return dict(sorted(total.items()))


def name_excess(excess: Excess, parts: Sequence[Part]) -> DataError:
    """The error that names the reasons, their counts, and the files that most come from.

    Args:
        excess: The budget.
        parts: Parts with a file of drops; those whose counts passed it.
    """
    by_reason: Counter[str] = Counter()
    by_file: Counter[tuple[str, str]] = Counter()
    examples: dict[str, str] = {}
    for part in parts:
        with part.table(DROPS_FILE) as table:
            for batch in table.iter_batches():
                for drop in batch.to_pylist():
                    if drop["reason"] in excess.reasons:
                        by_reason[drop["reason"]] += 1
                        by_file[drop["file"], drop["reason"]] += 1
                        examples.setdefault(drop["reason"], _example(drop))
    reasons = ", ".join(f"{number} {reason}" for reason, number in by_reason.most_common())
    files = "; ".join(
        f"{file} has {number} ({reason}; {examples[reason]})"
        for (file, reason), number in sorted(by_file.items(), key=lambda item: (-item[1], item[0]))[
            :_SHOWN_FILES
        ]
    )
    rest = f" with the {excess.unread} at most that were not read" if excess.unread else ""
    return DataError(
        f"{excess.found} of {excess.total} rows cannot be used"
        f" ({reasons or ', '.join(sorted(excess.reasons))}), more than the {excess.limit:g} that it"
        f" allows{rest}{': ' if files else ''}{files}. Mend the data, or raise the limit",
        field=excess.field,
    )


class BudgetWatch:
    """Looks for the shortest run of first parts that passes a budget, whatever the others hold.

    Which run that is follows from the data alone. So what is reported is the same for any number
    of processes, although they stop at different items.

    Args:
        work: Adds up what all processes have counted.
        limits: The budgets.
        find: Part of an item by its place, if it is made.
        items: How many items there are.
        before: Parts of earlier stages, whose rows are all there are.
        unread: Most rows that the items from a place on may hold; None: all rows are in ``before``.

    Attributes:
        parts: Parts from the first on, as far as they were looked at.
    """

    def __init__(
        self,
        work: SharedWork,
        limits: Limits,
        find: Callable[[int], Part | None],
        items: int,
        *,
        before: Sequence[Part] = (),
        unread: Callable[[int], Extent] | None = None,
    ) -> None:
        self.parts: list[Part] = []
        self._work = work
        self._limits = limits
        self._find = find
        self._items = items
        self._before = tuple(before)
        self._unread = unread
        self._counts = Counter(sum_counts(before))
        self._total = count_rows(self._counts)
        self._excess: Excess | None = None

    def add(self, part: Part) -> None:
        """Take note of a part that this process has made."""
        self._work.count("dropped", count_drops(part.counts))

    def passed(self) -> bool:
        """Whether a budget is passed by what is done so far."""
        # Looking at the parts of others takes requests; as long as nothing is lost none are made.
        return self._work.total("dropped") > 0 and self._look() is not None

    def check(self) -> tuple[Part, ...]:
        """Look at all parts and return them.

        Raises:
            DataError: A budget is passed; see `name_excess`.
            StorageError: A part is not there any more.
        """
        if (excess := self._look()) is not None:
            raise name_excess(excess, [*self._before, *self.parts])
        if len(self.parts) < self._items:
            raise StorageError(
                f"part {len(self.parts) + 1} of {self._items} is gone; it was there before: run"
                " the job again"
            )
        return tuple(self.parts)

    def _look(self) -> Excess | None:
        """The budget that is passed, as far as parts are made in order."""
        while self._excess is None and len(self.parts) < self._items:
            part = self._find(len(self.parts))
            if part is None:
                break
            self.parts.append(part)
            self._counts.update(part.counts)
            if self._unread is not None:
                self._total = count_rows(self._counts)
            if self._limits.excess(self._counts, self._total) is not None:
                # Only now: what files may hold takes requests as well.
                rest = Extent() if self._unread is None else self._unread(len(self.parts))
                self._excess = self._limits.excess(self._counts, self._total, rest)
        return self._excess
