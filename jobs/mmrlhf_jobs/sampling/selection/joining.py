"""Candidates: the rows of a block whose media all have a vector, with what decides on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of, record_id
from mmrlhf_jobs.sampling.corpora.drops import DROPS_SCHEMA, Drop
from mmrlhf_jobs.sampling.corpora.media import MediaRef
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE, read_rows
from mmrlhf_jobs.sampling.corpora.rows import Row
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection.picks import pick_key, rank_hash
from mmrlhf_jobs.sampling.selection.table import (
    SCHEMA,
    Candidates,
    Keys,
    category_number,
    to_keys,
)

__all__ = [
    "CANDIDATES_FILE",
    "Block",
    "Medium",
    "candidates_key",
    "join_block",
    "read_media",
    "read_slice",
    "read_slice_media",
]

CANDIDATES_FILE: Final = "candidates.parquet"
_MEDIA_FILE: Final = "media.parquet"
_GROUP_ROWS: Final = 4_096
_VERSION: Final = 1


@dataclass(frozen=True)
class Block:
    """A block of rows, the unit of the stages after reading.

    Attributes:
        number: Its place among all blocks of the run.
        rows: Part of the read stage that it is in.
        index: Its place in that part.
    """

    number: int
    rows: Part
    index: int

    @property
    def name(self) -> str:
        """Name of its parts."""
        return f"{self.rows.name}-{self.index:05d}"

    @property
    def size(self) -> int:
        """How many rows it has."""
        return int(self.rows.facts["blocks"][self.index])

    def read(self) -> Iterator[Row]:
        """Its rows."""
        return read_rows(self.rows, self.index)


@dataclass(frozen=True, slots=True)
class Medium:
    """What became of a medium.

    Attributes:
        sha256: Digest of its bytes, if they could be read.
        reason: Why it cannot be used; None if it can.
        message: The same for people.
        width: Pixels of the picture.
        height: Pixels of the picture.
        pts_ms: Presentation time of a video's frame.
    """

    sha256: bytes | None
    reason: str | None
    message: str | None
    width: int | None
    height: int | None
    pts_ms: float | None


def read_media(media: Part) -> dict[MediaRef, Medium]:
    """The media of a block, as the embed stage left them."""
    found = {}
    with media.table(_MEDIA_FILE) as table:
        for batch in table.iter_batches(_GROUP_ROWS):
            for row in batch.to_pylist():
                failed = row["status"] != "ok"
                found[MediaRef.from_row(row)] = Medium(
                    sha256=row["sha256"],
                    reason=row["reason"] if failed else None,
                    message=row["message"],
                    width=row["width"],
                    height=row["height"],
                    pts_ms=row["frame_pts_ms"],
                )
    return found


def candidates_key(block: Block, media: str, *, seed: int, weights: Mapping[str, float]) -> str:
    """Key of the candidates of a block, by the key of its media; see `join_block`."""
    return digest_of(
        "candidates", _VERSION, block.rows.key, block.number, media, seed, dict(weights)
    ).hex()


def join_block(
    block: Block, media: Part, parts: Parts, *, seed: int, weights: Mapping[str, float]
) -> Part:
    """Make the candidates of a block, unless that is done already.

    Args:
        block: Its rows.
        media: Its media.
        parts: Those of this stage.
        seed: Seed of the picks.
        weights: Weight of each corpus.

    Returns:
        A part with :data:`CANDIDATES_FILE`, sorted by medium, the drops of rows whose media failed,
        and the counts ``candidates`` and ``drop:<reason>``.
    """
    key = candidates_key(block, media.key, seed=seed, weights=weights)
    if (done := parts.find(block.name, key)) is not None:
        return done
    known = read_media(media)
    good: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    for place, row in enumerate(block.read()):
        found = [known[ref] for ref in row.media]
        failed = next((one for one in found if one.reason is not None), None)
        if failed is not None:
            drop = Drop(
                row.source,
                row.file,
                row.line,
                failed.reason or "",
                failed.message or "",
                row.turn_index,
            )
            drops.append({name: getattr(drop, name) for name in DROPS_SCHEMA.names})
            continue
        digests = [one.sha256 or b"" for one in found]
        name = identify(row, digests)
        good.append(
            {
                "media": digests[0],
                "record_id": name.encode(),
                "category": category_number(row.category),
                "key": pick_key(rank_hash(name, seed), weights[row.source]),
                "tie": _tie(row),
                "block": block.number,
                "row": place,
                "cluster": -1,
                "distance": float("nan"),
            }
        )
    good.sort(key=lambda one: (one["media"], one["record_id"], one["row"]))
    with parts.make(block.name, key) as draft:
        table = pa.Table.from_pylist(good, SCHEMA)
        pq.write_table(table, draft.folder / CANDIDATES_FILE, row_group_size=_GROUP_ROWS)
        pq.write_table(
            pa.Table.from_pylist(drops, DROPS_SCHEMA),
            draft.folder / DROPS_FILE,
            compression="zstd",
        )
        draft.count("candidates", len(good))
        for one in drops:
            draft.count(f"drop:{one['reason']}")
        draft.facts["starts"] = [one["media"].hex() for one in good[::_GROUP_ROWS]]
    return parts.get(block.name, key)


def identify(row: Row, digests: list[bytes]) -> str:
    """Id of the record that a row becomes."""
    return record_id(
        row.question,
        [digest.hex() for digest in digests],
        parent_id=row.parent_id,
        turn_index=row.turn_index,
    )


def read_slice(candidates: Part, first: bytes, last: bytes) -> Candidates:
    """Candidates of a part whose media lie in a range, both ends included."""
    groups = _groups(candidates, first, last)
    if not groups:
        return Candidates.join([])
    with candidates.table(CANDIDATES_FILE) as table:
        found = Candidates.from_arrow(table.read_row_groups(groups))
    return found.take(_within(found.media, first, last))


def read_slice_media(candidates: Part, first: bytes, last: bytes) -> Keys:
    """The media alone of the same candidates."""
    groups = _groups(candidates, first, last)
    if not groups:
        return np.empty(0, "S32")
    with candidates.table(CANDIDATES_FILE) as table:
        column = table.read_row_groups(groups, columns=["media"]).column("media")
    media = to_keys(column)
    return media[_within(media, first, last)]


def _groups(candidates: Part, first: bytes, last: bytes) -> list[int]:
    """Row groups of a part that a range of media touches."""
    starts = [bytes.fromhex(start) for start in candidates.facts["starts"]]
    ends = [*starts[1:], *[b"\xff" * 33][: len(starts)]]  # none where all rows were left out
    return [
        number
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        if start <= last and end >= first
    ]


def _within(media: Keys, first: bytes, last: bytes) -> npt.NDArray[np.bool_]:
    low, high = np.array([first, last], "S32")
    inside: npt.NDArray[np.bool_] = (media >= low) & (media <= high)
    return inside


def _tie(row: Row) -> int:
    """Digest of what two rows of one record id may differ in, but for where they stand."""
    content = digest_of("tie", row.answer, row.type, list(row.options), row.num_turns)
    return int.from_bytes(content[:8], "big")
