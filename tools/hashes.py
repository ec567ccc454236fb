"""hashes/: the digests of all files that pip may install, made from the pins of constraints.txt.

::

    python -m tools.hashes    ask the package index, and write hashes/

A pin says which version is installed, and not what is in it. Each file there is one that pip takes
as constraints: with ``--require-hashes`` it installs nothing that is not listed, and no file with
another digest. All files of a version are listed, for any machine and any Python that is supported,
and the wheels that pip finds on this one's disk, such as torch's for CPUs. What was listed for a
version stays, so that whoever has not these wheels does not take them away.

The index is pip's own, and one: a second one could answer for any name with a higher version.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import ssl
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from images.package_index import PackageIndex

__all__ = [
    "APART",
    "FILES",
    "TOGETHER",
    "File",
    "Index",
    "Pins",
    "closure",
    "read_hashes",
    "render",
    "usable",
]

ROOT: Final = Path(__file__).resolve().parents[1]
PIP: Final = "hashes/pip.txt"
IMAGES: Final = "hashes/images.txt"
DEVELOPMENT: Final = "hashes/development.txt"
EXAMPLES: Final = "hashes/examples.txt"
TRACKERS: Final = "hashes/trackers.txt"
LMMS_EVAL: Final = "hashes/lmms-eval.txt"
FILES: Final = (PIP, IMAGES, DEVELOPMENT, EXAMPLES, TRACKERS, LMMS_EVAL)
"""What is written: pip itself, what images hold, what only development needs, what examples read
and never install, what `make trackers` alone installs, and what only the image of lmms-eval holds.
A layer of another image is made anew only when the first two change."""

TOGETHER: Final = ("constraints.txt", "constraints-beside.txt")
"""Pins of what is installed together."""
APART: Final = {
    "constraints-examples.txt": EXAMPLES,
    "constraints-trackers.txt": TRACKERS,
    "constraints-lmms-eval.txt": LMMS_EVAL,
}
"""Pins that go into a file of their own; they may have other versions of what stands elsewhere."""
_IN_IMAGES: Final = ("operator", "cli", "jobs", "sample")
_PYPI: Final = "https://pypi.org/simple"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
_HEADER: Final = "# Made by `python -m tools.hashes` from constraints.txt; not to be edited.\n"

Pins = dict[str, str]
"""Version of each package, by the name as it is written."""


@dataclass(frozen=True)
class File:
    """A file of an index.

    Attributes:
        name: Its name.
        sha256: Its digest.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """A package index (PEP 691).

    Attributes:
        url: Where its simple API is.
        certificates: Bundle of trusted authorities; None: the system's own.
    """

    url: str = _PYPI
    certificates: Path | None = None

    def files(self, name: str) -> list[File]:
        """All files of a package.

        Raises:
            OSError: The index does not answer.
            ValueError: It gives a file without its SHA-256.
        """
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/{canonicalize_name(name)}/", headers={"Accept": _JSON}
        )
        trust = ssl.create_default_context(cafile=self.certificates)
        with urllib.request.urlopen(request, timeout=120, context=trust) as answer:
            content: dict[str, Any] = json.load(answer)
        try:
            return [File(one["filename"], one["hashes"]["sha256"]) for one in content["files"]]
        except KeyError as error:
            raise ValueError(f"{self.url}: a file of {name} has no {error}") from error


def read_pins(root: Path, names: Iterable[str] = TOGETHER) -> Pins:
    """The pins of constraints files, by default of those that are installed together."""
    lines = (line.strip() for name in names for line in (root / name).read_text().splitlines())
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def read_hashes(text: str) -> dict[str, set[str]]:
    """Digests of each ``name==version`` in a file that `render` has made."""
    found: dict[str, set[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if words:
            found[words[0]] = {one.removeprefix("--hash=sha256:") for one in words[1:]}
    return found


def render(pins: Pins, digests: Mapping[str, Iterable[str]]) -> str:
    """A constraints file with digests.

    Args:
        pins: What is in it.
        digests: Digests of each ``name==version``.
    """
    blocks = []
    for name in sorted(pins, key=str.lower):
        pin = f"{name}=={pins[name]}"
        blocks.append(
            " \\\n".join([pin, *(f"    --hash=sha256:{one}" for one in sorted(digests[pin]))])
        )
    return _HEADER + "".join(f"{block}\n" for block in blocks)


def usable(name: str, version: str, pythons: SpecifierSet) -> bool:
    """Whether a file is of a version, and of a Python that is supported."""
    try:
        if not name.endswith(".whl"):
            return parse_sdist_filename(name)[1] == Version(version)
        found, tags = parse_wheel_filename(name)[1], parse_wheel_filename(name)[3]
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False  # of an older kind, which pip does not take either
    return Version(found.public) == Version(version) and any(_fits(tag, pythons) for tag in tags)


def closure(roots: Iterable[str], requires: Callable[[str], Iterable[str]]) -> set[str]:
    """Names of all that some packages need, themselves included, on any machine.

    Args:
        roots: Requirements.
        requires: Requirements of a package by its canonical name, those of its extras too.
    """
    found: set[str] = set()
    left = [Requirement(root) for root in roots]
    while left:
        name = canonicalize_name(left.pop().name)
        if name not in found:
            found.add(name)
            needed = (Requirement(text) for text in requires(name))
            # Whatever extras ask for is left out: who needs it names it.
            left += [one for one in needed if "extra ==" not in str(one.marker)]
    return found


@dataclass
class Maker:
    """Makes the files.

    Attributes:
        index: Where the digests come from.
        wheels: Local folder of wheels that pip looks into, if there is one.
        root: The repository.
    """

    index: Index
    wheels: Path | None = None
    root: Path = ROOT
    _project: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._project = tomllib.loads((self.root / "pyproject.toml").read_text())

    def write(self) -> None:
        """Ask for all files, and write.

        Raises:
            OSError: The index does not answer.
            ValueError: It has no file of a pinned version.
        """
        split = self._split()
        known: dict[str, set[str]] = {}
        for path in FILES:
            if (self.root / path).is_file():
                known |= read_hashes((self.root / path).read_text())
        names = sorted({name for some in split.values() for name in some})
        with ThreadPoolExecutor(8) as pool:
            listed = dict(zip(names, pool.map(self.index.files, names), strict=True))
        digests = {}
        for name, version in (pin for some in split.values() for pin in some.items()):
            files = [*listed[name], *self._local(name)]
            pin = f"{name}=={version}"
            found = {one.sha256 for one in files if usable(one.name, version, self._pythons)}
            if not found:
                raise ValueError(f"{self.index.url} has no file of {pin}")
            digests[pin] = found | known.get(pin, set())
        for path, some in split.items():
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_text(render(some, digests))

    @property
    def _pythons(self) -> SpecifierSet:
        return SpecifierSet(self._project["project"]["requires-python"])

    def _local(self, name: str) -> list[File]:
        if self.wheels is None:
            return []
        stem = canonicalize_name(name).replace("-", "_")
        paths = sorted(self.wheels.glob(f"{stem}-*.whl"))
        return [File(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]

    def _split(self) -> dict[str, Pins]:
        """What goes into which file. What is not installed here comes with torch, for GPUs."""
        project = self._project["project"]
        roots = [*self._project["build-system"]["requires"], *project["dependencies"]]
        for extra in _IN_IMAGES:
            roots += project["optional-dependencies"][extra]
        needed = closure(roots, _requires)
        split: dict[str, Pins] = {path: {} for path in FILES}
        for file, path in APART.items():
            split[path] = read_pins(self.root, [file])
        for name, version in read_pins(self.root).items():
            canonical = canonicalize_name(name)
            if canonical == "pip":
                path = PIP
            elif canonical in needed or not _is_installed(canonical):
                path = IMAGES
            else:
                path = DEVELOPMENT
            split[path][name] = version
        return split


def _fits(tag: Tag, pythons: SpecifierSet) -> bool:
    kind, digits = tag.interpreter[:2], tag.interpreter[2:]
    if kind == "py":
        return True
    if kind != "cp" or not digits.startswith("3"):
        return False
    minor = int(digits[1:] or 0)
    if tag.abi == "abi3":
        return any(pythons.contains(f"3.{later}") for later in range(minor, 100))
    return pythons.contains(f"3.{minor}")


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main() -> int:
    """Entry point of the command line."""
    pip = PackageIndex.of_this_machine()
    index = Index(pip.settings.get("index-url", _PYPI), pip.certificates)
    try:
        Maker(index, pip.wheels).write()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
