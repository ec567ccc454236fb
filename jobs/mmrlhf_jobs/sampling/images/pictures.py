"""The picture that stands for a medium: the image itself, or a frame of the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from PIL import Image

from mmrlhf_jobs.data.decoding import ImageReason, UnreadableImageError, decode_image
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaKind
from mmrlhf_jobs.sampling.images.videos import VideoReason, first_frame

__all__ = ["PICTURE_REASONS", "Picture", "PictureReason", "WorkerReason", "open_picture"]

WorkerReason: TypeAlias = Literal["decoder-crashed", "decoder-timeout"]
"""What becomes of a medium whose decoder ends with its process, or does not end."""

PictureReason: TypeAlias = ImageReason | VideoReason | WorkerReason
"""Why there is no picture."""

_KINDS = (ImageReason, VideoReason, WorkerReason)
PICTURE_REASONS = frozenset(word for kind in _KINDS for word in get_args(kind))
"""All of them."""


@dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
        pixels: RGB, upright.
        width: Width in the file, of the upright picture.
        height: Height of it.
        pts_ms: Presentation time of a video's frame, in milliseconds.
        black_start: Whether the video begins in black and a later frame was taken, if it has one.
    """

    pixels: Image.Image
    width: int
    height: int
    pts_ms: float | None = None
    black_start: bool = False


def open_picture(content: bytes, kind: MediaKind, *, edge: int | None = None) -> Picture:
    """Decode a medium.

    Args:
        content: The whole file.
        kind: Image or video.
        edge: The shorter edge that the picture will be scaled to, if it will be; see
            :func:`mmrlhf_jobs.data.decoding.decode_image`.

    Raises:
        DroppedMedia: There is no picture in it; the reason is a :data:`PictureReason`.
    """
    try:
        if kind == "video":
            frame = first_frame(content)
            size = frame.pixels.size
            return Picture(frame.pixels, *size, pts_ms=frame.pts_ms, black_start=frame.black_start)
        image = decode_image(content, edge=edge)
        return Picture(image.pixels, image.width, image.height)
    except UnreadableImageError as error:
        raise DroppedMedia(error.reason, str(error)) from error
