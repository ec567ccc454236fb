from __future__ import annotations

import io
import struct
import subprocess
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmrlhf_jobs.data import decoding
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaKind
from mmrlhf_jobs.sampling.images import videos
from mmrlhf_jobs.sampling.images.pictures import PICTURE_REASONS, open_picture
from tests.unit.sampling.pictures import GO_IMAGES, encoded, noise, photographs, video

RED, GREEN, BLUE, BLACK = (220, 20, 20), (20, 200, 20), (20, 20, 220), (0, 0, 0)


def colour_of(image: Image.Image) -> tuple[int, int, int]:
    """The pure colour that is nearest to the mean."""
    mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
    return min((RED, GREEN, BLUE, BLACK), key=lambda one: float(abs(mean - one).sum()))


def reason(content: bytes, kind: MediaKind = "image") -> str:
    with pytest.raises(DroppedMedia) as caught:
        open_picture(content, kind)
    assert caught.value.reason in PICTURE_REASONS
    assert caught.value.message
    return caught.value.reason


@pytest.mark.parametrize("name", sorted(photographs()))
def test_photographs_are_rgb_of_their_own_size(name: str) -> None:
    content = photographs()[name]
    picture = open_picture(content, "image")
    with Image.open(io.BytesIO(content)) as image:
        assert picture.pixels.size == (picture.width, picture.height) == image.size
    assert picture.pixels.mode == "RGB"
    assert np.asarray(picture.pixels).std() > 20


def test_files_of_a_debian_package_are_read_or_have_a_reason() -> None:
    found, read = {}, 0
    for path in sorted([*GO_IMAGES.glob("*.*"), *GO_IMAGES.glob("png/*.png")]):
        try:
            picture = open_picture(path.read_bytes(), "image")
            assert picture.pixels.mode == "RGB"
            read += 1
        except DroppedMedia as error:
            found[path.name] = error.reason
    assert read + len(found) == 43
    # The progressive JPEG that is cut short ends well: its later scans are missing.
    assert found == {
        "invalid-crc32.png": "not-an-image",
        "invalid-zlib.png": "unreadable-image",
    }
    cmyk = open_picture((GO_IMAGES / "video-001.cmyk.jpeg").read_bytes(), "image")
    plain = open_picture((GO_IMAGES / "video-001.cmyk.png").read_bytes(), "image")
    difference = np.asarray(cmyk.pixels).astype(int) - np.asarray(plain.pixels)
    assert abs(difference).mean() < 2, "the colours of CMYK are not those of the same picture"


def test_hard_images_have_a_reason_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(b"") == "not-an-image"
    assert reason(b"<html>404</html>") == "not-an-image"
    assert reason(encoded(noise(99, 99), "JPEG")[:2_000]) == "truncated-image"
    assert reason(encoded(noise(99, 99), "PNG")[:9_000]) == "truncated-image"
    assert reason(encoded(Image.new("1", (20_000, 20_000)))) == "too-large"
    floats = Image.fromarray(np.zeros((4, 4), np.float32))
    assert reason(encoded(floats, "TIFF")) == "unsupported-pixels"
    damaged = bytearray(encoded(noise(99, 99), "PNG"))
    damaged[60:80] = bytes(20)
    assert reason(bytes(damaged)) == "unreadable-image"


def test_hard_images_that_are_readable_are_read() -> None:
    sixteen = Image.fromarray(np.full((4, 4), 65_535, np.uint16))
    assert open_picture(encoded(sixteen), "image").pixels.getpixel((0, 0)) == (255, 255, 255)
    animated = encoded(
        Image.new("RGB", (8, 8), RED),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (8, 8))],
    )
    assert colour_of(open_picture(animated, "image").pixels) == RED
    for name in ("WEBP", "AVIF", "TIFF", "BMP", "JPEG2000"):
        assert (
            colour_of(open_picture(encoded(Image.new("RGB", (64, 64), BLUE), name), "image").pixels)
            == BLUE
        )


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_exif_orientation_is_upright(turn: int) -> None:
    upright = Image.new("RGB", (64, 32), BLUE)
    upright.paste(RED, (0, 0, 32, 16))  # the upper left quarter
    upright.paste(GREEN, (32, 0, 64, 16))  # the upper right one
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(turn, []):
        stored = stored.transpose(step)
    exif = stored.getexif()
    exif[0x0112] = turn
    for edge in (None, 4):
        picture = open_picture(encoded(stored, "JPEG", exif=exif), "image", edge=edge)
        assert (picture.width, picture.height) == (64, 32)
        pixels = picture.pixels
        width, height = pixels.size
        assert width == 2 * height
        assert width == (64 if edge is None else 16)
        assert colour_of(pixels.crop((0, 0, width // 2, height // 2))) == RED
        assert colour_of(pixels.crop((width // 2, 0, width, height // 2))) == GREEN


@pytest.mark.parametrize(
    ("edge", "scale"), [(None, 1), (400, 1), (300, 1), (200, 1), (100, 2), (40, 4), (1, 8)]
)
def test_large_jpegs_are_decoded_at_a_scale_that_suffices(edge: int | None, scale: int) -> None:
    content = photographs()["china.jpg"]  # 640 x 427
    picture = open_picture(content, "image", edge=edge)
    assert (picture.width, picture.height) == (640, 427)
    assert picture.pixels.size == (640 // scale, -(-427 // scale))
    if edge is not None and scale > 1:
        assert min(picture.pixels.size) >= min(2 * edge, 427)
    again = open_picture(content, "image", edge=edge)
    assert again.pixels.tobytes() == picture.pixels.tobytes()


def test_the_bomb_limit_counts_before_any_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(noise(400, 400), "JPEG")
    monkeypatch.setattr(
        decoding.decode_image, "__kwdefaults__", {"max_pixels": 9_999, "edge": None}
    )
    with pytest.raises(DroppedMedia, match="400 x 400 pixels, more than 9999"):
        open_picture(content, "image", edge=4)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libvpx-vp9"])
def test_a_video_is_its_first_frame(codec: str) -> None:
    kind = "webm" if "vp9" in codec else "mp4"
    picture = open_picture(video([RED, GREEN, BLUE, GREEN], kind=kind, codec=codec), "video")
    assert (colour_of(picture.pixels), picture.pts_ms, picture.black_start) == (RED, 0.0, False)
    assert (picture.width, picture.height) == (64, 48)


def test_frames_before_time_0_are_passed_over() -> None:
    content = video([RED, RED, GREEN, BLUE], first_pts=-2, kind="matroska", codec="mpeg4", group=1)
    picture = open_picture(content, "video")
    assert (colour_of(picture.pixels), picture.pts_ms) == (GREEN, 0.0)


def test_a_video_that_begins_in_black_is_its_next_key_frame_that_is_not() -> None:
    colours = [BLACK, BLACK, GREEN, GREEN, BLACK, BLACK, RED, RED, BLUE, BLUE]
    picture = open_picture(video(colours, group=4), "video")
    # Key frames are 0 (black), 4 (black) and 8; green and red lie between them.
    assert (colour_of(picture.pixels), picture.pts_ms, picture.black_start) == (BLUE, 800.0, True)
    dark = open_picture(video([BLACK] * 6), "video")
    assert (colour_of(dark.pixels), dark.pts_ms, dark.black_start) == (BLACK, 0.0, True)


def test_damaged_frames_are_passed_over() -> None:
    content = bytearray(video([RED] * 4 + [GREEN] * 4, codec="mpeg4", group=4))
    place = content.index(b"mdat") + 4
    end = content.index(b"\x00\x00\x01\xb6", content.index(b"\x00\x00\x01\xb6", place) + 4)
    content[place:end] = bytes(end - place)  # the first key frame
    picture = open_picture(bytes(content), "video")
    assert picture.pts_ms is not None
    assert picture.pts_ms > 0


def test_hard_videos_have_a_reason_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(b"", "video") == "not-a-video"
    assert reason(b"no video at all" * 99, "video") == "not-a-video"
    content = video([RED, GREEN, BLUE] * 4)
    assert reason(content[: len(content) // 2], "video") == "not-a-video"  # the index is at the end
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    assert reason(sound.getvalue(), "video") == "not-a-video"
    place = content.index(b"mdat") + 4
    blank = (
        content[:place]
        + bytes(content.index(b"moov") - 4 - place)
        + content[content.index(b"moov") - 4 :]
    )
    assert reason(blank, "video") == "no-video-frame"
    monkeypatch.setattr(videos, "MAX_PIXELS", 64 * 48 - 1)
    assert reason(content, "video") == "too-large"


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_video_that_was_filmed_sideways_is_upright(turn: int) -> None:
    """The matrix of ISO 14496-12, 8.3.2: a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    colours = np.zeros((48, 64, 3), np.uint8)
    colours[:24, :32], colours[:24, 32:], colours[24:, :32] = RED, GREEN, BLUE
    stored = Image.fromarray(colours)
    content = bytearray(video([], frames=[stored] * 2))
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn]
    place = content.index(b"tkhd") + 4 + 4 + 8 + 4 + 4 + 4 + 16
    numbers = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    assert struct.unpack_from(">9i", content, place)[0] == 1 << 16
    struct.pack_into(">9i", content, place, *numbers)
    picture = open_picture(bytes(content), "video")
    assert (picture.width, picture.height) == ((64, 48) if turn in (0, 180) else (48, 64))
    for colour, x, y in ((RED, 8, 8), (GREEN, 56, 8), (BLUE, 8, 40)):
        there = (a * x + c * y, b * x + d * y)
        shown = [
            p + size if p < 0 else p for p, size in zip(there, picture.pixels.size, strict=True)
        ]
        left, top = shown
        assert colour_of(picture.pixels.crop((left - 4, top - 4, left + 4, top + 4))) == colour


def test_a_palette_with_transparency_is_laid_on_white() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([*BLACK, *BLUE, *RED])
    content = encoded(palette, transparency=bytes([255, 0, 128]))
    picture = open_picture(content, "image")
    assert picture.pixels.getpixel((3, 3)) == (255, 255, 255)
    opaque = encoded(palette, transparency=bytes([0, 255, 128]))
    assert open_picture(opaque, "image").pixels.getpixel((3, 3)) == BLUE


def _names(name: str) -> dict[str, bytes]:
    """Texts by which formats of FFmpeg name another file."""
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {name}\n".encode(),
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{name}\n".encode(),
        "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">',
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        b"m=video 50004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "tty": b"\x1b[31mhello\x1b[0m\n" * 50,
        "webvtt": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
        "imf": b'<?xml version="1.0"?><CompositionPlaylist>',
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "asx": b"[Reference]\nRef1=http://127.0.0.1/x\n",
        "pnm": b"P6 1 1 255 abc",
        "bmp": encoded(noise(4, 4), "BMP"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    }


@pytest.mark.parametrize("name", sorted(_names("x")))
def test_what_names_other_files_is_no_video(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"secret\n" * 99)
    (tmp_path / "other.mp4").write_bytes(video([RED]))
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("FFmpeg has seen it"))
    for nested in ("notes.txt", "other.mp4"):
        assert reason(_names(nested)[name], "video") == "not-a-video"


@pytest.mark.parametrize("nested", ["notes.txt", "other.mp4"])
@pytest.mark.parametrize(("kind", "text"), [("concat", "ffconcat"), ("hls", "hls"), ("sdp", "sdp")])
def test_no_demuxer_opens_a_second_file(
    kind: str, text: str, nested: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"secret\n" * 99)
    (tmp_path / "other.mp4").write_bytes(video([RED]))
    # Even if a signature were mistaken: the second wall.
    monkeypatch.setattr(videos, "container_of", lambda _: kind)
    assert reason(_names(nested)[text], "video") in {"not-a-video", "no-video-frame"}


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "mpeg4"),
        ("3gp", "libx264"),
        ("matroska", "mpeg4"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("flv", "flv"),
        ("mpegts", "mpeg2video"),
        ("mpeg", "mpeg2video"),
        ("vob", "mpeg2video"),
        ("mpeg2video", "mpeg2video"),
        ("asf", "mpeg4"),
    ],
)
def test_containers_are_told_by_their_signature(kind: str, codec: str) -> None:
    assert colour_of(open_picture(video([RED] * 4, kind=kind, codec=codec), "video").pixels) == RED


def test_only_known_formats_of_images_reach_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    for name in set(Image.OPEN) - set(decoding.IMAGE_FORMATS):
        accept = Image.OPEN[name][1]
        never = lambda *_, name=name: pytest.fail(f"{name} was tried")  # noqa: E731
        monkeypatch.setitem(Image.OPEN, name, (never, accept))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    assert reason(postscript) == "not-an-image"
    for name in ("EPS", "ICO", "TGA", "PCX", "SGI", "ICNS", "DDS", "QOI", "XBM", "SPIDER"):
        if name in Image.SAVE:
            mode = {"XBM": "1", "SPIDER": "F"}.get(name, "RGB")
            assert reason(encoded(Image.new(mode, (32, 32)), name)) == "not-an-image"


@pytest.mark.parametrize(
    "error",
    [
        subprocess.CalledProcessError(1, "gs"),
        AssertionError("so"),
        RecursionError("deep"),
        ZeroDivisionError("0"),
        AttributeError("none"),
        MemoryError(),
        NotImplementedError("not yet"),
    ],
)
def test_whatever_a_decoder_raises_is_the_fault_of_the_file(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(decoding, "to_rgb", fail)
    assert reason(encoded(noise(4, 4))) == "unreadable-image"
    content = video([RED])
    monkeypatch.setattr(videos, "_first", fail)
    assert reason(content, "video") == "not-a-video"
