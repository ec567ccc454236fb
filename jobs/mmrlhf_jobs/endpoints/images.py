"""The images of requests, as data URLs, which is how the protocol takes them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from mmrlhf_jobs.data.data_urls import data_url
from mmrlhf_jobs.endpoints.requests import ImagePart
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["ImageEncoder"]


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
                url = await asyncio.to_thread(data_url, image.uri, image.sha256, self._storage)
            self._urls[image.sha256] = found[image.sha256] = url
            if len(self._urls) > self._size:
                self._urls.popitem(last=False)
        return found
