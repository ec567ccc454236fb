"""The gate for addresses that come from data, over every protocol that fsspec knows."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mmrlhf_jobs.data import media_bytes
from mmrlhf_jobs.data.media import MediaFinder, load_image, load_media
from mmrlhf_jobs.data.media_bytes import UnusableFileError, read_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError, InputError
from mmrlhf_jobs.storage.uris import locate
from tests.unit.data.builders import IMAGE, make_record, save_image

OTHERS = sorted({*fsspec.available_protocols(), "ws", "FILE", "S3", ""} - {"file", "s3", "s3a"})

CASES = [
    "reference://x.png::data:application/json;base64,eyJ2ZXJzaW9uIjogMX0=",
    "http://127.0.0.1:18090/latest/meta-data",
    "hf://datasets/a/b/x.png",
    "github://o:r@main/x.png",
    "ftp://127.0.0.1/x",
    "dir://x",
    "generic://x",
    "/proc/self/environ",
    "file:///etc/hostname",
    "zip://a.png::/nowhere.zip",
    "s3://other-bucket/x.png",
    "s3://@/x",
    "file:/etc/hostname",
    "file:image.png",
    "File:///etc/hostname",
    "file://localhost/etc/hostname",
    "file://~/x.png",
    "//etc/hostname",
    "x\0.png",
    "\ud800.png",
    "../image.png",
    "a/../../image.png",
]


@pytest.fixture(autouse=True)
def _nothing_else_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system but the local one and that of this process is ever made."""
    real = fsspec.filesystem

    def make(protocol: str, *args: Any, **options: Any) -> Any:
        assert protocol in ("file", "memory"), f"{protocol} was opened"
        return real(protocol, *args, **options)

    monkeypatch.setattr(fsspec, "filesystem", make)
    monkeypatch.setattr(fsspec.core, "filesystem", make)


@pytest.fixture
def root(tmp_path: Path) -> str:
    folder = tmp_path / "media"
    folder.mkdir()
    save_image(folder)
    save_image(tmp_path)
    return str(folder)


def refused(uri: str, root: str | MediaFolders) -> bool:
    """Whether validation and loading refuse it both, with the row and field where that is known."""
    with MediaFinder(root) as finder:
        found = finder.problems([uri])
    with pytest.raises(DataError):
        load_image(uri, root)
    return list(found) == [uri] and bool(found[uri])


@pytest.mark.parametrize("uri", CASES)
def test_addresses_of_strangers_are_refused(root: str, uri: str) -> None:
    assert refused(uri, root)


@pytest.mark.parametrize("scheme", OTHERS)
def test_no_protocol_of_fsspec_but_file_and_s3_is_opened(root: str, scheme: str) -> None:
    for uri in (
        f"{scheme}://x.png",
        f"{scheme}://{root}/image.png",
        f"{scheme}://x.png::file://{root}/image.png",
        f"file://{root}/image.png::{scheme}://x",
        f"simplecache::{scheme}://{root}/image.png",
    ):
        assert refused(uri, root)
        if not uri.startswith(("file://", "memory://")):
            with pytest.raises(InputError, match=r"use a path, file:// or s3://"):
                locate(uri)


def test_a_strangers_row_is_invalid_with_file_row_and_field(tmp_path: Path) -> None:
    save_image(tmp_path)
    bad = [
        make_record(f"bad-{number}", media=[{"uri": uri, "sha256": "0" * 64}])
        for number, uri in enumerate(uri for uri in CASES if "\ud800" not in uri)
    ]
    file = str(tmp_path / "rows.jsonl")
    write_records([make_record("good"), *bad], file)
    _, report = scan(Source(file))
    assert report.invalid == {"media": len(bad)}
    places = {(one.file, one.row, one.field) for one in report.problems}
    assert places == {(file, row, "media[0].uri") for row in range(2, 2 + len(report.problems))}


def test_what_lies_below_the_root_is_found_by_any_of_its_names(root: str, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    for name in ("a::b.png", "a%2e%2e.png", "~", "a:b.png", "file", "s3:x.png"):
        Path(root, name).write_bytes(Path(root, "image.png").read_bytes())
        assert load_image(name, root).size
    Path(root, "inner.png").symlink_to("image.png")
    for folder in (root, f"{root}/", str(tmp_path / "alias"), f"file://{root}"):
        for uri in ("image.png", "inner.png", "./a/../image.png", f"{root}/image.png"):
            assert load_image(uri, folder).size
        assert load_image(f"file://{tmp_path}/alias/image.png", folder).size
        with MediaFinder(folder) as finder:
            assert not finder.problems(["image.png", "inner.png", f"file://{root}/image.png"])


def test_links_lead_out_of_the_root_only_where_the_job_allows_it(root: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    save_image(outside)
    Path(root, "file.png").symlink_to(outside / "image.png")
    Path(root, "folder").symlink_to(outside)
    Path(root, "loop.png").symlink_to("loop.png")
    ways = ("file.png", "folder/image.png", f"{outside}/image.png", f"{root}/../outside/image.png")
    for uri in ways:
        assert refused(uri, root)
        assert refused(uri, MediaFolders(root, (f"{outside}-other",)))
        assert load_image(uri, MediaFolders(root, (str(outside),))).size
    assert refused("loop.png", root)
    with pytest.raises(DataError, match="allowedMediaRoots"):
        load_image("file.png", root)


def test_a_snapshot_in_the_cache_of_hugging_face_is_read_through_its_links(tmp_path: Path) -> None:
    cache = tmp_path / "datasets--someone--pictures"
    snapshot, blobs = cache / "snapshots" / "abc", cache / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_image(blobs)
    save_image(cache)
    (snapshot / "x.png").symlink_to("../../blobs/image.png")
    (snapshot / "y.png").symlink_to("../../image.png")
    assert load_image("x.png", str(snapshot)).size
    assert refused("y.png", str(snapshot))


@pytest.mark.parametrize(
    ("uri", "root", "inside"),
    [
        ("s3://b/a/x.png", "s3://b/a", True),
        ("s3a://b/a/x.png", "s3://b/a/", True),
        ("s3://b/x.png", "s3://b", True),
        ("s3://b/ab/x.png", "s3://b/a", False),
        ("s3://b/a/../x.png", "s3://b/a", False),
        ("s3://b/a/./x.png", "s3://b/a", False),
        ("s3://bb/x.png", "s3://b", False),
        ("/b/a/x.png", "s3://b/a", False),
        ("s3://b/a/x.png", "/", False),
        ("x.png", "", False),
        ("/x.png", "", False),
    ],
)
def test_objects_stay_below_their_prefix(uri: str, root: str, inside: bool) -> None:
    if inside:
        assert MediaFolders(root).resolve(uri) == uri
        assert MediaFolders("/data", (root,)).resolve(uri) == uri
    else:
        with pytest.raises(DataError):
            MediaFolders(root).resolve(uri)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, media_bytes.MAX_FILE_BYTES + 1)


@pytest.mark.parametrize("make", [_pipe, _socket, _zero, _large])
def test_only_regular_files_of_some_size_are_read(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x.png"))
    folders = MediaFolders(".", ("/dev",))
    assert refused("x.png", folders)
    with pytest.raises(DataError, match=r"no regular file|bytes, more than 268435456"):
        load_image("x.png", folders)


@pytest.mark.parametrize("most", [0, 1, 7, 1 << 20, 3 << 20])
def test_no_more_is_read_than_the_bound_whatever_size_is_told(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(5 << 20))
    monkeypatch.setattr(media_bytes, "check_local_file", lambda *_: None)
    monkeypatch.setattr(media_bytes, "_check_kind", lambda *_: None)
    sizes: list[int] = []
    check = media_bytes._check_size

    def check_and_note(size: int, most: int) -> None:
        sizes.append(size)
        check(size, most)

    monkeypatch.setattr(media_bytes, "_check_size", check_and_note)
    with pytest.raises(UnusableFileError, match=f"more than {most}"):
        read_media(str(path), most=most)
    assert max(sizes) <= most + (1 << 20)


def test_objects_over_the_bound_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/bound/x.png", bytes(11))
    assert read_media("memory://bound/x.png", most=11) == bytes(11)
    monkeypatch.setattr(fs, "cat_file", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(UnusableFileError, match="has 11 bytes, more than 10"):
        read_media("memory://bound/x.png", most=10)


def test_a_record_has_a_budget_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path)
    medium = {"uri": "image.png", "sha256": hashlib.sha256(IMAGE).hexdigest()}
    side = load_image("image.png", str(tmp_path)).size
    pixels = side[0] * side[1]
    monkeypatch.setattr("mmrlhf_jobs.data.media.MAX_RECORD_PIXELS", 3 * pixels)
    for count in (1, 2, 3):
        assert len(load_media(make_record(media=[medium] * count), str(tmp_path))) == count
    frames = [medium, {"kind": "video", "frames": [medium] * 3}]
    for domain, media in (("image", [medium] * 4), ("video", frames)):
        record = make_record(domain=domain, media=media).at("f", 7)
        limit = rf"f, row 7, field media.* more than {3 * pixels} pixels together"
        with pytest.raises(DataError, match=limit):
            load_media(record, str(tmp_path))
