"""Images as data URLs: what model servers and annotation tools take in place of a file."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Final

from PIL import Image

from mmrlhf_jobs.data.media import load_image
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["data_url"]

# What servers are known to take; anything else is sent as PNG.
_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def data_url(uri: str, sha256: str, storage: StorageOptions | None = None) -> str:
    """An image file as a data URL.

    Args:
        uri: The file.
        sha256: Digest that it must have.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is missing, is no image, or has another digest.
        StorageError: The store does not answer.
    """
    # Decoded as training decodes it: what is looked at must be what will be trained on.
    pixels = load_image(uri, "", sha256=sha256, storage=storage)
    location = locate(uri, storage)
    with storage_errors(uri, "read"):
        content = location.fs.cat_file(location.path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"media file {uri} was changed while it was read")
    with Image.open(io.BytesIO(content)) as opened:
        mime = _FORMATS.get(opened.format or "")
    if mime is None:
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        content, mime = buffer.getvalue(), "image/png"
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
