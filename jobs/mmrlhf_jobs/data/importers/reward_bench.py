"""Importer of the official ``mm_reward_bench.jsonl`` (paper 3.2, "MM-RLHF-RewardBench").

The rows are those of ``dpo_pairs.jsonl``: several pairs of one query share its id. The category is
the folder that the media path goes through, or a field ``category``. Where a path goes through
none of these folders, the first of the words found anywhere in it is taken, which is the rule of
the release's own script, and counted.

ACC+ is per query. The release's script counts it per id, which is the same where an id has one
prompt and one medium; ids with several queries are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from mmrlhf_jobs.data.importers.dpo_pairs import CATEGORIES, read_pair_rows
from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow, group_pairs
from mmrlhf_jobs.data.importers.media_files import MediaFiles
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = ["import_reward_bench"]

DATASET = "MM-RLHF-RewardBench"


def import_reward_bench(
    source: str,
    out: str,
    *,
    media_root: str | None = None,
    incomplete: Incomplete = "fail",
    storage: StorageOptions | None = None,
) -> ImportReport:
    """Convert pair rows to records, united by id, prompt and media.

    Args:
        source: The JSONL file.
        out: File to write, ``*.jsonl`` or ``*.parquet``.
        media_root: Folder that media paths start from; None: that of the source.
        incomplete: What to do when pairs leave ranks open; see ``group_pairs``.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: A row is wrong, names missing media or no category, or contradicts others; with
            file and row.
        StorageError: The output cannot be written.
    """
    report = ImportReport(media_root or parent_uri(source))
    media = MediaFiles(report.media_root, storage)
    rows = _with_category(read_pair_rows(source, media, report, storage), report)
    records = group_pairs(rows, report, incomplete=incomplete)
    queries: dict[str, int] = defaultdict(int)
    for record in records:
        if record.source is not None:
            queries[record.source.row_id] += 1
    report.ids_of_several_queries = sum(number > 1 for number in queries.values())
    write_records(records, out, storage=storage)
    return report


def _with_category(rows: Iterator[PairRow], report: ImportReport) -> Iterator[PairRow]:
    for row in rows:
        category = row.category
        if category is None:
            path = row.media[0].uri or ""
            category = next((word for word in CATEGORIES if word in path), None)
            if category is None:
                raise DataError(
                    f"no category: {path!r} holds none of {', '.join(CATEGORIES)}; add the field"
                    " category",
                    file=row.file,
                    row=row.row,
                )
            guessed = report.guessed_categories
            guessed[category] = guessed.get(category, 0) + 1
        yield replace(row, category=category, dataset=DATASET, split=category)
