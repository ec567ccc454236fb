"""Pairs to judge: the responses of two models to one query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.data.row_faults import RowFaults, repeated_record
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.gate.judging import Said
from mmrlhf_jobs.evaluation.responses import GivenResponses

__all__ = ["NO_RESPONSE", "Pair", "PairVerdict", "read_pairs"]

NO_RESPONSE = "noResponse"
"""Why a pair has no verdict of which a response is missing."""


@dataclass(frozen=True)
class Pair:
    """The responses of two models to one query.

    Attributes:
        query: The query.
        candidate: The candidate's response; None where it gave none.
        champion: The champion's.
    """

    query: QueryRecord
    candidate: str | None
    champion: str | None

    @property
    def location(self) -> RowLocation:
        """Where the query was read from."""
        return self.query.location

    @property
    def name(self) -> str:
        """Id of the query."""
        return self.query.record_id

    @property
    def is_whole(self) -> bool:
        """Whether both responses are there."""
        return self.candidate is not None and self.champion is not None

    @property
    def is_same(self) -> bool:
        """Whether both say the same, which is a tie whoever judges."""
        return self.is_whole and (self.candidate or "").strip() == (self.champion or "").strip()


@dataclass(frozen=True)
class PairVerdict:
    """What was said of one pair.

    Attributes:
        said: By whether the candidate stood first; None where places do not count.
        reasons: Why there is no verdict, once for each that is missing.
        scores: Scores of candidate and champion, where a reward model has judged.
    """

    said: dict[bool | None, Said]
    reasons: tuple[str, ...] = ()
    scores: tuple[float, float] | None = None

    @classmethod
    def of(cls, word: Said, *, placed: bool, reason: str = "") -> PairVerdict:
        """The same in every place."""
        places: tuple[bool | None, ...] = (True, False) if placed else (None,)
        return cls(dict.fromkeys(places, word), (reason,) * bool(reason))

    @classmethod
    def given(cls, pair: Pair, *, placed: bool) -> PairVerdict | None:
        """The verdict that needs no judge; None if there is none."""
        if not pair.is_whole:
            return cls.of(Said.ERROR, placed=placed, reason=NO_RESPONSE)
        return cls.of(Said.TIE, placed=placed) if pair.is_same else None


def read_pairs(
    source: Source,
    candidate: GivenResponses,
    champion: GivenResponses,
    faults: RowFaults,
    *,
    check: Callable[[QueryRecord], Any] = lambda query: None,  # noqa: ARG005
) -> list[Pair]:
    """Bring the responses of two models together, by the queries of a source.

    Args:
        source: The queries.
        candidate: Responses of the candidate.
        champion: Responses of the champion.
        faults: Takes rows that are no queries of these responses.
        check: Raises a `DataError` for a query that cannot be shown to the judge.
    """
    pairs: list[Pair] = []
    first: dict[str, RowLocation] = {}
    for query in stream_queries(source, faults):
        place = query.location
        before = first.setdefault(query.record_id, place)
        try:
            if before is not place:
                raise repeated_record(place, before)
            check(query)
            pairs.append(Pair(query, candidate.find(query), champion.find(query)))
        except DataError as error:
            faults.add(error)
    return pairs
