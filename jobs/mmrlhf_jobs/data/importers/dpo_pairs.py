"""Importer of the official ``dpo_pairs.jsonl`` of MM-RLHF.

A row is ``{"id", "image" | "video", "prompt", "chosen", "rejected", "chosen_reason",
"rejected_reason"}``; a video is a folder of frames. The category is the field ``category`` or,
since the release has none, the folder ``long``, ``mcq``, ``safety``, ``short`` or ``video`` that
the media path goes through, taken as a whole part of the path. The upstream code takes the first
of these words anywhere in the path, so that ``shortcuts/long/1.jpg`` is short there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow, group_pairs
from mmrlhf_jobs.data.importers.media_files import MediaFiles
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, read_rows, strip_placeholders
from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = ["CATEGORIES", "import_dpo_pairs", "read_pair_rows"]

CATEGORIES: Final = ("mcq", "long", "short", "safety", "video")
"""Folders of the release, in the order in which its scripts look for them."""
_REASONS: Final = ("chosen_reason", "rejected_reason")
_USED: Final = frozenset(
    {"id", "image", "video", "prompt", "category", "chosen", "rejected", *_REASONS}
)
# What upstream's own precomputation adds to rows.
_IGNORED: Final = frozenset(
    {
        "reference_chosen_logp",
        "reference_rejected_logp",
        "ls_factor",
        "is_tie",
        "mixed_up_image",
    }
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
        incomplete: What to do when pairs leave ranks open; see ``group_pairs``.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: A row is wrong, names missing media, or contradicts others; with file and row.
        StorageError: The output cannot be written.
    """
    report = ImportReport(media_root or parent_uri(source))
    media = MediaFiles(report.media_root, storage)
    rows = read_pair_rows(source, media, report, storage)
    write_records(group_pairs(rows, report, incomplete=incomplete), out, storage=storage)
    return report


def read_pair_rows(
    source: str, media: MediaFiles, report: ImportReport, storage: StorageOptions | None
) -> Iterator[PairRow]:
    """Read the rows of a release file as a stream.

    Raises:
        DataError: A row is wrong or names missing media; with file and row.
    """
    for row in read_rows(source, storage):
        for name in row.fields:
            if name in _IGNORED:
                report.ignored_fields[name] = report.ignored_fields.get(name, 0) + 1
            elif name not in _USED:
                raise row.error(name, "unknown field; remove it")
        identifier = row.fields.get("id")
        items = _media(row, media)
        yield PairRow(
            file=row.file,
            row=row.row,
            source_id=None if identifier is None else str(identifier),
            prompt=strip_placeholders(row.text("prompt"), row),
            media=items,
            chosen=row.text("chosen"),
            rejected=row.text("rejected"),
            reasons=(row.optional_text(_REASONS[0]), row.optional_text(_REASONS[1])),
            category=_category(row, items),
        )


def _media(row: RawPairRow, media: MediaFiles) -> tuple[Media, ...]:
    given = [name for name in ("image", "video") if row.fields.get(name)]
    if len(given) != 1:
        raise row.error(None, "needs either image or video")
    name = given[0]
    value = row.fields[name]
    paths = value if isinstance(value, list) else [value]
    if not all(isinstance(path, str) for path in paths):
        raise row.error(name, "must be a path or a list of paths")
    load = media.image if name == "image" else media.video
    return tuple(load(path, row, name) for path in paths)


def _category(row: RawPairRow, media: tuple[Media, ...]) -> str | None:
    given = row.optional_text("category")
    if given is None:
        folders = (media[0].uri or "").split("/")
        return next((folder for folder in folders if folder in CATEGORIES), None)
    if given not in CATEGORIES:
        raise row.error("category", f"{given!r} is none of {', '.join(CATEGORIES)}")
    return given
