"""Reading an image in the folder in which its build leaves it."""

from __future__ import annotations

import functools
import json
import mmap
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.layouts import blobs, image_name


@dataclass(frozen=True)
class Contents:
    """What is in one image.

    Attributes:
        files: All that it consists of: what lists the rest, the configuration, and the layers.
        name: Name and tag.
        config: How containers of it start.
        whole: The whole configuration, with the history.
        layers: Its layers, the lowest first.
    """

    files: tuple[Path, ...]
    name: str
    config: dict[str, Any]
    whole: dict[str, Any]
    layers: tuple[tarfile.TarFile, ...]

    @classmethod
    @contextmanager
    def open(cls, layout: Path) -> Iterator[Contents]:
        """Open an image for reading."""
        manifest, config, *layers = blobs(layout)
        whole = json.loads(config.read_text())
        with ExitStack() as stack:
            opened = [stack.enter_context(tarfile.open(layer)) for layer in layers]
            files = (manifest, config, *layers)
            yield cls(files, image_name(layout), whole["config"], whole, tuple(opened))

    def names(self) -> list[str]:
        """All files of all layers."""
        return [name for layer in self.layers for name in layer.getnames()]

    def read(self, name: str) -> bytes:
        """The file as a container sees it."""
        for layer in reversed(self.layers):
            if name in layer.getnames():
                content = layer.extractfile(name)
                assert content is not None
                return content.read()
        raise FileNotFoundError(name)

    def holds(self, text: bytes) -> bool:
        """Whether the bytes occur anywhere: in a file, a name or the history."""
        return any(_holds(path.resolve(), text) for path in self.files)


@functools.cache  # of a layer that several images have, once
def _holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with view:
            return view.find(text) >= 0
