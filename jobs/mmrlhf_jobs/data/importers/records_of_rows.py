"""From judged rows to records: what a pair group and a ranking have in common."""

from __future__ import annotations

import unicodedata
from typing import Literal

from pydantic import ValidationError

from mmrlhf_jobs.data.conversation import as_json, asked_of
from mmrlhf_jobs.data.importers.judged_rows import PairRow, RankedRow, RankedText
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.parts import Critique, ModelOrigin, Origin, Query
from mmrlhf_jobs.data.records import (
    RankedResponse,
    Ranking,
    Response,
    record_id,
    response_id,
    schema_for,
)
from mmrlhf_jobs.data.responses import Duplicate
from mmrlhf_jobs.data.row_faults import RowFault

__all__ = ["LONG_ANSWER", "count_record", "make_record", "ranked_record"]

LONG_ANSWER = 128
"""A question is long when its best answer has more characters (paper 2.1, there by GPT-4o)."""


def ranked_record(row: RankedRow, report: ImportReport) -> RankedResponse:
    """The record of a row that ranks its responses.

    Raises:
        RowFault: The record would be invalid.
    """
    texts: dict[str, RankedText] = {}
    twice: dict[str, list[str | None]] = {}
    for position, text in enumerate(row.texts):
        first = texts.setdefault(text.text.strip(), text)
        if first is text:
            continue
        if first.place != text.place:
            number = row.texts.index(first)
            raise RowFault(
                f"same text as response {number}, and another rank",
                kind="contradiction",
                file=row.file,
                row=row.row,
                field=f"responses[{position}]",
            )
        twice.setdefault(text.text.strip(), []).append(text.model)
    kept = list(texts.values())
    ranks = [1 + sum(other.place < one.place for other in kept) for one in kept]
    record = make_record(row, kept, ranks, duplicates=twice)
    report.rankings_against_scores += any(
        _is_worse_throughout(better, worse)
        for better, rank in zip(kept, ranks, strict=True)
        for worse, other in zip(kept, ranks, strict=True)
        if rank < other
    )
    return record


def count_record(record: RankedResponse, report: ImportReport) -> None:
    """Count a record and its pairs."""
    pairs = sum(mine < other for mine in record.ranks for other in record.ranks)
    report.records += 1
    report.responses += len(record.responses)
    report.pairs += pairs
    report.records_without_pairs += pairs == 0


def make_record(
    row: PairRow | RankedRow,
    texts: list[RankedText],
    ranks: list[int],
    *,
    part: str | None = None,
    duplicates: dict[str, list[str | None]] | None = None,
) -> RankedResponse:
    """A record of a row's question with these responses.

    Args:
        row: The row, or the first of its group.
        texts: The responses.
        ranks: Their competition ranks.
        part: What tells it from other records of the same question.
        duplicates: Models of further responses of the same text, by text.

    Raises:
        RowFault: The record would be invalid.
    """
    ranked = row if isinstance(row, RankedRow) else None
    media = row.prompt.media
    query = Query(
        text=row.prompt.text,
        system=row.prompt.system,
        turns=row.prompt.turns,
        reference_answer=None if ranked is None else ranked.reference_answer,
    )
    asked = as_json(asked_of(query, media))
    digests = [medium.content_sha256 for medium in media]
    name = record_id(asked, digests, parent_id=row.source_id)
    ids = [response_id(name, text.text) for text in texts]
    domain = _domain(row)
    best = texts[ranks.index(1)].text if 1 in ranks else ""
    try:
        return RankedResponse(
            schema=schema_for(domain, query, media),
            record_id=name if part is None else f"{name}-{part}",
            domain=domain,
            type=_type(row.category, best),
            source=Origin(
                row_id=row.source_id or f"{row.file.rpartition('/')[2]}:{row.row}",
                dataset=row.dataset,
                split=row.split,
            ),
            query=query,
            media=media,
            responses=tuple(
                _response(one, text, (duplicates or {}).get(text.text.strip(), []))
                for one, text in zip(ids, texts, strict=True)
            ),
            ranking=Ranking(
                ranks=dict(zip(ids, ranks, strict=True)),
                reason=None if ranked is None else ranked.reason,
            ),
        )
    except ValidationError as error:
        field, reason = explain(error)
        raise RowFault(
            f"makes no valid record: {field}: {reason}",
            kind="record",
            file=row.file,
            row=row.row,
        ) from error


def _response(name: str, text: RankedText, duplicates: list[str | None]) -> Response:
    comment = text.comment if text.comment and text.comment.strip() else None
    return Response(
        response_id=name,
        text=text.text,
        model=None if text.model is None else ModelOrigin(name=text.model),
        duplicates=tuple(
            Duplicate(
                response_id=f"{name}-{number}",
                model=None if model is None else ModelOrigin(name=model),
            )
            for number, model in enumerate(duplicates)
        ),
        scores=text.scores,
        reasons=text.reasons,
        critique=None if comment is None else Critique(human=comment),
    )


def _is_worse_throughout(one: RankedText, other: RankedText) -> bool:
    if one.scores is None or other.scores is None:
        return False
    names = ("faithfulness", "helpfulness", "ethics")
    values = [(getattr(one.scores, name), getattr(other.scores, name)) for name in names]
    return all(mine is not None and theirs is not None and mine < theirs for mine, theirs in values)


def _domain(row: PairRow | RankedRow) -> Literal["image", "video", "safety", "text"]:
    if row.category == "safety":
        return "safety"
    if not row.prompt.media:
        return "text"
    return "video" if any(medium.kind == "video" for medium in row.prompt.media) else "image"


def _type(category: str | None, best: str) -> Literal["long", "short", "mcq"] | None:
    match category:
        case "long" | "short" | "mcq":
            return category
        case "safety":
            return None
    length = len(unicodedata.normalize("NFC", best).strip())
    return "long" if length > LONG_ANSWER else "short"
