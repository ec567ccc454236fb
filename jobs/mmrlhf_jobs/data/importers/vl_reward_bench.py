"""VL-RewardBench (arXiv 2411.17451), the benchmark of the paper's Table 5.

A row is ``{"id", "query", "response": [...], "human_ranking": [...], "image", "models": [...]}``:
``human_ranking[i]`` is the place of response i, the smaller the better. In pair form, as judges
are asked and as copies for training have it, the responses are ``chosen`` and ``rejected``. The
category is not a field there: it is the start of the id, by the table of lmms-eval's
``vl_rewardbench`` task, which takes every other start for ``general``; those are counted here. A
field ``category`` wins over the id.

Source: https://huggingface.co/datasets/MMInstruction/VL-RewardBench and
``lmms_eval/tasks/vl_rewardbench/utils.py`` of https://github.com/EvolvingLMMs-Lab/lmms-eval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.judged_rows import RankedRow, RankedText
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["import_vl_reward_bench", "read_vl_reward_bench"]

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
    | {"chosen", "rejected"}
)

T = TypeVar("T")


def import_vl_reward_bench(
    source: str,
    out: str,
    *,
    media_root: str | None = None,
    incomplete: Incomplete = "fail",
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
        DataError: Rows are wrong or name missing images; with file and row.
        StorageError: The output or an embedded image cannot be written.
    """
    options = ImportOptions(media_root, incomplete, storage=storage)
    return import_rows(read_vl_reward_bench, source, out, options)


def read_vl_reward_bench(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[RankedRow]:
    """Read a row of either form.

    Raises:
        RowFault: It is wrong or names a missing image.
    """
    report.ignore_others(row.fields, _USED)
    identifier = row.text("id")
    query = row.text("query")
    images = row_images(row, media)
    prompt = make_prompt(row, [Message("user", marked(query), "query")], images)
    return [
        RankedRow(
            file=row.file,
            row=row.row,
            source_id=identifier,
            prompt=prompt,
            texts=tuple(_pair(row) if "chosen" in row.fields else _ranking(row)),
            dataset=DATASET,
            split=_category(row, report),
        )
    ]


def _pair(row: RawPairRow) -> list[RankedText]:
    return [RankedText(row.text("chosen"), 0), RankedText(row.text("rejected"), 1)]


def _ranking(row: RawPairRow) -> list[RankedText]:
    texts = _items(row, "response", str)
    places = _items(row, "human_ranking", int)
    if len(places) != len(texts):
        raise row.error("human_ranking", f"has {len(places)} places for {len(texts)} responses")
    models = _items(row, "models", str) if row.fields.get("models") else []
    if models and len(models) != len(texts):
        raise row.error("models", f"has {len(models)} names for {len(texts)} responses")
    return [
        RankedText(text, place, model=models[number] if models else None)
        for number, (text, place) in enumerate(zip(texts, places, strict=True))
    ]


def _items(row: RawPairRow, name: str, kind: type[T]) -> list[T]:
    value = unpacked(row.fields.get(name))
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
    report.guess("general")
    return "general"
