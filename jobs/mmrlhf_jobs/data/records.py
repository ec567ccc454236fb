"""``RankedResponse``: a query about media with its ranked responses.

The unit of preference data is the group, not the pair (paper 4.1): every pair of responses with
differing ranks follows from the ranks. One record is one JSON line, or one row of the Parquet
twin. A record needs ``schema, record_id, domain, type, query.text, media, responses`` and
``ranking.ranks``; everything else is optional and checked when given.

The smallest record::

    {"schema": "mmrlhf.io/ranked-response/v1", "record_id": "r1", "domain": "image",
     "type": "short", "query": {"text": "Which digit is it?"},
     "media": [{"uri": "images/7.png", "sha256": "<64 hexadecimal digits>"}],
     "responses": [{"response_id": "a", "text": "Seven."}, {"response_id": "b", "text": "One."}],
     "ranking": {"ranks": {"a": 1, "b": 2}}}

Version 2 is for what version 1 cannot say: a system text (``query.system``), earlier turns
(``query.turns``), media between words (``media[].place``), and no media at all (``domain`` is
``text``, or ``safety``). Both are read everywhere; what version 1 can hold is written as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr, model_validator

from mmrlhf_jobs.data.conversation import Asked, asked_of, check_places
from mmrlhf_jobs.data.identity import record_id, response_id
from mmrlhf_jobs.data.parts import (
    Annotation,
    Frame,
    Items,
    Media,
    Origin,
    Part,
    Provenance,
    Query,
    Resolution,
    Selection,
    violated,
)
from mmrlhf_jobs.data.responses import Duplicate, Id, Response, check_media, check_responses
from mmrlhf_jobs.data.versions import check_version, needs_version_2

__all__ = [
    "SCHEMA",
    "SCHEMA_2",
    "Category",
    "Duplicate",
    "Frame",
    "Media",
    "Query",
    "RankedResponse",
    "Ranking",
    "Response",
    "RowLocation",
    "record_id",
    "response_id",
    "schema_for",
]

SCHEMA: Final = "mmrlhf.io/ranked-response/v1"
"""Value of a record's ``schema`` field."""

SCHEMA_2: Final = "mmrlhf.io/ranked-response/v2"
"""The same of a record that asks more than one question about media."""

Category: TypeAlias = Literal["mcq", "long", "short", "safety", "video"]
"""The five categories that reports are broken down by (paper Table 4)."""

Schema: TypeAlias = Literal["mmrlhf.io/ranked-response/v1", "mmrlhf.io/ranked-response/v2"]


def schema_for(domain: str, query: Query, media: Sequence[Media]) -> Schema:
    """The oldest schema that holds a record of this."""
    return SCHEMA_2 if needs_version_2(domain, query, media) else SCHEMA


@dataclass(frozen=True)
class RowLocation:
    """Where a record was read from, for messages.

    It says nothing about the record itself: all locations are equal, so that the same record
    read from two files compares equal.
    """

    file: str | None = field(default=None, compare=False)
    row: int | None = field(default=None, compare=False)
    """1-based line of a JSONL file or row of a Parquet file."""


class Ranking(Part):
    """Resolved preference over the responses."""

    ranks: dict[str, Annotated[int, Field(ge=1, le=16)]]
    """Competition ranks ("1224") by response id: 1 is best, equal ranks are ties."""
    reason: str | None = None


class RankedResponse(Part):
    """A query with its media and its ranked responses; see the module for the smallest one."""

    schema_id: Schema = Field(alias="schema")
    record_id: Id
    domain: Literal["image", "video", "safety", "text"]
    type: Literal["long", "short", "mcq"] | None
    source: Origin | None = None
    query: Query
    media: Items[Media]
    selection: Selection | None = None
    responses: Annotated[Items[Response], Field(min_length=2, max_length=16)]
    ranking: Ranking
    tie: Literal["none", "poor", "good", "mixed"] | None = None
    question_flag: Literal["ok", "confusing", "incomplete", "unanswerable"] = "ok"
    annotations: Items[Annotation] = ()
    resolution: Resolution | None = None
    provenance: Provenance | None = None

    _location: RowLocation = PrivateAttr(default_factory=RowLocation)

    @property
    def asked(self) -> Asked:
        """What its responses answer."""
        return asked_of(self.query, self.media)

    @property
    def category(self) -> Category:
        """The category for reports: video and safety by domain, images by type."""
        if self.domain == "video":
            return "video"
        if self.domain == "safety" or self.type is None:
            return "safety"
        return self.type

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of :attr:`responses`, in their order."""
        return tuple(self.ranking.ranks[response.response_id] for response in self.responses)

    @property
    def media_sha256s(self) -> tuple[str, ...]:
        """Digest of each medium's content, in order."""
        return tuple(medium.content_sha256 for medium in self.media)

    @property
    def obstacle(self) -> str | None:
        """Why no preference pair can be formed, or None if at least one can."""
        if len(set(self.ranks)) == 1:
            return (
                "all responses have the same rank, so there is no pair to learn from; add a"
                " constructed positive for equally poor ones or a constructed negative for"
                " equally good ones (paper 2.3.1)"
            )
        if self.question_flag != "ok" and not self._has("constructed_positive"):
            return (
                f"the question is flagged {self.question_flag} and no constructed positive"
                " response shows what is right"
            )
        return None

    @property
    def location(self) -> RowLocation:
        """Where the record was read from; empty for one made in Python."""
        return self._location

    def at(self, file: str, row: int) -> RankedResponse:
        """The same record, read from this row of this file."""
        copy = self.model_copy()
        copy._location = RowLocation(file, row)  # noqa: SLF001 - its own class
        return copy

    def _has(self, origin: str) -> bool:
        return any(response.origin == origin for response in self.responses)

    @model_validator(mode="after")
    def _fits_its_version_and_domain(self) -> RankedResponse:
        check_version(self.schema_id, SCHEMA, self.domain, self.query, self.media)
        check_media(self.domain, self.type, self.media)
        check_places(self.query, self.media)
        return self

    @model_validator(mode="after")
    def _responses_are_distinct(self) -> RankedResponse:
        check_responses(self.responses)
        return self

    @model_validator(mode="after")
    def _ranks_are_competition_ranks(self) -> RankedResponse:
        ranks = self.ranking.ranks
        expected = [response.response_id for response in self.responses]
        missing = [repr(name) for name in expected if name not in ranks]
        unknown = [repr(name) for name in ranks if name not in expected]
        if missing:
            raise violated("ranking.ranks", f"no rank for response {', '.join(missing)}")
        if unknown:
            raise violated("ranking.ranks", f"ranks {', '.join(unknown)}, which is no response")
        counts = Counter(ranks.values())
        for name, rank in ranks.items():
            better = sum(count for other, count in counts.items() if other < rank)
            if rank != better + 1:
                raise violated(
                    f"ranking.ranks.{name}",
                    f"rank {rank}, but {better} responses are ranked better, so it must be"
                    f" {better + 1} (competition ranks: 1, 2, 2, 4)",
                )
        return self

    @model_validator(mode="after")
    def _tie_is_what_the_ranks_say(self) -> RankedResponse:
        if self.tie is None:
            return self
        if (self.tie == "none") != (len(set(self.ranks)) == len(self.ranks)):
            raise violated("tie", f"{self.tie!r} contradicts the ranks {list(self.ranks)}")
        for tie, origin, rank, where in (
            ("poor", "constructed_positive", 1, "first"),
            ("good", "constructed_negative", max(self.ranks), "last"),
        ):
            at_rank = [
                response.origin
                for response, got in zip(self.responses, self.ranks, strict=True)
                if got == rank
            ]
            if self.tie == tie and at_rank != [origin]:
                raise violated("tie", f"{tie!r} needs a response of origin {origin} alone {where}")
        return self
