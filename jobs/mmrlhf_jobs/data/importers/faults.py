"""What cannot be imported: rows at fault, counted by reason, held to a budget together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.budgets import allowed_faults
from mmrlhf_jobs.errors import DataError

__all__ = ["FaultReason", "Faults", "RowFault"]

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
]
"""Why rows are left out: they are no rows; a field is missing or wrong; a media file is; marks for
media do not fit the media; chosen and rejected are one text; pairs contradict each other; pairs
leave ranks open; a question has too many responses; they hold what records cannot, such as tools
and sound; an id is there twice; the record would be invalid for another reason."""

_LISTED: Final = 20
_MOST_CHARACTERS: Final = 300


class RowFault(DataError):  # noqa: N818 - counted, and told with others
    """A row that cannot be imported.

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
        self.kind = kind


class Faults:
    """Rows at fault so far."""

    def __init__(self) -> None:
        self.counts: Counter[FaultReason] = Counter()
        self._first: list[DataError] = []

    @property
    def total(self) -> int:
        """Rows."""
        return self.counts.total()

    def add(self, error: DataError, rows: int = 1) -> None:
        """Count rows at fault; the first ones are kept for the message."""
        kind: FaultReason = error.kind if isinstance(error, RowFault) else "record"
        self.counts[kind] += rows
        if len(self._first) < _LISTED:
            self._first.append(error)

    def check(
        self,
        rows: int,
        max_fraction: float,
        *,
        hint: str = "",
        what: str = "rows",
        done: str = "imported",
    ) -> None:
        """Hold the rows at fault to a budget.

        Args:
            rows: All rows.
            max_fraction: Share of them that may be at fault.
            hint: What else to say when all rows are.
            what: What they are called.
            done: What cannot be done with them.

        Raises:
            DataError: There are more, or all are; names the first of them and counts all by reason.
        """
        allowed = allowed_faults(max_fraction, rows)
        if self.total <= allowed and (self.total < rows or rows == 0):
            return
        if self.total == 1 and len(self._first) == 1 and not hint:
            raise self._first[0]
        counts = ", ".join(f"{number} {word}" for word, number in self.counts.most_common())
        lines = "\n".join(f"  {line}" for line in first_few(_short(self._first), total=self.total))
        raise DataError(
            f"{self.total} of {rows} {what} cannot be {done} ({counts}), and"
            f" --max-invalid-fraction {max_fraction:g} allows {allowed}; mend them, or raise it to"
            f" leave them out:\n{lines}{hint}"
        )


def _short(errors: Sequence[DataError]) -> list[str]:
    texts = [str(error) for error in errors]
    return [
        text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
        for text in texts
    ]
