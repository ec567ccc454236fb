"""What the build writes besides images, and what it removes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from images.build import BuiltImage, Workshop, write_archive
from images.debian import install_programs
from images.layouts import blobs, image_name
from tests.images.tiny import write_layout


def test_an_image_is_written_as_docker_save_does(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", "train:one", {"base": b"base"}, {"code": b"code"})
    path = tmp_path / "train.tar"
    path.write_bytes(b"of an earlier build")
    path.with_name(".train.tar.tmp").write_bytes(b"of one that was killed")
    write_archive(BuiltImage(image_name(layout), layout, 0), path)
    with tarfile.open(path) as archive:
        listed = archive.extractfile("manifest.json")
        assert listed is not None
        (entry,) = json.load(listed)
        assert entry["RepoTags"] == ["docker.io/library/train:one"]
        layers = [archive.extractfile(name) for name in entry["Layers"]]
        assert [layer and layer.read() for layer in layers] == [
            blob.read_bytes() for blob in blobs(layout)[2:]
        ]


def test_earlier_stages_with_our_code_go_and_other_stages_stay(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    install_programs()

    def commit(*labels: str) -> str:
        container = workshop._buildah("from", "scratch", what="begin").strip()
        # Two that are the same in all would be one image.
        labels = (*labels, f"container={container}")
        workshop._buildah("config", *(f"--label={one}" for one in labels), container, what="label")
        return workshop._buildah("commit", "--rm", "--quiet", container, what="commit").strip()

    other = commit()
    code = [commit("mmrlhf.stage=code") for _ in range(4)]
    workshop._forget_old_code()
    left = workshop._buildah("images", "--no-trunc", "--format", "{{.ID}}", what="list").split()
    assert {one.removeprefix("sha256:") for one in left} == {other, *code[2:]}
    workshop._forget_old_code()
    assert len(workshop._buildah("images", "--quiet", what="list").split()) == 3
