"""Importer of VL-RewardBench (arXiv 2411.17451), the benchmark of the paper's Table 5.

A row is ``{"id", "query", "response": [...], "human_ranking": [...], "image", "models": [...]}``:
``human_ranking[i]`` is the place of response i, the smaller the better. The category is not a field
there: it is the start of the id, by the table of lmms-eval's ``vl_rewardbench`` task, which takes
every other start for ``general``; those are counted here. A field ``category`` wins over the id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from mmrlhf_jobs.data.importers.grouping import LONG_ANSWER, ImportReport, Incomplete
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, read_rows, strip_placeholders
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.parts import ModelOrigin, Origin, Query
from mmrlhf_jobs.data.records import (
    SCHEMA,
    RankedResponse,
    Ranking,
    Response,
    record_id,
    response_id,
)
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = ["import_vl_reward_bench"]

DATASET = "VL-RewardBench"
_CATEGORIES: Final = ("general", "hallucination", "reasoning")
_BY_ID: Final = {
    "wildvision": "general",
    "vlfeedback": "general",
    "hallucination": "hallucination",
    "rlhf": "hallucination",
    "rlaif": "hallucination",
    "mathverse": "reasoning",
    "mmmu": "reasoning",
}
_USED: Final = frozenset(
    {"id", "query", "response", "human_ranking", "image", "images", "models", "category"}
)

T = TypeVar("T")


def import_vl_reward_bench(
    source: str,
    out: str,
    *,
    media_root: str | None = None,
    incomplete: Incomplete = "fail",  # noqa: ARG001 - a ranking is never incomplete
    storage: StorageOptions | None = None,
) -> ImportReport:
    """Convert rows to records.

    Args:
        source: A JSONL or Parquet file, or a folder of them.
        out: File to write, ``*.jsonl`` or ``*.parquet``.
        media_root: Folder that image paths start from, and below which embedded images are saved;
            None: that of the source.
        incomplete: Taken for the sake of the common interface; every row has a whole ranking.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: A row is wrong or names a missing image; with file and row.
        StorageError: The output or an embedded image cannot be written.
    """
    report = ImportReport(media_root or parent_uri(source))
    media = MediaFiles(report.media_root, storage)
    write_records(_records(source, media, report, storage), out, storage=storage)
    return report


def _records(
    source: str, media: MediaFiles, report: ImportReport, storage: StorageOptions | None
) -> Iterator[RankedResponse]:
    seen: dict[str, int] = {}
    for row in read_rows(source, storage):
        report.rows += 1
        for name in row.fields.keys() - _USED:
            report.ignored_fields[name] = report.ignored_fields.get(name, 0) + 1
        record = _record(row, media, report)
        first = seen.setdefault(record.record_id, row.row)
        if first != row.row:
            raise row.error("id", f"same id, query and image as row {first}")
        report.records += 1
        report.responses += len(record.responses)
        report.pairs += sum(a < b for a in record.ranks for b in record.ranks)
        yield record


def _record(row: RawPairRow, media: MediaFiles, report: ImportReport) -> RankedResponse:
    identifier = row.text("id")
    prompt = strip_placeholders(row.text("query"), row, field="query")
    images = row_images(row, media)
    texts = _items(row, "response", str)
    places = _items(row, "human_ranking", int)
    if len(places) != len(texts):
        raise row.error("human_ranking", f"has {len(places)} places for {len(texts)} responses")
    models = _items(row, "models", str) if row.fields.get("models") else []
    if models and len(models) != len(texts):
        raise row.error("models", f"has {len(models)} names for {len(texts)} responses")
    ranks = [1 + sum(other < place for other in places) for place in places]
    record = record_id(prompt, [item.content_sha256 for item in images], parent_id=identifier)
    ids = [response_id(record, text) for text in texts]
    best = texts[ranks.index(1)].strip() if ranks else ""
    try:
        return RankedResponse(
            schema=SCHEMA,
            record_id=record,
            domain="image",
            type="long" if len(best) > LONG_ANSWER else "short",
            source=Origin(row_id=identifier, dataset=DATASET, split=_category(row, report)),
            query=Query(text=prompt),
            media=images,
            responses=tuple(
                Response(
                    response_id=name,
                    text=text,
                    model=ModelOrigin(name=models[place]) if models else None,
                )
                for place, (name, text) in enumerate(zip(ids, texts, strict=True))
            ),
            ranking=Ranking(ranks=dict(zip(ids, ranks, strict=True))),
        )
    except ValidationError as error:
        field, reason = explain(error)
        raise row.error(None, f"makes no valid record: {field}: {reason}") from error


def _items(row: RawPairRow, name: str, kind: type[T]) -> list[T]:
    value = row.fields.get(name)
    if not isinstance(value, list) or not all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value
    ):
        raise row.error(name, f"must be a list of {kind.__name__}")
    return value


def _category(row: RawPairRow, report: ImportReport) -> str:
    given = row.optional_text("category")
    if given is not None:
        if given not in _CATEGORIES:
            raise row.error("category", f"{given!r} is none of {', '.join(_CATEGORIES)}")
        return given
    start = re.split(r"[-_]", row.text("id"), maxsplit=1)[0].lower()
    known: Mapping[str, str] = _BY_ID
    if start in known:
        return known[start]
    report.guessed_categories["general"] = report.guessed_categories.get("general", 0) + 1
    return "general"
