from __future__ import annotations

import hashlib
import io
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from mmrlhf_jobs.data.decoding import MAX_PIXELS
from mmrlhf_jobs.data.media import MAX_RECORD_PIXELS, MediaFinder, load_image, load_media
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import IMAGE, make_record, save_image


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"])
def test_images_of_any_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "x.tif" if mode == "CMYK" else "x.png"
    save(tmp_path / name, Image.new(mode, (4, 3)))
    image = load_image(name, str(tmp_path))
    assert (image.mode, image.size) == ("RGB", (4, 3))


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32_768, 65_535]], np.uint16)
    save(tmp_path / "x.png", Image.fromarray(values))
    assert np.asarray(load_image("x.png", str(tmp_path)))[0, :, 0].tolist() == [0, 1, 127, 255]


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6
    save(tmp_path / "x.jpg", image, exif=exif)
    assert load_image("x.jpg", str(tmp_path)).size == (2, 4)


def test_images_load_from_an_object_store() -> None:
    fsspec.filesystem("memory").pipe_file("/media-bucket/a/x.png", IMAGE)
    assert load_image("x.png", "memory://media-bucket/a").getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a readable image"),
        (b"no image at all", "not a readable image"),
        (IMAGE[:-30], "not a readable image"),
    ],
)
def test_an_unreadable_image_is_told_with_record_file_row_and_field(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    medium = {"uri": "bad.png", "sha256": hashlib.sha256(content).hexdigest()}
    record = make_record("r9", media=[medium]).at("data.jsonl", 3)
    with pytest.raises(DataError) as caught:
        load_media(record, str(tmp_path))
    assert str(caught.value).startswith("data.jsonl, row 3, field media[0].uri: record 'r9': ")
    assert reason in str(caught.value)


def test_media_that_were_changed_are_told_with_their_record(tmp_path: Path) -> None:
    save_image(tmp_path)
    record = make_record(media=[{"uri": "image.png", "sha256": "0" * 64}]).at("f", 1)
    with pytest.raises(DataError, match=r"f, row 1, field media\[0\].uri: record 'r1': .*changed"):
        load_media(record, str(tmp_path))


def test_a_jpeg_that_was_cut_short_is_unreadable(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue()[:1000])
    with pytest.raises(DataError, match="not a readable image"):
        load_image("x.jpg", str(tmp_path))


def test_a_missing_file_a_changed_file_and_a_way_out_are_told(tmp_path: Path) -> None:
    save_image(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_image("nowhere.png", str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        load_image(".", str(tmp_path))
    with pytest.raises(DataError, match="was changed"):
        load_image("image.png", str(tmp_path), sha256="0" * 64)
    with pytest.raises(DataError, match="leads out of"):
        load_image("../image.png", str(tmp_path / "x"))


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.png", Image.new("1", (20_000, 20_000)))
    # The limit of docs/data.md, not twice that, which Pillow's own message names.
    with pytest.raises(DataError, match="more than 89478485 pixels; scale it down"):
        load_image("x.png", str(tmp_path))
    monkeypatch.setattr("mmrlhf_jobs.data.media.MAX_PIXELS", 5)
    save_image(tmp_path)
    with pytest.raises(DataError, match="scale it down"):
        load_image("image.png", str(tmp_path))


def test_the_limits_are_those_of_the_documentation() -> None:
    told = (Path(__file__).parents[3] / "docs/data.md").read_text()
    assert f"{MAX_PIXELS:,} pixels at most" in told
    assert f"({MAX_RECORD_PIXELS:,}) together" in told


def test_a_video_is_its_frames_in_the_given_order(tmp_path: Path) -> None:
    frames = []
    for name, colour in (("b.png", (255, 0, 0)), ("a.png", (0, 255, 0))):
        path = save(tmp_path / name, Image.new("RGB", (2, 2), colour))
        frames.append({"uri": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    record = make_record(domain="video", media=[{"kind": "video", "frames": frames}])
    (video,) = load_media(record, str(tmp_path))
    assert video.kind == "frames"
    assert [frame.getpixel((0, 0)) for frame in video.frames] == [(255, 0, 0), (0, 255, 0)]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"field media\[0\].frames\[1\].uri"):
        load_media(record, str(tmp_path))


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_the_finder_names_missing_files(tmp_path: Path, scheme: str) -> None:
    save_image(tmp_path)
    fsspec.filesystem("memory").pipe_file("/finder/image.png", IMAGE)
    root = str(tmp_path) if scheme == "local" else "memory://finder"
    with MediaFinder(root) as finder:
        problems = finder.problems(["image.png", "no.png", "../x.png"])
    assert list(problems) == ["no.png", "../x.png"]
    assert "does not exist" in problems["no.png"]
    assert "leads out of" in problems["../x.png"]
