"""Rows that are passed over while a source is read as a stream, held to a budget."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.budgets import allowed_faults
from mmrlhf_jobs.errors import DataError

__all__ = ["RowFaults"]

_LISTED: Final = 20
_LINE_CHARACTERS: Final = 400


class RowFaults:
    """Rows at fault so far.

    Attributes:
        rows: Rows that were read, at fault or not.
        counts: Rows at fault by reason.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.counts: Counter[str] = Counter()
        self._first: list[str] = []

    @property
    def total(self) -> int:
        """Rows at fault."""
        return self.counts.total()

    def add(self, error: DataError, reason: str = "schema") -> None:
        """Note a row at fault.

        Args:
            error: What is wrong with it.
            reason: One word for it, where the error has none.
        """
        self.counts[error.fault or reason] += 1
        if len(self._first) < _LISTED:
            text = str(error)
            cut = f"{text[: _LINE_CHARACTERS - 3]}..."
            self._first.append(text if len(text) <= _LINE_CHARACTERS else cut)

    def check(self, max_fraction: float) -> None:
        """Hold the rows at fault to a budget.

        Args:
            max_fraction: Share of all rows that may be at fault; 0 allows none.

        Raises:
            DataError: There are more, or no other row is left; with the first 20.
        """
        allowed = allowed_faults(max_fraction, self.rows)
        if not self.total or (self.total <= allowed and self.total < self.rows):
            return
        counts = ", ".join(f"{number} {reason}" for reason, number in self.counts.most_common())
        lines = "\n".join(f"  {line}" for line in first_few(self._first, total=self.total))
        raise DataError(
            f"{self.total} of {self.rows} rows are invalid, and maxInvalidFraction"
            f" {max_fraction:g} allows {allowed} ({counts}); mend them, or raise it to leave them"
            f" out:\n{lines}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"rows": self.rows, "invalid": dict(self.counts)}
