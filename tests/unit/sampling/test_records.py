"""What is kept of a medium beside the records is what was embedded, or the job ends."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import av
import pytest
from PIL import Image

from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.selection.joining import Medium
from mmrlhf_jobs.sampling.selection.records import keep_medium
from tests.unit.sampling.pictures import encoded, noise, video

PICTURE = encoded(noise(8, 8, 1))
CLIP = video([(200, 0, 0), (0, 200, 0)])


def keep(ref: MediaRef, content: bytes) -> tuple[Media, dict[str, bytes]]:
    """Keep a medium whose vector is of some bytes; returns what the record says, and the files."""
    kept: dict[str, bytes] = {}

    def save(name: str, saved: bytes) -> str:
        kept[name] = saved
        return f"media/{name}"

    known = Medium(hashlib.sha256(content).digest(), None, None, 8, 8, 0.0)
    return keep_medium(ref, known, MediaReader(), save), kept


def test_a_picture_within_a_file_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(b"before" + PICTURE + b"after")
    inside = MediaRef(str(path), "1.PNG", offset=6, size=len(PICTURE))
    medium, kept = keep(inside, PICTURE)
    name = f"{hashlib.sha256(PICTURE).hexdigest()}.png"
    assert kept == {name: PICTURE}
    assert (medium.uri, medium.sha256) == (f"media/{name}", name[:64])


def test_a_file_of_its_own_stays_where_it_is(tmp_path: Path) -> None:
    medium, kept = keep(MediaRef(str(tmp_path / "a.png")), PICTURE)
    assert not kept
    assert medium.uri == str(tmp_path / "a.png")


def test_the_frame_that_stands_for_a_video_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(CLIP)
    medium, kept = keep(MediaRef(str(tmp_path / "a.mp4"), kind="video"), CLIP)
    ((name, content),) = kept.items()
    assert [frame.uri for frame in medium.frames] == [f"media/{name}"]
    assert medium.frames[0].sha256 == hashlib.sha256(content).hexdigest()
    with av.open(io.BytesIO(CLIP)) as container:
        first = next(container.decode(video=0)).to_image()
    with Image.open(io.BytesIO(content)) as frame:
        assert frame.tobytes() == first.tobytes()
    assert medium.uri == str(tmp_path / "a.mp4")


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("change", ["other", "short", "gone"])
def test_a_medium_that_was_changed_meanwhile_ends_the_job(
    tmp_path: Path, kind: str, change: str
) -> None:
    path, content = tmp_path / "shard.tar", CLIP if kind == "video" else PICTURE
    path.write_bytes({"other": bytes(len(content)), "short": content[:-1], "gone": b""}[change])
    if change == "gone":
        path.unlink()
    ref = MediaRef(
        str(path),
        "1.bin",
        offset=0,
        size=len(content),
        kind="video" if kind == "video" else "image",
    )
    with pytest.raises(DataError, match="changed while the job ran") as caught:
        keep(ref, content)
    assert str(path) in str(caught.value)
