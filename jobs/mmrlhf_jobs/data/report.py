"""What the validation of a source found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.errors import DataError

__all__ = ["LISTED_PROBLEMS", "ProblemKind", "RowProblem", "ValidationReport"]

LISTED_PROBLEMS: Final = 1000
"""A report lists this many problems; it counts all."""


ProblemKind: TypeAlias = Literal["schema", "unranked", "media", "duplicate"]
"""No record; no pair to form; a media file is missing; the id was used before."""


@dataclass(frozen=True, order=True)
class RowProblem:
    """An invalid row.

    Attributes:
        ordinal: 0-based number of the row over all files, blank lines included.
        kind: What it fails.
        file: URI of its file.
        row: 1-based line or row in that file.
        field: Path of the field, or None for the row as a whole.
        reason: What is wrong and what to do.
    """

    ordinal: int
    kind: ProblemKind
    file: str
    row: int
    field: str | None
    reason: str

    def __str__(self) -> str:
        return str(DataError(self.reason, file=self.file, row=self.row, field=self.field))


@dataclass(frozen=True)
class ValidationReport:
    """Counts and problems of a source.

    Attributes:
        uri: The source.
        digest: Content digest of its files.
        rows: Rows, without blank lines.
        invalid: Number of invalid rows by kind.
        categories: Number of valid records by category.
        responses: Responses of all valid records.
        pairs: Pairs that they form when all are formed.
        largest_block_bytes: The largest unit that is read at a time.
        problems: The first invalid rows.
        hidden_files: Files that were left out since their names begin with a dot.
    """

    uri: str
    digest: str
    rows: int
    invalid: dict[ProblemKind, int]
    categories: dict[str, int]
    responses: int
    pairs: int
    largest_block_bytes: int
    problems: tuple[RowProblem, ...]
    hidden_files: int = 0

    @property
    def num_invalid(self) -> int:
        """Number of invalid rows."""
        return sum(self.invalid.values())

    @property
    def num_records(self) -> int:
        """Number of valid rows."""
        return self.rows - self.num_invalid

    def check(self, max_invalid_fraction: float) -> None:
        """Hold the source to a budget of invalid rows.

        Args:
            max_invalid_fraction: In [0, 1]; 0 allows none.

        Raises:
            DataError: There are more, or no valid row is left. The message shows the first 20.
        """
        if self.rows == 0:
            raise DataError("the data set is empty", file=self.uri)
        # 0.29 * 100 is a little less than 29.
        allowed = int(max_invalid_fraction * self.rows + 1e-6)
        if self.num_records and self.num_invalid <= allowed:
            return
        shown = [f"  {line}" for line in first_few(self.problems, total=self.num_invalid)]
        raise DataError(
            f"{self.num_invalid} of {self.rows} rows are invalid, and maxInvalidFraction"
            f" {max_invalid_fraction:g} allows {allowed}; mend them, or raise it to leave them"
            " out:\n" + "\n".join(shown),
            file=self.uri,
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for a manifest."""
        return asdict(self)
