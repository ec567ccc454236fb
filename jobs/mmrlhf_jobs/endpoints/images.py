"""Images as data URLs, which is how the protocol takes them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from PIL import Image

from mmrlhf_jobs.data.media import load_image
from mmrlhf_jobs.endpoints.requests import ImagePart
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["ImageEncoder", "data_url"]

# What servers are known to take; anything else is sent as PNG.
_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class ImageEncoder:
    """Reads images, checks their digests, and keeps the last ones.

    Args:
        storage: Where the object store is, for ``s3://``.
        kept: Images to keep, since all models are asked about the same one.
    """

    def __init__(self, storage: StorageOptions | None = None, *, kept: int = 64) -> None:
        self._storage = storage
        self._size = kept
        self._urls: OrderedDict[str, str] = OrderedDict()

    async def encode(self, images: Iterable[ImagePart]) -> dict[str, str]:
        """Data URL of each image by its digest.

        Raises:
            DataError: A file is missing, is no image, or has another digest.
            StorageError: The store does not answer.
        """
        found = {}
        for image in images:
            url = self._urls.pop(image.sha256, None)
            if url is None:
                url = await asyncio.to_thread(data_url, image, self._storage)
            self._urls[image.sha256] = found[image.sha256] = url
            if len(self._urls) > self._size:
                self._urls.popitem(last=False)
        return found


def data_url(image: ImagePart, storage: StorageOptions | None = None) -> str:
    """An image file as a data URL.

    Raises:
        DataError: The file is missing, is no image, or has another digest.
        StorageError: The store does not answer.
    """
    # Decoded as training decodes it: what is looked at must be what will be trained on.
    pixels = load_image(image.uri, "", sha256=image.sha256, storage=storage)
    location = locate(image.uri, storage)
    with storage_errors(image.uri, "read"):
        content = location.fs.cat_file(location.path)
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise DataError(f"media file {image.uri} was changed while it was read")
    with Image.open(io.BytesIO(content)) as opened:
        mime = _FORMATS.get(opened.format or "")
    if mime is None:
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        content, mime = buffer.getvalue(), "image/png"
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
