"""Folders of finished images: what they share is there once, and what nobody needs goes."""

from __future__ import annotations

import os
from pathlib import Path

from images.layouts import Layouts, blobs, image_name
from tests.images.tiny import write_layout

BASE = {"base": b"base"}


def finish(layouts: Layouts, image: str, digest: str) -> Path:
    layout = write_layout(layouts.begin(), f"{image}:{digest}", BASE, {"code": digest.encode()})
    return layouts.finish(layout, image, digest)


def test_an_image_is_found_by_what_went_into_it_once_it_is_whole(tmp_path: Path) -> None:
    layouts = Layouts(tmp_path)
    assert layouts.find("train", "one") is None
    write_layout(layouts.begin(), "train:one", BASE)  # and then the build is killed
    assert layouts.find("train", "one") is None
    made = finish(layouts, "train", "two")
    assert layouts.find("train", "two") == made
    assert image_name(made) == "train:two"
    assert b"two" in blobs(made)[-1].read_bytes()


def test_images_share_what_both_have(tmp_path: Path) -> None:
    layouts = Layouts(tmp_path)
    one, two = finish(layouts, "train", "one"), finish(layouts, "sample", "two")
    shared = {path.resolve() for path in blobs(one)} & {path.resolve() for path in blobs(two)}
    assert shared == {blobs(one)[2].resolve()}
    assert len(list((tmp_path / "blobs/sha256").iterdir())) == 2 * 4 - 1


def test_only_the_last_used_versions_of_an_image_are_kept(tmp_path: Path) -> None:
    layouts = Layouts(tmp_path)
    made = [finish(layouts, "train", digest) for digest in ("one", "two", "three")]
    other = finish(layouts, "train-more", "one")
    for age, layout in enumerate(made):
        os.utime(layout, (age, age))
    layouts.find("train", "one")
    stays = {blob.resolve() for layout in (made[0], made[2], other) for blob in blobs(layout)}
    assert layouts.forget_old("train") == ["two"]
    assert layouts.find("train", "one")
    assert layouts.find("train", "three")
    assert layouts.find("train-more", "one")
    assert layouts.find("train", "two") is None
    assert set((tmp_path / "blobs/sha256").iterdir()) == stays
