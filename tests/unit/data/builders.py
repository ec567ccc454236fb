"""Records, images and files for the tests of the data package."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mmrlhf_jobs.data.records import SCHEMA, RankedResponse

__all__ = ["IMAGE", "IMAGE_SHA256", "make_fields", "make_record", "save_image", "write_rows"]


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 20, 30)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = _png()
IMAGE_SHA256 = hashlib.sha256(IMAGE).hexdigest()


def make_fields(
    record_id: str = "r1", ranks: Sequence[int] = (1, 2), **changes: Any
) -> dict[str, Any]:
    """Fields of a valid record with responses a, b, ... of these ranks."""
    names = [chr(ord("a") + number) for number in range(len(ranks))]
    return {
        "schema": SCHEMA,
        "record_id": record_id,
        "domain": "image",
        "type": "short",
        "query": {"text": "Which digit is it?"},
        "media": [{"uri": "image.png", "sha256": IMAGE_SHA256}],
        "responses": [{"response_id": name, "text": f"Answer {name}."} for name in names],
        "ranking": {"ranks": dict(zip(names, ranks, strict=True))},
        **changes,
    }


def make_record(
    record_id: str = "r1", ranks: Sequence[int] = (1, 2), **changes: Any
) -> RankedResponse:
    return RankedResponse.model_validate(make_fields(record_id, ranks, **changes))


def save_image(folder: Path) -> None:
    """The image that all made records name."""
    (folder / "image.png").write_bytes(IMAGE)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any] | bytes]) -> Path:
    """Write dictionaries as JSON lines, and bytes as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
