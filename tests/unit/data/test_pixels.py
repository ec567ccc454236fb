"""One way to pixels: training, scoring, endpoints, annotation and sampling see the same picture."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mmrlhf_jobs.data.data_urls import data_url
from mmrlhf_jobs.data.decoding import to_rgb
from mmrlhf_jobs.data.media import load_image
from mmrlhf_jobs.sampling.images.pictures import open_picture

GREY = Image.fromarray(np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6))
RGB = Image.merge("RGB", (GREY, GREY.point(lambda value: 255 - value), GREY.rotate(180)))
ALPHA = GREY.point(lambda value: min(255, 2 * value))
LAYER = Image.merge("RGBA", (*RGB.split(), ALPHA))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, "JPEG", exif=exif, quality=95)


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
    "png, 16 bits": lambda: saved(Image.fromarray(np.asarray(GREY, np.uint16) * 257), "PNG"),
    "png, moving": lambda: saved(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "webp, transparent": lambda: saved(LAYER, "WEBP", lossless=True),
    "gif": lambda: saved(RGB.quantize(16), "GIF", save_all=True, append_images=[RGB.rotate(180)]),
    "tiff": lambda: saved(RGB, "TIFF"),
}


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("name", FILES)
def test_every_reader_sees_what_training_sees(name: str, tmp_path: Path) -> None:
    content = FILES[name]()
    path = tmp_path / "medium"
    path.write_bytes(content)
    trained = pixels(load_image("medium", str(tmp_path)))
    assert np.array_equal(pixels(open_picture(content, "image").pixels), trained)
    url = data_url(str(path), hashlib.sha256(content).hexdigest())
    kind, _, sent = url.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg", "data:image/webp")
    # As a server that knows nothing of orientation, transparency and motion reads it.
    with Image.open(io.BytesIO(base64.b64decode(sent))) as seen:
        assert seen.mode in ("RGB", "L")
        assert np.array_equal(pixels(seen.convert("RGB")), trained)


@pytest.mark.parametrize("name", ["jpeg", "jpeg, grey", "png"])
def test_a_file_that_all_read_alike_is_sent_as_it_is(name: str, tmp_path: Path) -> None:
    content = FILES[name]()
    (tmp_path / "medium").write_bytes(content)
    url = data_url(str(tmp_path / "medium"), hashlib.sha256(content).hexdigest())
    assert base64.b64decode(url.partition(",")[2]) == content


def test_transparency_is_laid_on_white() -> None:
    colours, alpha = np.asarray(RGB).astype(float), np.asarray(ALPHA)[..., None] / 255
    expected = colours * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(to_rgb(LAYER)) - expected).max() <= 1
    assert pixels(to_rgb(LAYER))[0, 0].tolist() == [255, 255, 255]
