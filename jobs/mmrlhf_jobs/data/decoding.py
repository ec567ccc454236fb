"""The bytes of an image file become upright RGB pixels, or a reason why they do not."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

__all__ = [
    "IMAGE_FORMATS",
    "MAX_PIXELS",
    "DecodedImage",
    "ImageReason",
    "UnreadableImageError",
    "decode_image",
    "is_plain",
    "to_rgb",
]

IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Pillow's names of the formats that are tried; JPEG is MPO too, PPM is all of Netpbm. Pillow knows
some 40 more, and its plugin for EPS starts Ghostscript (Pillow's handbook, image file formats)."""

MAX_PIXELS: Final = Image.MAX_IMAGE_PIXELS or 89_478_485
"""Larger images are refused: a small file can hide gigabytes of pixels."""

ImageReason: TypeAlias = Literal[
    "not-an-image", "too-large", "truncated-image", "unreadable-image", "unsupported-pixels"
]
"""Why a file is no usable image."""

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_TRANSPOSED: Final = frozenset({5, 6, 7, 8})
_ORIENTATION: Final = 0x0112
_REDUCING_GAP: Final = 2.0
_GAMMA: Final = 1 / 2.2


class UnreadableImageError(Exception):
    """A file that is no usable image.

    Args:
        reason: One word of a closed set.
        message: What is wrong, to follow the name of the file.
    """

    def __init__(self, reason: ImageReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class DecodedImage:
    """An image in memory.

    Attributes:
        pixels: RGB, upright.
        width: Width of the upright image in the file; more than that of the pixels if those were
            decoded at a smaller scale.
        height: Height of it.
    """

    pixels: Image.Image
    width: int
    height: int


def decode_image(
    content: bytes, *, max_pixels: int = MAX_PIXELS, edge: int | None = None
) -> DecodedImage:
    """Decode an image to RGB, turned upright by its EXIF orientation.

    What is transparent shows a white ground (see `to_rgb`); 16-bit grey is scaled to 8 bits; of an
    animation the first frame is taken.

    Args:
        content: The whole file.
        max_pixels: Most pixels it may have.
        edge: If the pixels will be scaled so that their shorter edge is this long, a large JPEG
            may be decoded at 1/2, 1/4 or 1/8 of its size, as long as the shorter edge stays twice
            as long (the gap of Pillow's own ``thumbnail``). That follows from the file and this
            number alone.

    Raises:
        UnreadableImageError: It is none, is damaged or too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            _check_size(image, max_pixels)
            size = image.size
            if image.getexif().get(_ORIENTATION) in _TRANSPOSED:
                size = size[::-1]
            if edge is not None:
                scale = _REDUCING_GAP * edge / min(image.size)
                width, height = (math.ceil(side * scale) for side in image.size)
                image.draft("RGB", (width, height))
            return DecodedImage(to_rgb(image), *size)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            "not-an-image",
            "is not a readable image: its format is not known; known are"
            f" {', '.join(IMAGE_FORMATS)}",
        ) from error
    except _BOMB as error:
        # Pillow names another limit than the one that holds here.
        raise UnreadableImageError(
            "too-large", f"has more than {max_pixels} pixels; scale it down"
        ) from error
    except Exception as error:  # a decoder may raise anything; whatever it is, the file made it
        short = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise UnreadableImageError(
            "truncated-image" if short else "unreadable-image",
            f"is not a readable image: {error or type(error).__name__}",
        ) from error


def _check_size(image: Image.Image, most: int) -> None:
    if image.width * image.height > most:
        raise UnreadableImageError(
            "too-large",
            f"has {image.width} x {image.height} pixels, more than {most}; scale it down",
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as upright RGB, laid on white where it is transparent.

    ``convert("RGB")`` would show what the file happens to hold below transparency, and model
    servers lay it on white (vLLM: ``rgba_to_rgb``; Qwen: ``qwen_vl_utils.to_rgb``). Numbers of
    colours are taken as they are: a profile is not applied, as processors and servers do not, and
    not kept, so that whatever shows the pixels does not either.

    Raises:
        UnreadableImageError: Its pixels have no defined range.
    """
    image.load()
    upright = ImageOps.exif_transpose(image)
    rgb = _grey_of_16_bits(upright) if upright.mode.startswith("I;16") else _on_white(upright)
    rgb.info = {}
    return rgb


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Scaled to 8 bits: Pillow would clip everything above 255 to white."""
    values = np.asarray(image)
    grey = (values.astype(np.uint32) // 257).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _on_white(upright: Image.Image) -> Image.Image:
    if upright.mode in ("I", "F"):
        raise UnreadableImageError(
            "unsupported-pixels",
            f"is not a readable image: pixel mode {upright.mode} has no defined range; save it"
            " with 8 bits",
        )
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layer = upright.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")


def is_plain(image: Image.Image) -> bool:
    """Whether every reader sees in an opened file what `decode_image` makes of it.

    That is so of one upright picture of 8-bit RGB or grey without transparency, whose colours are
    those of sRGB: browsers, where annotators look, apply other profiles.
    """
    return (
        image.mode in ("RGB", "L")
        and not image.has_transparency_data
        and image.getexif().get(_ORIENTATION, 1) == 1
        and not getattr(image, "is_animated", False)
        and _is_srgb(image)
    )


def _is_srgb(image: Image.Image) -> bool:
    profile = image.info.get("icc_profile")
    if not profile:
        # What PNG says in the place of a profile (W3C PNG specification, 11.3.2).
        gamma = image.info.get("gamma")
        return gamma is None or "srgb" in image.info or abs(gamma - _GAMMA) < _GAMMA / 100
    try:
        name = ImageCms.getProfileDescription(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return "sRGB" in name
