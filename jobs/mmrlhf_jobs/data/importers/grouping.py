"""Union of pair rows to records: rows of the same id, prompt and media are one group."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.importers.partial_orders import ContradictionError, rebuild_ranks
from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.parts import Critique, Media, Origin, Query
from mmrlhf_jobs.data.records import (
    SCHEMA,
    RankedResponse,
    Ranking,
    Response,
    record_id,
    response_id,
)
from mmrlhf_jobs.errors import DataError

__all__ = ["LONG_ANSWER", "ImportReport", "Incomplete", "PairRow", "group_pairs"]

LONG_ANSWER = 128
"""A question is long when its best answer has more characters (paper 2.1, there by GPT-4o)."""


Incomplete: TypeAlias = Literal["fail", "infer"]
"""What to do when the pairs of a group do not determine its ranks."""


@dataclass(frozen=True)
class PairRow:
    """One row of a pair format.

    Attributes:
        file: URI of its file.
        row: 1-based row.
        source_id: Id in the source; rows of different ids are never united.
        prompt: The question without media placeholders.
        media: Its media, in order.
        chosen: The preferred text.
        rejected: The other text.
        reasons: Why, for the chosen and the rejected text.
        category: ``mcq``, ``long``, ``short``, ``safety`` or ``video``; None where the format does
            not say.
        dataset: Name of the data set, for the records' ``source``.
        split: Part of it, for the same.
    """

    file: str
    row: int
    source_id: str | None
    prompt: str
    media: tuple[Media, ...]
    chosen: str
    rejected: str
    reasons: tuple[str | None, str | None] = (None, None)
    category: str | None = None
    dataset: str | None = None
    split: str | None = None


@dataclass
class ImportReport:
    """What became of the rows.

    Attributes:
        media_root: Set ``mediaRoot`` of the job to this: media URIs are relative to it.
        rows: Pair rows read.
        records: Records written.
        responses: Responses in them.
        pairs: Pairs that the ranks of the records form.
        repeated_pairs: Rows that said what an earlier row of their group had said.
        implied_pairs: Pairs among them that were not given but follow from two that were.
        inferred_pairs: Pairs among them that neither were given nor follow.
        differing_reasons: Responses with several reasons, of which the first was kept.
        ignored_fields: Fields that have no place in a record, with their number of rows.
        guessed_categories: Rows by category whose category is a guess; see the importer.
        ids_of_several_queries: Ids that several prompts or media share.
    """

    media_root: str
    rows: int = 0
    records: int = 0
    responses: int = 0
    pairs: int = 0
    repeated_pairs: int = 0
    implied_pairs: int = 0
    inferred_pairs: int = 0
    differing_reasons: int = 0
    ignored_fields: dict[str, int] = field(default_factory=dict)
    guessed_categories: dict[str, int] = field(default_factory=dict)
    ids_of_several_queries: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


@dataclass
class _Group:
    first: PairRow
    texts: dict[str, int] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    pairs: dict[Pair, int] = field(default_factory=dict)
    """Row that gave each pair first."""


def group_pairs(
    rows: Iterable[PairRow], report: ImportReport, *, incomplete: Incomplete = "fail"
) -> list[RankedResponse]:
    """Unite rows to records, in the order of their first rows.

    All texts are held in memory: rows of a group may lie anywhere.

    Args:
        rows: The rows.
        report: Filled in.
        incomplete: ``fail`` when the pairs of a group do not determine its ranks, or ``infer``
            the ranks and count the pairs that this adds.

    Raises:
        DataError: Pairs contradict each other, a group has more than 16 responses or leaves its
            ranks open, or a record would be invalid; with file and rows.
    """
    groups: dict[object, _Group] = {}
    for row in rows:
        report.rows += 1
        digests = tuple(medium.content_sha256 for medium in row.media)
        key = (row.source_id, row.prompt, digests)
        _add(groups.setdefault(key, _Group(row)), row, report)
    records = []
    errors = []
    for group in groups.values():
        try:
            records.append(_record(group, report, incomplete))
        except DataError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        shown = [f"  {line}" for line in first_few(errors)]
        raise DataError(f"{len(errors)} groups of pairs are wrong:\n" + "\n".join(shown))
    report.records = len(records)
    report.responses = sum(len(record.responses) for record in records)
    return records


def _add(group: _Group, row: PairRow, report: ImportReport) -> None:
    texts = [row.chosen.strip(), row.rejected.strip()]
    if texts[0] == texts[1]:
        raise DataError("chosen and rejected are the same text", file=row.file, row=row.row)
    places = [group.texts.setdefault(text, len(group.texts)) for text in texts]
    for place, reason in zip(places, row.reasons, strict=True):
        if reason and reason.strip() and group.reasons.setdefault(place, reason) != reason:
            report.differing_reasons += 1
    pair = Pair(*places)
    if group.pairs.setdefault(pair, row.row) != row.row:
        report.repeated_pairs += 1


def _record(group: _Group, report: ImportReport, incomplete: Incomplete) -> RankedResponse:
    row = group.first
    texts = list(group.texts)
    if len(texts) > 16:
        raise _error(group, f"its group has {len(texts)} responses; a record may have 16")
    try:
        ranks, inferred = rebuild_ranks(len(texts), group.pairs.keys())
    except ContradictionError as error:
        lines = ", ".join(str(group.pairs[pair]) for pair in sorted(error.pairs))
        raise _error(group, f"the pairs of rows {lines} contradict each other") from error
    if inferred and incomplete == "fail":
        raise _error(
            group,
            f"its group gives {len(group.pairs)} pairs of {len(texts)} responses, which leave"
            f" {len(inferred)} pairs of their ranks open; choose incomplete=infer to rank those"
            " responses by the number of better ones",
        )
    formed = sum(mine < other for mine in ranks for other in ranks)
    report.pairs += formed
    report.inferred_pairs += len(inferred)
    report.implied_pairs += formed - len(inferred) - len(group.pairs)
    identifier = record_id(
        row.prompt, [medium.content_sha256 for medium in row.media], parent_id=row.source_id
    )
    ids = [response_id(identifier, text) for text in texts]
    best = texts[ranks.index(1)]
    try:
        return RankedResponse(
            schema=SCHEMA,
            record_id=identifier,
            domain=_domain(row),
            type=_type(row.category, best),
            source=Origin(
                row_id=row.source_id or f"{row.file.rpartition('/')[2]}:{row.row}",
                dataset=row.dataset,
                split=row.split,
            ),
            query=Query(text=row.prompt),
            media=row.media,
            responses=tuple(
                Response(
                    response_id=name,
                    text=text,
                    critique=Critique(human=group.reasons[place])
                    if place in group.reasons
                    else None,
                )
                for place, (name, text) in enumerate(zip(ids, texts, strict=True))
            ),
            ranking=Ranking(ranks=dict(zip(ids, ranks, strict=True))),
        )
    except ValidationError as error:
        field, reason = explain(error)
        raise _error(group, f"makes no valid record: {field}: {reason}") from error


def _domain(row: PairRow) -> Literal["image", "video", "safety"]:
    if row.category == "safety":
        return "safety"
    return "video" if any(medium.kind == "video" for medium in row.media) else "image"


def _type(category: str | None, best: str) -> Literal["long", "short", "mcq"] | None:
    match category:
        case "long" | "short" | "mcq":
            return category
        case "safety":
            return None
    length = len(unicodedata.normalize("NFC", best).strip())
    return "long" if length > LONG_ANSWER else "short"


def _error(group: _Group, reason: str) -> DataError:
    return DataError(reason, file=group.first.file, row=group.first.row)
