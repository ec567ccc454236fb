"""TRL's preference format: ``prompt``, ``chosen``, ``rejected`` and images.

Texts are plain strings or lists of messages ``{"role", "content"}``, whose content is a string or
a list of parts. Without a prompt, chosen and rejected are whole conversations, and what they share
is the prompt. Images are in ``images`` or ``image``, or in the parts themselves: paths, bytes, or
``{"path", "bytes"}`` as ``datasets`` writes them. A prompt may have a system message and earlier
turns, and a row may be about no image.

Source: https://huggingface.co/docs/trl/dataset_formats ("Preference", "Vision datasets").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.messages import (
    Inline,
    answer_text,
    read_messages,
    refuse_tools,
    said_in,
)
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["import_trl", "read_trl"]

_USED: Final = frozenset({"prompt", "chosen", "rejected", "images", "image", "id", "tools"})


def import_trl(
    source: str,
    out: str,
    *,
    media_root: str | None = None,
    incomplete: Incomplete = "fail",
    storage: StorageOptions | None = None,
) -> ImportReport:
    """Convert pair rows to records, united by prompt and images.

    Args:
        source: A JSONL or Parquet file, or a folder of them.
        out: File to write, ``*.jsonl`` or ``*.parquet``.
        media_root: Folder that image paths start from, and below which embedded images are saved;
            None: that of the source.
        incomplete: What to do when pairs leave ranks open; see ``PairGroups``.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: Rows are wrong, name missing media, or contradict others; with file and row.
        StorageError: The output or an embedded image cannot be written.
    """
    options = ImportOptions(media_root, incomplete, storage=storage)
    return import_rows(read_trl, source, out, options)


def read_trl(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row.

    Raises:
        RowFault: It is wrong, names missing media, or holds what records cannot.
    """
    report.ignore_others(row.fields, _USED)
    refuse_tools(row, "tools")
    inline = Inline(media, [])
    asked, chosen, rejected = _parts(row, inline)
    given = row_images(row, media, required=False)
    if given and inline.found:
        raise row.error("images", "images stand both here and in the messages", "placeholders")
    prompt = make_prompt(row, asked, given or tuple(inline.found))
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=None,
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
        )
    ]


def _parts(row: RawPairRow, inline: Inline) -> tuple[list[Message], str, str]:
    """Messages before the answer, chosen and rejected."""
    values = {name: said_in(row.fields.get(name)) for name in ("prompt", "chosen", "rejected")}
    if isinstance(values["chosen"], str):
        asked = _prompt(row, values["prompt"], inline)
        return asked, row.text("chosen"), row.text("rejected")
    other = Inline(inline.files, [])
    chosen = read_messages(row, values["chosen"], "chosen", inline)
    rejected = read_messages(row, values["rejected"], "rejected", other)
    if values["prompt"] is not None:
        asked = _prompt(row, values["prompt"], inline)
    else:
        shared = 0
        while shared < min(len(chosen), len(rejected)) and _same(chosen[shared], rejected[shared]):
            shared += 1
        asked, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if inline.found != other.found:
            raise row.error(
                "rejected",
                "is about other images than chosen, which records cannot hold",
                "unsupported",
            )
    return asked, answer_text(row, chosen, "chosen"), answer_text(row, rejected, "rejected")


def _prompt(row: RawPairRow, value: Any, inline: Inline) -> list[Message]:  # noqa: ANN401 - any JSON
    if value is None or isinstance(value, str):
        return [Message("user", marked(row.text("prompt")), "prompt")]
    return read_messages(row, value, "prompt", inline)


def _same(one: Message, other: Message) -> bool:
    return (one.role, one.pieces) == (other.role, other.pieces)
