"""Budgets: how many rows may be left out, all together and for single reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE, DROP_COUNT
from mmrlhf_jobs.sampling.corpora.extents import Extent
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE
from mmrlhf_jobs.sampling.parts import Part

__all__ = ["Excess", "Limits", "name_excess", "sum_counts"]

_SHOWN_FILES: Final = 3
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
                        examples.setdefault(drop["reason"], f"row {drop['row']}: {drop['message']}")
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
