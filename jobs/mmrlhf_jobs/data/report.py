"""What the validation of a source found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from mmrlhf_jobs.data.budgets import allowed_faults, short_line, tell_faults
from mmrlhf_jobs.errors import DataError

__all__ = ["KINDS", "LISTED_PROBLEMS", "ProblemKind", "RowProblem", "ValidationReport"]

LISTED_PROBLEMS: Final = 1000
"""A report lists this many problems; it counts all."""


ProblemKind: TypeAlias = Literal[
    "schema",
    "unranked",
    "media",
    "duplicate",
    "undecodable",
    "too-long",
    "markup",
    "no-critique",
    "no-score",
    "unusable",
]
"""No record; no pair to form; a media file is missing; the id was used before; and what shows only
when rows are made ready for a model: media that cannot be decoded or are not those of the record, a
sequence that is too long, a text that holds marks of the model, a critique or a score that is
missing, and anything else."""

KINDS: Final[Mapping[str, ProblemKind]] = {kind: kind for kind in get_args(ProblemKind)}


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
        place = DataError(self.reason, file=self.file, row=self.row, field=self.field)
        return short_line(str(place))


@dataclass(frozen=True)
class ValidationReport:
    """Counts and problems of a source.

    Attributes:
        uri: The source.
        digest: Content digest of its files.
        rows: Rows, without blank lines.
        invalid: Number of invalid rows by kind, those found later included.
        categories: Number of valid records by category.
        responses: Responses of all valid records.
        pairs: Pairs that they form when all are formed.
        largest_block_bytes: The largest unit that is read at a time.
        problems: The first invalid rows.
        hidden_files: Files that were left out since their names begin with a dot.
        tied: Rows whose responses all have the same rank. They are no fault and form no pair: they
            are left out, and counted apart, so that no budget made for them hides broken rows.
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
    tied: int = 0

    @property
    def num_invalid(self) -> int:
        """Number of invalid rows."""
        return sum(self.invalid.values())

    @property
    def num_records(self) -> int:
        """Number of valid rows."""
        return self.rows - self.num_invalid - self.tied

    def check(self, max_invalid_fraction: float) -> None:
        """Hold the source to a budget of invalid rows.

        Args:
            max_invalid_fraction: In [0, 1]; 0 allows none.

        Raises:
            DataError: There are more, or no valid row is left. The message shows the first 20.
        """
        if self.rows == 0:
            raise DataError("the data set is empty", file=self.uri)
        judged = self.rows - self.tied
        allowed = allowed_faults(max_invalid_fraction, judged)
        if self.num_records and self.num_invalid <= allowed:
            return
        if judged == 0:
            raise DataError(
                f"all of its {self.rows} rows are ties: their responses have the same rank, so"
                " there is no pair to learn from; add a constructed positive for equally poor"
                " ones or a constructed negative for equally good ones (paper 2.3.1)",
                file=self.uri,
            )
        raise DataError(
            tell_faults(
                self.invalid.items(),
                self.problems,
                rows=judged,
                max_fraction=max_invalid_fraction,
                more=self._ties(),
            ),
            file=self.uri,
        )

    def with_more(self, invalid: Mapping[str, int], problems: Sequence[RowProblem]) -> Self:
        """The report with rows that were found to be invalid later.

        Args:
            invalid: Their number by kind.
            problems: The first of them.
        """
        counts = Counter(self.invalid)
        counts.update({KINDS.get(kind, "unusable"): number for kind, number in invalid.items()})
        listed = tuple(sorted([*self.problems, *problems])[:LISTED_PROBLEMS])
        return replace(self, invalid=dict(counts), problems=listed)

    def sentence(self) -> str | None:
        """What is left out, in words; None if nothing is."""
        told = []
        if self.num_invalid:
            counts = ", ".join(f"{number} {kind}" for kind, number in self.invalid.items())
            told.append(
                f"{self.num_invalid} of {self.rows} rows of {self.uri} are invalid and left out"
                f" ({counts}); the manifest lists them"
            )
        if self.tied:
            told.append(
                f"{self.tied} of {self.rows} rows of {self.uri} are ties, which form no pair, and"
                " are left out"
            )
        if self.hidden_files:
            told.append(f"{self.hidden_files} hidden files of {self.uri} are left out")
        return "; ".join(told) or None

    def _ties(self) -> str:
        return f"; {self.tied} more are ties, which no budget holds" if self.tied else ""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for a manifest."""
        return asdict(self)
