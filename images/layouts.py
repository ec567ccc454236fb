"""Finished images as folders, laid out as the OCI does; a layer that several have lies there once.

::

    layouts/train-<digest of all that went into it>/
        index.json                  one image, by its name
        oci-layout
        blobs -> ../../blobs        layers that are not compressed, and what lists them
    blobs/sha256/...                of all layouts

Whoever reads a layout, skopeo for one, sees nothing but an image of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["Layouts", "blobs", "image_name"]

_KEPT: Final = 2
_ARRIVING: Final = ".arriving"
_LEAVING: Final = ".leaving"


class Layouts:
    """The finished images below one folder; all but `find` is for one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, image: str, digest: str) -> Path | None:
        """The layout of an image that was made of this, which counts as a use of it."""
        layout = self._path(image, digest)
        if not layout.is_dir():
            return None
        os.utime(layout)  # the least recently used ones are removed
        return layout

    def begin(self) -> Path:
        """A layout without an image, for `finish`."""
        (self._folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        arriving = self._folder / "layouts" / _ARRIVING
        shutil.rmtree(arriving, ignore_errors=True)  # of a build that was killed
        arriving.mkdir(parents=True)
        (arriving / "blobs").symlink_to("../../blobs")
        return arriving

    def finish(self, arriving: Path, image: str, digest: str) -> Path:
        """Take in the layout that now has its image."""
        return arriving.rename(self._path(image, digest))

    def forget_old(self, image: str) -> list[str]:
        """Remove all layouts of an image but those last used, and blobs that no layout has.

        Returns:
            Digests of all that went into the removed ones.
        """
        ours = [path for path in self._all() if path.name.rpartition("-")[0] == image]
        old = sorted(ours, key=lambda path: path.stat().st_mtime)[:-_KEPT]
        for layout in old:
            # Not half of it may be found if this is killed.
            leaving = self._folder / "layouts" / _LEAVING
            shutil.rmtree(leaving, ignore_errors=True)
            shutil.rmtree(layout.rename(leaving))
        needed = {blob.name for path in self._all() for blob in blobs(path)}
        for blob in (self._folder / "blobs/sha256").iterdir():
            if blob.name not in needed:
                blob.unlink()
        return [layout.name.removeprefix(f"{image}-") for layout in old]

    def _all(self) -> list[Path]:
        return list((self._folder / "layouts").glob("[!.]*"))

    def _path(self, image: str, digest: str) -> Path:
        return self._folder / "layouts" / f"{image}-{digest}"


def image_name(layout: Path) -> str:
    """Name and tag of the only image in a layout."""
    name: str = _entry(layout)["annotations"]["org.opencontainers.image.ref.name"]
    return name


def blobs(layout: Path) -> list[Path]:
    """The files of the only image in a layout: its manifest, its configuration, its layers."""
    first = _blob(layout, _entry(layout))
    manifest = json.loads(first.read_text())
    return [first, *(_blob(layout, one) for one in (manifest["config"], *manifest["layers"]))]


def _entry(layout: Path) -> dict[str, Any]:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    found: dict[str, Any] = entry
    return found


def _blob(layout: Path, entry: Mapping[str, Any]) -> Path:
    return layout / "blobs" / str(entry["digest"]).replace(":", "/")
