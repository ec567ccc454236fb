"""From picked candidates to ``Query/v1`` records that stand for themselves."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.parts import Frame, Media, Origin, Query, Selection
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaReader, MediaRef
from mmrlhf_jobs.sampling.corpora.rows import Row
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection.joining import Block, Medium, identify, read_media
from mmrlhf_jobs.sampling.selection.picks import rank_hash
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES
from mmrlhf_jobs.sampling.selection.table import Candidates

__all__ = ["RECORDS_FILE", "keep_medium", "write_block"]

RECORDS_FILE: Final = "records.jsonl"
_VERSION: Final = 1
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)

SaveMedia = Callable[[str, bytes], str]
"""Keeps bytes under a name among the run's media; returns the URI for records."""


def write_block(
    block: Block,
    media: Part,
    picked: Candidates,
    parts: Parts,
    *,
    run_id: str,
    seed: int,
    quotas: Mapping[Category, tuple[int, ...]],
    reader: MediaReader,
    save: SaveMedia,
) -> Part:
    """Write the records of a block's picks, unless that is done already.

    Media that are files stay where they are; those within shards and Parquet files, and the first
    frame of a video, are kept beside the records.

    Args:
        block: The rows.
        media: Their media.
        picked: The picks that are in this block.
        parts: Those of this stage.
        run_id: Name of the selection; the same for the same inputs and settings.
        seed: Seed of the picks.
        quotas: How many were picked of each type and cluster.
        reader: Reads bytes of media.
        save: Keeps media.

    Raises:
        DataError: A medium is not what it was when it was embedded.
    """
    ids = [bytes(each).decode() for each in picked.record_id]
    key = digest_of("records", _VERSION, block.rows.key, media.key, run_id, ids).hex()
    if (done := parts.find(block.name, key)) is not None:
        return done
    known = read_media(media)
    places = {int(row): number for number, row in enumerate(picked.row)}
    with parts.make(block.name, key) as draft, (draft.folder / RECORDS_FILE).open("wb") as file:
        for place, row in enumerate(block.read()):
            if (number := places.get(place)) is None:
                continue
            category = CATEGORIES[int(picked.category[number])]
            cluster = int(picked.cluster[number])
            selection = Selection(
                run_id=run_id,
                cluster=cluster,
                dist=float(picked.distance[number]),
                rank_hash=rank_hash(ids[number], seed).hex(),
                quota=quotas[category][cluster],
            )
            items = [keep_medium(ref, known[ref], reader, save) for ref in row.media]
            digests = [known[ref].sha256 or b"" for ref in row.media]
            record = _record(row, identify(row, digests), tuple(items), selection)
            text = record.model_dump_json(by_alias=True, exclude_defaults=True)
            file.write(text.encode() + b"\n")
            draft.count("records")
    return parts.get(block.name, key)


def _record(row: Row, name: str, media: tuple[Media, ...], selection: Selection) -> QueryRecord:
    content: dict[str, Any] = {"schema": QUERY_SCHEMA}
    return QueryRecord(
        **content,
        record_id=name,
        domain=row.domain,
        type=row.type,
        source=Origin(
            row_id=row.row_id,
            dataset=row.source,
            parent_id=row.parent_id,
            turn_index=row.turn_index,
        ),
        query=Query(text=row.question, options=row.options, reference_answer=row.answer or None),
        media=media,
        selection=selection,
    )


def keep_medium(ref: MediaRef, known: Medium, reader: MediaReader, save: SaveMedia) -> Media:
    """A medium as a record has it; what is not a file of its own is kept.

    Raises:
        DataError: It is not what it was when it was embedded.
    """
    sha256 = (known.sha256 or b"").hex()
    inside = ref.column is not None or ref.member is not None
    if ref.kind == "video":
        from mmrlhf_jobs.sampling.images.videos import first_frame

        content = _read_again(ref, known, reader)
        frame = first_frame(content)
        picture = io.BytesIO()
        frame.pixels.save(picture, "PNG")
        digest = hashlib.sha256(picture.getvalue()).hexdigest()
        uri = save(f"{digest}.png", picture.getvalue())
        own = save(f"{sha256}{_ending(ref, content)}", content) if inside else ref.uri
        return Media(
            kind="video",
            uri=own,
            sha256=sha256,
            width=known.width,
            height=known.height,
            frames=(Frame(uri=uri, sha256=digest, pts_ms=known.pts_ms),),
        )
    uri = ref.uri
    if inside:
        content = _read_again(ref, known, reader)
        uri = save(f"{sha256}{_ending(ref, content)}", content)
    return Media(uri=uri, sha256=sha256, width=known.width, height=known.height)


def _read_again(ref: MediaRef, known: Medium, reader: MediaReader) -> bytes:
    """Bytes of a medium, which must be those that its vector is of."""
    try:
        return reader.read_same(ref, known.sha256)
    except DroppedMedia as error:
        raise DataError(
            f"was changed while the job ran: {error.message}; let it be, and run the job again",
            file=ref.uri,
        ) from error


def _ending(ref: MediaRef, content: bytes) -> str:
    if ref.member is not None:
        return Path(ref.member).suffix.lower()
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    found = next((kind for start, kind in _SIGNATURES if content.startswith(start)), None)
    return f".{found}" if found else ".mp4" if ref.kind == "video" else ""
