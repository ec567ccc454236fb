"""Builds the images with buildah, without an engine.

::

    python -m images.build --image train --base debian --output docker-archive:train.tar

Everything that can be kept is kept below ~/.cache/mmrlhf/images: the base, the layers, and the
finished archives. Only our own code is installed anew when it changed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from images.commands import run
from images.debian import bootstrap, install_programs
from images.errors import ImageError, PrerequisiteError
from images.package_index import PackageIndex
from images.recipes import (
    DOCKERFILE,
    IMAGES,
    OPTIONAL,
    REPOSITORY,
    Base,
    base_digest,
    revision,
    source_digest,
    version,
)

__all__ = ["BuiltImage", "Workshop", "build"]

_KEPT_ARCHIVES: Final = 2


@dataclass(frozen=True)
class BuiltImage:
    """An image in an archive.

    Attributes:
        name: By which a container runtime knows it once it is loaded.
        archive: What `docker save` writes; its layers are not compressed.
        size: Bytes of the archive, which are those of the layers.
    """

    name: str
    archive: Path
    size: int


def build(image: str, *, base: Base = "debian", revision: str = "unknown") -> BuiltImage:
    """Build one image, or find it built already.

    Args:
        image: `operator`, `train` or `sample`, or one that is optional.
        base: What to build it on.
        revision: For its label.

    Raises:
        ImageError: The machine lacks something, or a step of the build fails.
    """
    return Workshop(_cache()).build(image, base=base, revision=revision)


class Workshop:
    """Builds images, one at a time, and keeps what can be used again in one folder."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def build(self, image: str, *, base: Base, revision: str) -> BuiltImage:
        """See `build`."""
        digest = source_digest(
            image, base=base_digest() if base == "debian" else base, revision=revision
        )
        name = f"localhost/mmrlhf/{image}:{digest[:16]}"
        archive = self._cache / "archives" / f"{image}-{digest}.tar"
        if not archive.is_file():
            if os.geteuid() != 0:
                raise PrerequisiteError("only root can build images here: buildah runs as root")
            install_programs()
            with self._locked():
                if not archive.is_file():
                    self._build(image, base=base, revision=revision, name=name, archive=archive)
        os.utime(archive)  # the least recently used ones are removed
        return BuiltImage(name, archive, archive.stat().st_size)

    def _build(self, image: str, *, base: Base, revision: str, name: str, archive: Path) -> None:
        log = self._cache / f"{image}.log"
        log.write_bytes(b"")
        # Only a build that was killed leaves containers behind, and this is the only build.
        self._buildah("rm", "--all", what="remove what an earlier build left")
        arguments = {"VERSION": version(), "REVISION": revision}
        if base == "debian":
            arguments["BASE"] = self._debian(log)
        with tempfile.TemporaryDirectory(dir=self._cache) as name_of_folder:
            folder = Path(name_of_folder)
            index = PackageIndex.of_this_machine()
            secrets = index.write(folder)
            wheels = index.wheels
            if wheels is None:
                wheels = folder / "wheels"
                wheels.mkdir()
            self._buildah(
                "build",
                *("--layers", "--isolation", "chroot", "--network", "host", "--format", "oci"),
                "--force-rm",
                *("--pull=never" if base == "debian" else "--pull=missing",),
                *("--file", str(REPOSITORY / DOCKERFILE), "--target", image, "--tag", name),
                *(f"--build-arg={key}={value}" for key, value in arguments.items()),
                # buildah's cache overlooks that an argument in a LABEL has another value.
                *(
                    f"--label=org.opencontainers.image.{key.lower()}={arguments[key]}"
                    for key in ("VERSION", "REVISION")
                ),
                *(f"--secret=id={key},src={path}" for key, path in secrets.items()),
                *("--build-context", f"wheels={wheels}"),
                str(REPOSITORY),
                what=f"build the {image} image",
                log=log,
            )
            finished = folder / "image.tar"
            self._buildah(
                *("push", name, f"docker-archive:{finished}:{name}"),
                what=f"write the {image} image into an archive",
                log=log,
            )
            archive.parent.mkdir(exist_ok=True)
            finished.replace(archive)
        self._forget_old(image)

    def _debian(self, log: Path) -> str:
        """Bootstrap the base, if it is not there; return its name."""
        name = f"localhost/mmrlhf/debian:{base_digest()[:16]}"
        if name in self._names():
            return name
        with tempfile.TemporaryDirectory(dir=self._cache) as folder:
            root = Path(folder) / "root"
            bootstrap(root, log=log)
            container = self._buildah("from", "scratch", what="begin an image").strip()
            try:
                self._buildah(
                    "copy", "--quiet", container, str(root), "/", what="fill the base", log=log
                )
                self._buildah(
                    "config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                    "--cmd", "python3", container, what="configure the base",
                )  # fmt: skip
                self._buildah("commit", "--quiet", container, name, what="keep the base", log=log)
            finally:
                self._buildah("rm", container, what="end the making of the base")
        return name

    def _forget_old(self, image: str) -> None:
        archives = sorted(
            (self._cache / "archives").glob(f"{image}-*.tar"),
            key=lambda path: path.stat().st_mtime,
        )
        for old in archives[:-_KEPT_ARCHIVES]:
            tag = f"localhost/mmrlhf/{image}:{old.stem.removeprefix(f'{image}-')[:16]}"
            old.unlink()
            if tag in self._names():
                self._buildah("rmi", tag, what=f"forget {tag}")

    def _names(self) -> list[str]:
        return self._buildah("images", "--format", "{{.Name}}:{{.Tag}}", what="list images").split()

    def _buildah(self, command: str, *arguments: str, what: str, log: Path | None = None) -> str:
        # Neither the storage nor the policy of anyone else's images on this machine is touched.
        storage = ("--root", str(self._cache / "storage"), "--runroot", str(self._cache / "run"))
        driver = ("--storage-driver", _storage_driver(self._cache))
        policy = self._cache / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        trust = (
            ("--signature-policy", str(policy))
            if command in ("build", "commit", "from", "push")
            else ()
        )
        return run(
            ["buildah", *storage, *driver, command, *trust, *arguments],
            what=what,
            env={"TMPDIR": str(self._cache), "BUILDAH_ISOLATION": "chroot"},
            log=log,
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _storage_driver(folder: Path) -> str:
    """`overlay`, unless the folder lies on an overlay itself, as in many containers."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [
        (len(fields[1]), fields[2])
        for fields in mounts
        if folder.resolve().is_relative_to(fields[1])
    ]
    known = "overlay" in Path("/proc/filesystems").read_text().split()
    return "overlay" if known and max(holding)[1] != "overlay" else "vfs"


def _cache() -> Path:
    base = os.environ.get("MMRLHF_CACHE")
    if base:
        return Path(base).resolve() / "images"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache").resolve() / "mmrlhf" / "images"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("--image", required=True, choices=(*IMAGES, *OPTIONAL))
    parser.add_argument("--base", default="debian", choices=get_args(Base))
    parser.add_argument(
        "--output", help="docker-archive:PATH; without it, the cached archive is named"
    )
    parser.add_argument("--revision", help="for its label; without it, the commit checked out")
    options = parser.parse_args(arguments)
    kind, _, target = (options.output or "docker-archive:").partition(":")
    if kind != "docker-archive" or (options.output and not target):
        parser.error(f"--output must be docker-archive:PATH, not {options.output}")
    started = time.monotonic()
    try:
        built = build(options.image, base=options.base, revision=options.revision or revision())
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = built.archive
    if target:
        path = Path(target)
        arriving = path.with_name(f".{path.name}.tmp")
        shutil.copyfile(built.archive, arriving)
        arriving.replace(path)
    seconds = time.monotonic() - started
    print(f"{built.name}  {built.size / 1e6:.0f} MB  {seconds:.0f} s  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
