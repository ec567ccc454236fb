"""The official ``mm_reward_bench.jsonl`` (paper 3.2, "MM-RLHF-RewardBench").

The rows are those of ``dpo_pairs.jsonl``: several pairs of one query share its id. The category is
the folder that the media path goes through, or a field ``category``. Where a path goes through
none of these folders, the first of the words found anywhere in it is taken, which is the rule of
the release's own script, and counted.

ACC+ is per query. The release's script counts it per id, which is the same where an id has one
prompt and one medium; ids with several queries are counted.

Source: https://github.com/Kwai-YuanQi/MM-RLHF (``llava/eval/eval_mm_reward_bench.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrlhf_jobs.data.importers.dpo_pairs import CATEGORIES, read_dpo_pair
from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.media_files import MediaFiles
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["import_reward_bench", "read_reward_bench"]

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
        incomplete: What to do when pairs leave ranks open; see ``PairGroups``.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: Rows are wrong, name missing media or no category, or contradict others; with
            file and row.
        StorageError: The output cannot be written.
    """
    options = ImportOptions(media_root, incomplete, storage=storage)
    return import_rows(read_reward_bench, source, out, options)


def read_reward_bench(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[PairRow]:
    """Read a row of the benchmark.

    Raises:
        RowFault: As :func:`read_dpo_pair`, or nothing tells its category.
    """
    (found,) = read_dpo_pair(row, media, report)
    category = found.category
    if category is None:
        path = found.prompt.media[0].uri or ""
        category = next((word for word in CATEGORIES if word in path), None)
        if category is None:
            raise row.error(
                None,
                f"no category: {path!r} holds none of {', '.join(CATEGORIES)}; add the field"
                " category",
            )
        report.guess(category)
    return [replace(found, category=category, dataset=DATASET, split=category)]
