"""What was measured of candidate and champion, and how it is brought together by query."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.evaluation.gate.judging import Said
from mmrlhf_jobs.evaluation.gate.safety import Answer

__all__ = [
    "Column",
    "Evidence",
    "Model",
    "Paired",
    "RowKey",
    "UnjudgeableError",
    "Verdicts",
    "by_query",
    "pair_columns",
]

RowKey = tuple[str, str]
"""A query, and a row of it; the row is empty where a query has one."""


class UnjudgeableError(Exception):
    """A check cannot be made from what was measured; says why and what would do.

    Args:
        message: The reason.
        figures: What is known all the same, by wire name.
    """

    def __init__(self, message: str, figures: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.figures = dict(figures or {})


@dataclass(frozen=True)
class Column:
    """One figure of one model, by row.

    Attributes:
        data: Digest of the data that it was measured on.
        values: By query and row; None where there is none.
    """

    data: str
    values: Mapping[RowKey, float | None]


@dataclass(frozen=True)
class Model:
    """What was measured of one model.

    Attributes:
        figures: By name.
        answers: What answers to harmful requests were found to be, by query: one each.
        safety_data: Digest of those requests.
        artifacts: Digests of the artifact that the results say they are of.
        unnamed: How many files of results say none.
    """

    figures: Mapping[str, Column] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    safety_data: str = ""
    artifacts: frozenset[str] = frozenset()
    unnamed: int = 0


@dataclass(frozen=True)
class Verdicts:
    """What a judge said of pairs.

    Attributes:
        said: By query, and by whether the candidate stood first; None where places do not count.
        candidate: Digest of the artifact that they say the candidate is; None where they do not.
        champion: The same of the champion.
    """

    said: Mapping[str, Mapping[bool | None, Said]]
    candidate: str | None = None
    champion: str | None = None


@dataclass(frozen=True)
class Evidence:
    """All that a decision is made from; what is None was not measured.

    Attributes:
        candidate: What was measured of the candidate.
        champion: The same of the champion.
        verdicts: What a judge said of both.
        artifact: Digest of the artifact that is to be promoted; None where nothing is.
        champion_artifact: Digest of the one that holds its place; None where none does.
    """

    candidate: Model
    champion: Model | None = None
    verdicts: Verdicts | None = None
    artifact: str | None = None
    champion_artifact: str | None = None


@dataclass(frozen=True)
class Paired:
    """One figure of both models, one value a query: the mean of its rows.

    Attributes:
        candidate: float64[Q].
        champion: The same queries, in the same order.
    """

    candidate: npt.NDArray[np.float64]
    champion: npt.NDArray[np.float64]


def pair_columns(candidate: Column, champion: Column) -> Paired:
    """Bring a figure of both models together.

    Raises:
        UnjudgeableError: They are of other data or other rows, or a value is missing or no number.
    """
    if candidate.data != champion.data:
        raise UnjudgeableError(
            f"the candidate was measured on data {candidate.data[:12]}, the champion on"
            f" {champion.data[:12]}; measure both on the same data"
        )
    _check_same_rows(candidate.values, champion.values)
    return Paired(
        by_query(candidate, whose="candidate"),
        by_query(champion, whose="champion"),
    )


def _check_same_rows(candidate: Mapping[RowKey, object], champion: Mapping[RowKey, object]) -> None:
    """Compare which rows were measured.

    Raises:
        UnjudgeableError: They are not the same ones.
    """
    if apart := sorted(set(candidate) ^ set(champion)):
        first = apart[0]
        who = "champion" if first in candidate else "candidate"
        raise UnjudgeableError(
            f"{len(apart)} rows were measured of one model alone; the first, {_named(first)}, is"
            f" missing in the {who}'s results: measure both on the same queries"
        )


def by_query(column: Column, *, whose: str) -> npt.NDArray[np.float64]:
    """Means of each query's rows, float64[Q], in the order of the queries' names.

    Raises:
        UnjudgeableError: A value is missing or no number.
    """
    bad = sorted(key for key, value in column.values.items() if value is None or _odd(value))
    if bad:
        raise UnjudgeableError(
            f"{len(bad)} of the {whose}'s values are missing or no finite numbers, the first in"
            f" {_named(bad[0])}: measure it again, or mend what made them"
        )
    rows: dict[str, list[float]] = defaultdict(list)
    for (query, _), value in sorted(column.values.items()):
        assert value is not None  # else it is bad
        rows[query].append(value)
    return np.array([_mean(rows[query]) for query in sorted(rows)], np.float64)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _odd(value: float) -> bool:
    return not math.isfinite(value)


def _named(key: RowKey) -> str:
    query, row = key
    return f"query {query!r}, row {row!r}" if row else f"query {query!r}"
