"""Rows at fault, whichever stage finds them: counted by reason, told together, held to a budget."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_jobs.data.budgets import allowed_faults, short_line, tell_faults
from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.errors import DataError

__all__ = ["FaultReason", "RowFault", "RowFaults", "repeated_id", "repeated_record"]

FaultReason: TypeAlias = Literal[
    "unreadable-row",
    "field",
    "media",
    "placeholders",
    "same-texts",
    "contradiction",
    "open-ranks",
    "too-many-responses",
    "unsupported",
    "repeated-id",
    "record",
    "constructed",
    "no-score",
    "unknown-task",
    "other-texts",
]
"""Why rows are left out on the way between formats and tools: they are no rows; a field is missing
or wrong; a media file is; marks for media do not fit the media; chosen and rejected are one text;
pairs contradict each other; pairs leave ranks open; a question has too many responses; they hold
what the other side cannot, such as tools and sound; an id is there twice; the record would be
invalid for another reason; an annotator wrote one of the responses; a side-car lacks a score; a
tool gives back a task that is not in the key, or shows other texts than were exported. What is
wrong with rows for a model is in ``report.ProblemKind``."""

_LISTED: Final = 20


class RowFault(DataError):  # noqa: N818 - counted, and told with others
    """A row that cannot be used.

    Args:
        message: What is wrong and what to do.
        kind: One word for it, for counts.
        file: URI of its file.
        row: 1-based row.
        field: Path of the field.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: FaultReason = "field",
        file: str | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message, file=file, row=row, field=field, fault=kind)


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
        self._where: DataError | None = None

    @property
    def total(self) -> int:
        """Rows at fault."""
        return self.counts.total()

    def add(self, error: DataError, reason: str = "schema", *, rows: int = 1) -> None:
        """Note rows at fault.

        Args:
            error: What is wrong with them.
            reason: One word for it, where the error has none.
            rows: How many there are, where one fault is that of several.
        """
        self.counts[error.fault or reason] += rows
        self._where = self._where or error
        if len(self._first) < _LISTED:
            self._first.append(short_line(str(error)))

    def check(self, max_fraction: float, *, told: str = "rows are invalid", hint: str = "") -> None:
        """Hold the rows at fault to a budget.

        Args:
            max_fraction: Share of all rows that may be at fault; 0 allows none.
            told: What they are and what is wrong with them, in words.
            hint: What else to say when no row can be used.

        Raises:
            DataError: There are more, or no other row is left; with the first 20, and the place of
                a single one. Or there are no rows at all.
        """
        if not self.rows:
            raise DataError("there are no rows to read; check the address of the source")
        allowed = allowed_faults(max_fraction, self.rows)
        if self.total <= allowed and self.total < self.rows:
            return
        faults = tell_faults(
            self.counts.items(), self._first, rows=self.rows, max_fraction=max_fraction, told=told
        )
        told_all = DataError(faults + (hint if self.total == self.rows else ""))
        if self.total == 1 and self._where is not None:
            # The message has the place; for programs it is there as well.
            only = self._where
            told_all.file, told_all.row, told_all.field = only.file, only.row, only.field
        raise told_all

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"rows": self.rows, "invalid": dict(self.counts)}


def repeated_record(place: RowLocation, first: RowLocation) -> RowFault:
    """The fault of a record whose id another one has, which was read before."""
    return RowFault(
        repeated_id(first.file, first.row),
        kind="repeated-id",
        file=place.file,
        row=place.row,
        field="record_id",
    )


def repeated_id(file: str | None, row: int | None) -> str:
    """What is wrong with a row whose id another one has, which was read before."""
    return f"the same id as in {file}, row {row}; ids must be unique"
