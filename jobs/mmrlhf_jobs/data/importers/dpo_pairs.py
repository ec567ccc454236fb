"""The official ``dpo_pairs.jsonl`` of MM-RLHF.

A row is ``{"id", "image" | "video", "prompt", "chosen", "rejected", "chosen_reason",
"rejected_reason"}``; a video is a folder of frames. The category is the field ``category`` or,
since the release has none, the folder ``long``, ``mcq``, ``safety``, ``short`` or ``video`` that
the media path goes through, taken as a whole part of the path. The upstream code takes the first
of these words anywhere in the path, so that ``shortcuts/long/1.jpg`` is short there. A row with
``is_tie`` says that both are equal (``trl/trainer/reward_trainer.py`` of the release).

Source: https://github.com/Kwai-YuanQi/MM-RLHF (README, ``llava/train/train_dpo.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_videos
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["CATEGORIES", "category_of", "import_dpo_pairs", "read_dpo_pair", "read_media"]

CATEGORIES: Final = ("mcq", "long", "short", "safety", "video")
"""Folders of the release, in the order in which its scripts look for them."""
_REASONS: Final = ("chosen_reason", "rejected_reason")
_USED: Final = frozenset(
    {"id", "image", "video", "prompt", "category", "chosen", "rejected", "is_tie", *_REASONS}
)


def import_dpo_pairs(
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
        DataError: Rows are wrong, name missing media, or contradict others; with file and row.
        StorageError: The output cannot be written.
    """
    options = ImportOptions(media_root, incomplete, storage=storage)
    return import_rows(read_dpo_pair, source, out, options)


def read_dpo_pair(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row of the release.

    Raises:
        RowFault: It is wrong or names missing media.
    """
    report.ignore_others(row.fields, _USED)
    items = read_media(row, media)
    text = row.text("prompt")
    prompt = make_prompt(row, [Message("user", marked(text), "prompt")], items)
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of(),
            prompt=prompt,
            chosen=row.text("chosen"),
            rejected=row.text("rejected"),
            reasons=(row.optional_text(_REASONS[0]), row.optional_text(_REASONS[1])),
            category=category_of(row, items),
            tie=row.fields.get("is_tie") in (True, 1),
        )
    ]


def read_media(row: RawPairRow, media: MediaFiles) -> tuple[Media, ...]:
    """The medium of a row of the release, or several in a list.

    Raises:
        RowFault: It has none, or is missing.
    """
    given = [name for name in ("image", "video") if row.fields.get(name)]
    if len(given) != 1:
        raise row.error(None, "needs either image or video", "media")
    if given == ["video"]:
        return row_videos(row, media)
    value = row.fields["image"]
    paths = value if isinstance(value, list) else [value]
    if not all(isinstance(path, str) for path in paths):
        raise row.error("image", "must be a path or a list of paths", "media")
    return tuple(media.image(path, row, "image") for path in paths)


def category_of(row: RawPairRow, media: Sequence[Media]) -> str | None:
    """The category that a row or the folder of its media tells.

    Raises:
        RowFault: The row tells an unknown one.
    """
    given = row.optional_text("category")
    if given is None:
        folders = (media[0].uri or "").split("/")
        return next((folder for folder in folders if folder in CATEGORIES), None)
    if given not in CATEGORIES:
        raise row.error("category", f"{given!r} is none of {', '.join(CATEGORIES)}")
    return given
