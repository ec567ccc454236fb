"""Frames of a video: the first one that shows something, or some that are spread over it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

import av
import numpy as np
from PIL import Image

from mmrlhf_jobs.data.decoding import MAX_PIXELS, to_rgb
from mmrlhf_jobs.data.parts import spread
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia
from mmrlhf_jobs.sampling.images.containers import CONTAINERS, container_of

__all__ = ["Frame", "VideoReason", "first_frame", "spread_frames"]

VideoReason: TypeAlias = Literal["not-a-video", "no-video-frame", "too-large"]
"""Why a video has no first frame."""

_BLACK: Final = 2.0
"""A frame is black when the mean of its pixels, 0 to 255, is below this."""

_KNOWN: Final = sorted(CONTAINERS)

_TURNS: Final = {
    90: Image.Transpose.ROTATE_90,
    -90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
}


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        pixels: RGB, upright.
        pts_ms: Presentation time in milliseconds; None if the video does not tell.
        black_start: Whether the video begins in black and this is a later frame, if one is better.
    """

    pixels: Image.Image
    pts_ms: float | None
    black_start: bool


def _stream_of(container: Any) -> Any:  # noqa: ANN401 - PyAV names few types
    if not container.streams.video:
        raise DroppedMedia("not-a-video", "holds no video stream")
    stream = container.streams.video[0]
    _check_size(stream.codec_context)
    stream.codec_context.thread_count = 1
    return stream


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[Any, Any]]:
    kind = container_of(content)
    if kind is None:
        raise DroppedMedia(
            "not-a-video",
            f"is not a readable video: its container is not known; known are {', '.join(_KNOWN)}",
        )
    # The format is given, so nothing is probed; and no protocol is allowed, so nothing else opens.
    options = {"format_whitelist": kind, "protocol_whitelist": "none"}
    try:
        with av.open(
            io.BytesIO(content), format=kind, container_options=options, metadata_errors="ignore"
        ) as container:
            yield container, _stream_of(container)
    except DroppedMedia:
        raise
    except Exception as error:  # a demuxer may raise anything; whatever it is, the file made it
        raise DroppedMedia("not-a-video", f"is not a readable video: {error}") from error


def first_frame(content: bytes) -> Frame:
    """Decode the frame with the lowest presentation time from 0 on.

    Frames that do not decode are passed over. If the frame is black, the first key frame that is
    not is taken instead; if all are, the first frame stays.

    Args:
        content: The whole file.

    Raises:
        DroppedMedia: It is no video, has no frame that decodes, or frames that are too large.
    """
    with _opened(content) as (container, stream):
        return _first(container, stream)


def spread_frames(content: bytes, most: int) -> list[Frame]:
    """Decode some frames, evenly spread from the first to the last, in the order they are shown.

    The video is decoded twice: how many frames it has is known only then, whatever it says.

    Args:
        content: The whole file.
        most: How many; a video that has fewer gives all of its own.

    Raises:
        DroppedMedia: As :func:`first_frame`.
    """
    with _opened(content) as (container, stream):
        count = sum(1 for _ in _decoded(container, stream))
    if count == 0:
        raise DroppedMedia("no-video-frame", "has no frame that can be decoded")
    wanted = set(spread(range(count), most))
    with _opened(content) as (container, stream):
        shown = enumerate(_decoded(container, stream))
        return [_upright(frame, stream) for place, frame in shown if place in wanted]


def _first(container: Any, stream: Any) -> Frame:  # noqa: ANN401 - PyAV names few types
    coded = stream.codec_context
    first = next(_frames(container, stream), None)
    if first is None:
        raise DroppedMedia("no-video-frame", "has no frame that can be decoded")
    if not _is_black(first.pixels):
        return first
    container.seek(0, stream=stream)
    coded.flush_buffers()
    coded.skip_frame = "NONKEY"
    lit = (frame for frame in _frames(container, stream) if not _is_black(frame.pixels))
    chosen = next(lit, first)
    return Frame(chosen.pixels, chosen.pts_ms, black_start=True)


def _frames(container: Any, stream: Any) -> Iterator[Frame]:  # noqa: ANN401 - PyAV names few types
    for frame in _decoded(container, stream):
        yield _upright(frame, stream)


def _upright(frame: Any, stream: Any) -> Frame:  # noqa: ANN401 - PyAV names few types
    pixels = _pixels(frame)
    if frame.rotation in _TURNS:
        pixels = pixels.transpose(_TURNS[frame.rotation])
    return Frame(pixels, _milliseconds(frame.pts, stream.time_base), black_start=False)


def _pixels(frame: Any) -> Image.Image:  # noqa: ANN401 - PyAV names few types
    """RGB; what is transparent is laid on the ground that images are laid on."""
    if any(part.is_alpha for part in frame.format.components) or frame.format.has_palette:
        return to_rgb(Image.fromarray(frame.to_ndarray(format="rgba")))
    pixels: Image.Image = frame.to_image()
    return pixels


def _decoded(container: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401 - PyAV names few types
    """Frames from presentation time 0 on, in the order they are shown."""
    for packet in container.demux(stream):
        with suppress(av.FFmpegError):  # Damaged packets; the next ones may be whole.
            for frame in packet.decode():
                if frame.is_corrupt or (frame.pts is not None and frame.pts < 0):
                    continue
                _check_size(frame)  # it may change within a stream
                yield frame


def _check_size(sized: Any) -> None:  # noqa: ANN401 - a codec or a frame
    if sized.width * sized.height > MAX_PIXELS:
        raise DroppedMedia(
            "too-large", f"has frames of {sized.width} x {sized.height} pixels, over {MAX_PIXELS}"
        )


def _milliseconds(pts: int | None, base: Fraction | None) -> float | None:
    return None if pts is None or base is None else float(pts * base * 1000)


def _is_black(pixels: Image.Image) -> bool:
    return float(np.asarray(pixels).mean()) < _BLACK
