"""Images as data URLs: what model servers and annotation tools take in place of a file."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from mmrlhf_jobs.data.decoding import IMAGE_FORMATS, is_plain
from mmrlhf_jobs.data.media import decode_image_file, read_image_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["data_url"]

# What servers are known to take; anything else is sent as PNG, and so is what they would see in
# another way than training does: turned, transparent, moving, or in other colours.
_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def data_url(uri: str, sha256: str, storage: StorageOptions | None = None) -> str:
    """An image file as a data URL.

    Args:
        uri: The file, let through by :class:`mmrlhf_jobs.data.media_folders.MediaFolders`.
        sha256: Digest that it must have.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is missing, is no image, or has another digest.
        StorageError: The store does not answer.
    """
    content = read_image_file(uri, sha256=sha256, storage=storage)
    # Decoded as training decodes it: what is looked at must be what will be trained on.
    pixels = decode_image_file(uri, content)
    with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as opened:
        mime = _FORMATS.get(opened.format or "") if is_plain(opened) else None
    if mime is None:
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        content, mime = buffer.getvalue(), "image/png"
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
