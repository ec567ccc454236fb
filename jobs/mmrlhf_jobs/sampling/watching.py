"""Watching the budgets while a stage runs, so that hours are not spent on data that are bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.budgets import Excess, Limits, name_excess, sum_counts
from mmrlhf_jobs.sampling.corpora.drops import count_drops, count_rows
from mmrlhf_jobs.sampling.corpora.extents import Extent
from mmrlhf_jobs.sampling.parts import Part
from mmrlhf_jobs.sampling.ranks import SharedWork

__all__ = ["BudgetWatch"]


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
