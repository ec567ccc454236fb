"""Real pictures, and files that are hard to read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import skimage
import sklearn.datasets
from PIL import Image

GO_IMAGES = Path(__file__).with_name("go_images")
"""Test images of the Debian package golang-1.19-src."""


def photographs() -> dict[str, bytes]:
    """Photographs that scikit-learn and scikit-image ship, by name."""
    scikit_learn = Path(sklearn.datasets.__file__).parent / "images"
    scikit_image = Path(skimage.__file__).parent / "data"
    names = ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "coins.png"]
    paths = [*scikit_learn.glob("*.jpg"), *(scikit_image / name for name in names)]
    return {path.name: path.read_bytes() for path in sorted(paths)}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of coloured noise."""
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8))


def video(
    colours: Sequence[tuple[int, int, int]],
    *,
    first_pts: int = 0,
    group: int = 4,
    kind: str = "mp4",
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    frames: Sequence[Image.Image] = (),
) -> bytes:
    """A video of one frame for each colour, 10 a second, with a key frame every `group` frames."""
    images = [*frames, *(Image.new("RGB", size, colour) for colour in colours)]
    buffer = io.BytesIO()
    options = {"avoid_negative_ts": "disabled"}
    with av.open(buffer, "w", format=kind, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = group
        for place, image in enumerate(images):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = first_pts + place, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
