"""Media as small pictures that a page holds itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Final

from PIL import Image

from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaReader, MediaRef
from mmrlhf_jobs.sampling.images.pictures import open_picture

__all__ = ["read_thumbnails", "thumbnail"]

_EDGE: Final = 96


def read_thumbnails(refs: Mapping[bytes, MediaRef], reader: MediaReader) -> dict[bytes, str | None]:
    """Thumbnails of some media, each read and forgotten before the next.

    Args:
        refs: Where the media are, by SHA-256.
        reader: Reads their bytes.

    Returns:
        Data URLs by SHA-256; None for a medium that is gone by now, or is another one.

    Raises:
        StorageError: The store does not answer.
    """
    # In the order of files and rows, as the reader wants it.
    ordered = sorted(refs.items(), key=lambda item: _place(item[1]))
    return {digest: _read(ref, digest, reader) for digest, ref in ordered}


def thumbnail(picture: Image.Image, *, side: int = _EDGE) -> str:
    """A small square JPEG of an RGB picture, cut from its middle, as a data URL."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    small = picture.resize((side, side), box=(left, top, left + edge, top + edge))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _read(ref: MediaRef, digest: bytes, reader: MediaReader) -> str | None:
    try:
        content = reader.read_same(ref, digest)
        return thumbnail(open_picture(content, ref.kind, edge=2 * _EDGE).pixels)
    except DroppedMedia:
        return None


def _place(ref: MediaRef) -> tuple[str, int, int]:
    return ref.uri, ref.row or 0, ref.offset or 0
