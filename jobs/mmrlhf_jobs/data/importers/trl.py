"""Importer of TRL's preference format: ``prompt``, ``chosen``, ``rejected`` and images.

Texts are plain strings or lists of messages ``{"role", "content"}``, whose content is a string or a
list of parts. Without a prompt, chosen and rejected are whole conversations, and what they share is
the prompt. Images are in ``images`` or ``image``: paths, or ``{"path", "bytes"}`` as ``datasets``
writes them. See https://huggingface.co/docs/trl/dataset_formats.

A record asks one question, so a prompt of several turns or with a system message is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mmrlhf_jobs.data.importers.grouping import ImportReport, Incomplete, PairRow, group_pairs
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, read_rows, strip_placeholders
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = ["import_trl"]

_USED: Final = frozenset({"prompt", "chosen", "rejected", "images", "image"})


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
        incomplete: What to do when pairs leave ranks open; see ``group_pairs``.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: A row is wrong, names missing media, or contradicts others; with file and row.
        StorageError: The output or an embedded image cannot be written.
    """
    report = ImportReport(media_root or parent_uri(source))
    media = MediaFiles(report.media_root, storage)
    rows = _pair_rows(source, media, report, storage)
    write_records(group_pairs(rows, report, incomplete=incomplete), out, storage=storage)
    return report


def _pair_rows(
    source: str, media: MediaFiles, report: ImportReport, storage: StorageOptions | None
) -> Iterator[PairRow]:
    for row in read_rows(source, storage):
        for name in row.fields.keys() - _USED:
            report.ignored_fields[name] = report.ignored_fields.get(name, 0) + 1
        prompt, chosen, rejected = _texts(row)
        yield PairRow(
            file=row.file,
            row=row.row,
            source_id=None,
            prompt=strip_placeholders(prompt, row),
            media=row_images(row, media),
            chosen=chosen,
            rejected=rejected,
        )


def _texts(row: RawPairRow) -> tuple[str, str, str]:
    """Prompt, chosen and rejected."""
    if isinstance(row.fields.get("chosen"), str):
        return row.text("prompt"), row.text("chosen"), row.text("rejected")
    chosen, rejected = _messages(row, "chosen"), _messages(row, "rejected")
    if "prompt" in row.fields:
        prompt = row.fields["prompt"]
        asked = [("user", prompt)] if isinstance(prompt, str) else _messages(row, "prompt")
    else:
        shared = 0
        while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
            shared += 1
        asked, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if [role for role, _ in asked] != ["user"]:
        roles = ", ".join(role for role, _ in asked) or "none"
        raise row.error("prompt", f"must be one message of the user, got roles: {roles}")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if [role for role, _ in answer] != ["assistant"] or not answer[0][1].strip():
            raise row.error(name, "must be one message of the assistant with some text")
    return asked[0][1], chosen[0][1], rejected[0][1]


def _messages(row: RawPairRow, name: str) -> list[tuple[str, str]]:
    """Role and text of each message."""
    value = row.fields.get(name)
    if not isinstance(value, list):
        raise row.error(name, "must be a text or a list of messages")
    messages = []
    for position, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise row.error(f"{name}[{position}]", "must be a message {role, content}")
        text = _content(message.get("content"))
        if text is None:
            raise row.error(
                f"{name}[{position}].content", "must be a text or a list of text and image parts"
            )
        messages.append((message["role"], text))
    return messages


def _content(content: Any) -> str | None:  # noqa: ANN401 - any JSON
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    parts = {"image": "<image>", "text": None}
    if any(part.get("type") not in parts for part in content):
        return None
    return "".join(parts[part["type"]] or str(part.get("text") or "") for part in content)
