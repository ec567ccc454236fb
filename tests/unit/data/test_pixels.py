"""One way to pixels: training, scoring, endpoints, annotation, sampling and its report, the SDK."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from mmrlhf.training.rows import Row, open_rows
from mmrlhf_jobs.data.data_urls import data_url
from mmrlhf_jobs.data.decoding import to_rgb
from mmrlhf_jobs.data.media import load_image, load_media
from mmrlhf_jobs.data.parts import Frame, Media
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.images.decoders import Decoders, Preparation
from mmrlhf_jobs.sampling.images.pictures import open_picture
from mmrlhf_jobs.sampling.images.videos import first_frame, spread_frames
from mmrlhf_jobs.sampling.report.thumbnails import thumbnail
from tests.unit.annotation.forms import make_query

GREY = Image.fromarray(np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6))
RGB = Image.merge("RGB", (GREY, GREY.point(lambda value: 255 - value), GREY.rotate(180)))
ALPHA = GREY.point(lambda value: min(255, 2 * value))
LAYER = Image.merge("RGBA", (*RGB.split(), ALPHA))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _turn(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def turned(orientation: int) -> bytes:
    return saved(RGB, "JPEG", exif=_turn(orientation), quality=95)


def gamma_of_one() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4, "big"))
    return info


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The same with red and blue of each other's colour, by a name of its own.
OTHER = (
    SRGB.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    .replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
)  # fmt: skip
assert OTHER != SRGB
SIXTEEN = Image.fromarray(np.asarray(GREY, np.uint16) * 257)

FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(RGB, "JPEG"),
    "jpeg, grey": lambda: saved(GREY, "JPEG"),
    "jpeg, four colours": lambda: saved(RGB.convert("CMYK"), "JPEG"),
    **{f"jpeg, turned {number}": lambda number=number: turned(number) for number in (2, 3, 6, 8)},  # type: ignore[misc]
    "png": lambda: saved(RGB, "PNG"),
    "png, transparent": lambda: saved(LAYER, "PNG"),
    "png, grey and transparent": lambda: saved(LAYER.convert("LA"), "PNG"),
    "png, one colour transparent": lambda: saved(RGB, "PNG", transparency=RGB.getpixel((2, 1))),
    "png, palette": lambda: saved(RGB.quantize(16), "PNG"),
    "png, palette transparent": lambda: saved(RGB.quantize(16), "PNG", transparency=3),
    "jpeg, sRGB": lambda: saved(RGB, "JPEG", icc_profile=SRGB),
    "jpeg, other colours": lambda: saved(RGB, "JPEG", icc_profile=OTHER),
    "jpeg, damaged profile": lambda: saved(RGB, "JPEG", icc_profile=OTHER[:200]),
    "jpeg, turned by XMP": lambda: saved(
        RGB, "JPEG", xmp=b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    ),
    "png, turned": lambda: saved(RGB, "PNG", exif=_turn(6)),
    "webp, turned": lambda: saved(RGB, "WEBP", lossless=True, exif=_turn(8)),
    "tiff, turned": lambda: saved(RGB, "TIFF", tiffinfo={0x0112: 3}),
    "png, other colours": lambda: saved(LAYER, "PNG", icc_profile=OTHER),
    "png, other gamma": lambda: saved(RGB, "PNG", pnginfo=gamma_of_one()),
    "png, one bit": lambda: saved(GREY.convert("1"), "PNG"),
    "png, one bit transparent": lambda: saved(GREY.convert("1"), "PNG", transparency=0),
    "png, grey, one transparent": lambda: saved(GREY, "PNG", transparency=50),
    "png, palette half transparent": lambda: saved(
        RGB.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))
    ),
    "png, 16 bits": lambda: saved(SIXTEEN, "PNG"),
    "png, 16 bits, one transparent": lambda: saved(SIXTEEN, "PNG", transparency=50 * 257),
    "tiff, four colours": lambda: saved(RGB.convert("CMYK"), "TIFF"),
    "tiff, laboratory colours": lambda: saved(
        Image.merge("LAB", (GREY, GREY, GREY.rotate(180))), "TIFF"
    ),
    "tiff, several pages": lambda: saved(
        RGB, "TIFF", save_all=True, append_images=[RGB.rotate(180)]
    ),
    "webp, moving": lambda: saved(
        LAYER, "WEBP", lossless=True, save_all=True, append_images=[LAYER.rotate(180)]
    ),
    "mpo": lambda: saved(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
    "bmp": lambda: saved(RGB, "BMP"),
    "ppm": lambda: saved(RGB, "PPM"),
    "jpeg 2000, transparent": lambda: saved(LAYER, "JPEG2000"),
    "gif, transparent": lambda: saved(LAYER, "GIF"),
    "png, moving": lambda: saved(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "webp, transparent": lambda: saved(LAYER, "WEBP", lossless=True),
    "gif": lambda: saved(RGB.quantize(16), "GIF", save_all=True, append_images=[RGB.rotate(180)]),
    "tiff": lambda: saved(RGB, "TIFF"),
}


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


def browser(content: bytes) -> npt.NDArray[np.uint8]:
    """As the page of an annotation tool shows it: turned, in the colours of the screen."""
    with Image.open(io.BytesIO(content)) as opened:
        seen = ImageOps.exif_transpose(opened)
        profile = opened.info.get("icc_profile")
        gamma = opened.info.get("gamma", 1 / 2.2)
    assert not seen.has_transparency_data
    seen = seen.convert("RGB").point(lambda value: round(255 * (value / 255) ** (1 / 2.2 / gamma)))
    if profile:
        screen = ImageCms.createProfile("sRGB")
        there = ImageCms.profileToProfile(seen, io.BytesIO(profile), screen, outputMode="RGB")
        assert there is not None
        seen = there
    return pixels(seen)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """As a sampling decodes: in a process of its own, with the encoder's preparation after it."""
    with Decoders(Preparation(np.asarray, modules=("numpy",)), processes=1) as found:
        yield found


@pytest.mark.parametrize("name", FILES)
def test_every_reader_sees_what_training_sees(
    name: str, tmp_path: Path, decoders: Decoders
) -> None:
    content = FILES[name]()
    path = tmp_path / "medium"
    path.write_bytes(content)
    trained = pixels(load_image("medium", str(tmp_path)))
    digest = hashlib.sha256(content).hexdigest()
    media = [
        Media(uri="medium", sha256=digest),
        Media(kind="video", frames=(Frame(uri="medium", sha256=digest),)),
    ]
    query = make_query(
        domain="video", media=[one.model_dump(exclude_defaults=True) for one in media]
    )
    for loaded in load_media(query, str(tmp_path)):
        assert np.array_equal(pixels(loaded.frames[0]), trained), "scoring, videos as frames"
    assert np.array_equal(pixels(open_picture(content, "image").pixels), trained)
    assert np.array_equal(decoders.decode(content, "image").pixels, trained)
    with Image.open(io.BytesIO(content)) as given:
        (row,) = open_rows([Row("What?", ["That."], [given])], media_root=None, storage=None)
    assert np.array_equal(pixels(row.media[0].frames[0]), trained), "notebooks"
    assert thumbnail(open_picture(content, "image").pixels) == thumbnail(Image.fromarray(trained))
    url = data_url(str(path), digest)
    kind, _, sent = url.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg", "data:image/webp")
    # As a server that knows nothing of orientation, transparency and motion reads it.
    with Image.open(io.BytesIO(base64.b64decode(sent))) as seen:
        assert seen.mode in ("RGB", "L")
        assert not getattr(seen, "is_animated", False)
        assert np.array_equal(pixels(seen.convert("RGB")), trained)
    assert np.abs(browser(base64.b64decode(sent)).astype(int) - trained).max() <= 1


@pytest.mark.parametrize("name", ["jpeg", "jpeg, grey", "png", "jpeg, sRGB"])
def test_a_file_that_all_read_alike_is_sent_as_it_is(name: str, tmp_path: Path) -> None:
    content = FILES[name]()
    (tmp_path / "medium").write_bytes(content)
    url = data_url(str(tmp_path / "medium"), hashlib.sha256(content).hexdigest())
    assert base64.b64decode(url.partition(",")[2]) == content


@pytest.mark.parametrize("name", ["webp, transparent", "gif, transparent"])
def test_frames_of_a_video_are_laid_on_the_same_ground(name: str) -> None:
    content = FILES[name]()
    (frame,) = spread_frames(content, 1)
    as_image = pixels(open_picture(content, "image").pixels).astype(int)
    for seen in (frame, first_frame(content)):
        assert np.abs(pixels(seen.pixels) - as_image).max() <= 2


def test_pixels_without_a_range_are_told_in_notebooks_too() -> None:
    endless = Image.fromarray(np.ones((4, 4), np.float32))
    with pytest.raises(DataError, match="pixel mode F has no defined range"):
        next(open_rows([Row("What?", ["That."], [endless])], media_root=None, storage=None))


@pytest.mark.parametrize(
    ("name", "quarters"), [("png, turned", 3), ("webp, turned", 1), ("tiff, turned", 2)]
)
def test_what_lies_on_its_side_is_turned_upright(name: str, quarters: int) -> None:
    with Image.open(io.BytesIO(FILES[name]())) as opened:
        assert np.array_equal(pixels(to_rgb(opened)), np.rot90(pixels(RGB), quarters))


def test_grey_of_sixteen_bits_is_scaled_and_its_clear_value_white() -> None:
    with Image.open(io.BytesIO(FILES["png, 16 bits, one transparent"]())) as opened:
        seen = pixels(to_rgb(opened))[..., 0]
    grey = np.asarray(GREY)
    assert np.array_equal(seen, np.where(grey == 50, 255, grey))
    assert 50 in grey


def test_transparency_is_laid_on_white() -> None:
    colours, alpha = np.asarray(RGB).astype(float), np.asarray(ALPHA)[..., None] / 255
    expected = colours * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(to_rgb(LAYER)) - expected).max() <= 1
    assert pixels(to_rgb(LAYER))[0, 0].tolist() == [255, 255, 255]
