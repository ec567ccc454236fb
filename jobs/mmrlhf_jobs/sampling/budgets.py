"""Budgets: how many rows may be left out, all together and for single reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE
from mmrlhf_jobs.sampling.parts import Part

__all__ = ["Excess", "check_budgets", "find_excess", "sum_counts"]

_SHOWN_FILES: Final = 3
_DROP: Final = "drop:"


class Excess:
    """A budget that was passed.

    Args:
        field: Field of the spec that set it.
        reasons: Reasons that it counts.
        found: Rows that were left out.
        total: All rows.
        limit: Part that may be left out.
    """

    def __init__(
        self, field: str, reasons: frozenset[str], found: int, total: int, limit: float
    ) -> None:
        self.field = field
        self.reasons = reasons
        self.found = found
        self.total = total
        self.limit = limit


def sum_counts(parts: Iterable[Part]) -> dict[str, int]:
    """Counts of parts, added up by name."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.counts)
    return dict(sorted(total.items()))


def find_excess(
    counts: Mapping[str, int], total: int, *, most: float, per_reason: Mapping[str, float]
) -> Excess | None:
    """The first budget that is passed, single reasons first.

    Args:
        counts: Counts of the stages so far; ``drop:<reason>`` are rows left out.
        total: All rows that were read, left out or not.
        most: Part that may be left out for reasons that are no row's nature.
        per_reason: Part that may be left out for single reasons.
    """
    dropped = {
        name.removeprefix(_DROP): number
        for name, number in counts.items()
        if name.startswith(_DROP)
    }
    for reason, limit in sorted(per_reason.items()):
        found = dropped.get(reason, 0)
        if found > limit * total:
            field = f"spec.failures.perReason[{reason}]"
            return Excess(field, frozenset({reason}), found, total, limit)
    faults = frozenset(dropped) - BY_NATURE
    found = sum(dropped[reason] for reason in faults)
    if found > most * total:
        return Excess("spec.failures.maxFraction", faults, found, total, most)
    return None


def check_budgets(
    counts: Mapping[str, int],
    total: int,
    parts: Sequence[Part],
    *,
    most: float,
    per_reason: Mapping[str, float],
) -> None:
    """Hold what was left out against the budgets.

    Args:
        counts: See :func:`find_excess`.
        total: All rows.
        parts: Parts with drops, for the names of files.
        most: Part that may fail.
        per_reason: The same for single reasons.

    Raises:
        DataError: A budget is passed; the message has the reasons, their counts, and the files
            that most of them come from.
    """
    excess = find_excess(counts, total, most=most, per_reason=per_reason)
    if excess is None:
        return
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
    raise DataError(
        f"{excess.found} of {excess.total} rows cannot be used ({reasons}), more than the"
        f" {excess.limit:g} that it allows: {files}. Mend the data, or raise the limit",
        field=excess.field,
    )
