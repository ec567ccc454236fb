"""Reading an archive that `docker save` would write."""

from __future__ import annotations

import json
import mmap
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Archive:
    """One image.

    Attributes:
        path: The archive.
        name: Name and tag.
        config: How containers of it start.
        whole: The whole configuration, with the history.
        layers: Its layers, the lowest first.
    """

    path: Path
    name: str
    config: dict[str, Any]
    whole: dict[str, Any]
    layers: tuple[tarfile.TarFile, ...]

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Archive]:
        """Open an archive for reading."""
        with ExitStack() as stack:
            tar = stack.enter_context(tarfile.open(path))
            (entry,) = json.loads(_read(tar, "manifest.json"))
            whole = json.loads(_read(tar, entry["Config"]))
            layers = []
            for name in entry["Layers"]:
                content = tar.extractfile(name)
                assert content is not None
                layers.append(stack.enter_context(tarfile.open(fileobj=content)))
            yield cls(path, entry["RepoTags"][0], whole["config"], whole, tuple(layers))

    def names(self) -> list[str]:
        """All files of all layers."""
        return [name for layer in self.layers for name in layer.getnames()]

    def read(self, name: str) -> bytes:
        """The file as a container sees it."""
        for layer in reversed(self.layers):
            if name in layer.getnames():
                return _read(layer, name)
        raise FileNotFoundError(name)

    def holds(self, text: bytes) -> bool:
        """Whether the bytes occur anywhere: in a file, a name or the history."""
        with self.path.open("rb") as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with view:
                return view.find(text) >= 0


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    assert content is not None
    return content.read()
