"""Rows that do not become candidates, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pyarrow as pa

__all__ = [
    "BY_NATURE",
    "DROPS_SCHEMA",
    "DROP_COUNT",
    "Drop",
    "RowReason",
    "count_drops",
    "count_rows",
]

RowReason: TypeAlias = Literal[
    "not-utf8",
    "invalid-json",
    "invalid-row",
    "invalid-media",
    "empty-question",
    "empty-answer",
    "answer-without-question",
    "no-generated-answer",
    "no-media",
    "trailing-turn",
    "needs-context",
    "hidden-member",
    "scattered-sample",
    "unread-media",
    "unread-answer",
    "surplus-marks",
]

BY_NATURE: Final = frozenset(
    {"no-media", "trailing-turn", "needs-context", "duplicate", "hidden-member"}
)
"""Reasons that are no fault of a row: it is no question about a picture, none that stands alone, is
there twice, or is what macOS adds to an archive. They are counted, but held against
``failures.perReason`` alone, not against ``failures.maxFraction``."""

DROP_COUNT: Final = "drop:"
"""What the names of counts of rows that were left out begin with; the reason follows."""

DROPS_SCHEMA: Final = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("turn", pa.int32()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Drop:
    """One row, or one turn of it, that is left out.

    Attributes:
        source: Name of the corpus.
        file: URI of the file.
        row: 1-based row, line, array item or sample in the file.
        reason: One word of a closed set.
        message: For people.
        turn: 0-based question of the conversation; None: the whole row.
    """

    source: str
    file: str
    row: int
    reason: str
    message: str
    turn: int | None = None


def count_drops(counts: Mapping[str, int]) -> int:
    """Rows that were left out, by the counts of a stage."""
    return sum(number for name, number in counts.items() if name.startswith(DROP_COUNT))


def count_rows(counts: Mapping[str, int]) -> int:
    """Rows that were read, left out or not, by the counts of the read stage."""
    return counts.get("rows", 0) + count_drops(counts)
