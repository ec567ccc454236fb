"""The images, and the digests that tell whether one must be built again."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from images import debian

__all__ = ["DOCKERFILE", "IMAGES", "OPTIONAL", "REPOSITORY", "Base", "base_digest", "revision",
           "source_digest", "version"]  # fmt: skip

REPOSITORY: Final = Path(__file__).resolve().parents[1]

Base = Literal["debian", "public"]
"""`debian` is bootstrapped here from packages; `public` is the default of the Dockerfiles."""

DOCKERFILE: Final = Path("Dockerfile")
"""What all images are made by, relative to the repository."""

IMAGES: Final = ("operator", "train", "sample")
"""The images, which are targets of the Dockerfile."""

OPTIONAL: Final = ("lmms-eval",)
"""Images that few need: built when they are asked for by name."""

_COPIED: Final = (
    ".dockerignore",
    "LICENSE",
    "README.md",
    "cli",
    "sdk",
    "crds",
    "hashes/images.txt",
    "hashes/lmms-eval.txt",
    "hashes/pip.txt",
    "images/beside.sh",
    "images/install.sh",
    "images/requirements.py",
    "images/trim.py",
    "jobs",
    "operator",
    "pyproject.toml",
)


def source_digest(image: str, *, base: str, revision: str) -> str:
    """Digest of all that goes into an image.

    Args:
        image: Its name.
        base: What it is built on.
        revision: What its label says.
    """
    digest = hashlib.sha256(f"{image}\0{base}\0{revision}\0".encode())
    for path in _files():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(REPOSITORY)}\0{content}\n".encode())
    return digest.hexdigest()


def base_digest() -> str:
    """Digest of the recipe of the Debian base."""
    return hashlib.sha256(Path(debian.__file__).read_bytes()).hexdigest()


def version() -> str:
    """Version of the distribution."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def revision() -> str:
    """The commit that is checked out; `-dirty` when files differ from it, `unknown` without git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _files() -> Iterator[Path]:
    for name in (*_COPIED, "images/build.py", str(DOCKERFILE)):
        path = REPOSITORY / name
        if path.is_file():
            yield path
        for file in sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
