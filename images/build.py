"""Builds the images with buildah, without an engine.

::

    python -m images.build --image train --base debian --output docker-archive:train.tar

Everything that can be kept is kept below ~/.cache/mmrlhf/images: the base, the layers, and the
finished images (see `layouts`). Only our own code is installed anew when it changed, and only its
layer is written anew.
"""

from __future__ import annotations

import argparse
import fcntl
import os
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
from images.layouts import Layouts, blobs
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

__all__ = ["BuiltImage", "Workshop", "build", "write_archive"]

_KEPT_STAGES: Final = 2


@dataclass(frozen=True)
class BuiltImage:
    """An image in a folder.

    Attributes:
        name: By which a container runtime knows it once it is loaded.
        layout: The folder; see `layouts`.
        size: Bytes of all that it consists of.
    """

    name: str
    layout: Path
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


def write_archive(image: BuiltImage, path: Path) -> None:
    """Write what `docker save` writes of an image.

    Raises:
        ImageError: It cannot be written.
    """
    install_programs()
    arriving = path.with_name(f".{path.name}.tmp")
    arriving.unlink(missing_ok=True)
    run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{image.layout}:{image.name}",
         f"docker-archive:{arriving}:{image.name}"],
        what=f"write {path}",
    )  # fmt: skip
    arriving.replace(path)


class Workshop:
    """Builds images, one at a time, and keeps what can be used again in one folder."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._layouts = Layouts(cache)

    def build(self, image: str, *, base: Base, revision: str) -> BuiltImage:
        """See `build`."""
        digest = source_digest(
            image, base=base_digest() if base == "debian" else base, revision=revision
        )
        name = _name(image, digest)
        layout = self._layouts.find(image, digest)
        if layout is None:
            if os.geteuid() != 0:
                raise PrerequisiteError("only root can build images here: buildah runs as root")
            install_programs()
            with self._locked():
                layout = self._layouts.find(image, digest)
                if layout is None:
                    self._build(image, base=base, revision=revision, name=name)
                    layout = self._keep(image, name=name, digest=digest)
        return BuiltImage(name, layout, sum(path.stat().st_size for path in blobs(layout)))

    def _build(self, image: str, *, base: Base, revision: str, name: str) -> None:
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

    def _keep(self, image: str, *, name: str, digest: str) -> Path:
        """Write the layers that no layout has yet, and forget what is old; return the layout."""
        arriving = self._layouts.begin()
        storage = f"{_storage_driver(self._cache)}@{self._cache}/storage+{self._cache}/run"
        run(
            ["skopeo", "--policy", str(self._policy()), "--tmpdir", str(self._cache), "copy",
             "--quiet", "--dest-oci-accept-uncompressed-layers",
             f"containers-storage:[{storage}]{name}", f"oci:{arriving}:{name}"],
            what=f"write the {image} image into a folder",
            log=self._cache / f"{image}.log",
        )  # fmt: skip
        layout = self._layouts.finish(arriving, image, digest)
        for old in self._layouts.forget_old(image):
            tag = _name(image, old)
            if tag in self._names():
                self._buildah("rmi", tag, what=f"forget {tag}")
        self._forget_old_code()
        return layout

    def _forget_old_code(self) -> None:
        """Remove the stage with our code as it was in all builds but the last two.

        No image is on top of it, so that none takes it along. The other stages are kept: what is
        installed is the same in many builds.
        """
        found = self._buildah(
            *("images", "--filter", "dangling=true", "--filter", "label=mmrlhf.stage=code"),
            *("--format", "{{.ID}}"),
            what="list what builds left",
        ).split()
        if old := found[_KEPT_STAGES:]:
            self._buildah("rmi", *old, what="forget what builds left")

    def _debian(self, log: Path) -> str:
        """Bootstrap the base, if it is not there; return its name."""
        name = _name("debian", base_digest())
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

    def _names(self) -> list[str]:
        return self._buildah("images", "--format", "{{.Name}}:{{.Tag}}", what="list images").split()

    def _buildah(self, command: str, *arguments: str, what: str, log: Path | None = None) -> str:
        # Neither the storage nor the policy of anyone else's images on this machine is touched.
        storage = ("--root", str(self._cache / "storage"), "--runroot", str(self._cache / "run"))
        driver = ("--storage-driver", _storage_driver(self._cache))
        trust = (
            ("--signature-policy", str(self._policy()))
            if command in ("build", "commit", "from")
            else ()
        )
        return run(
            ["buildah", *storage, *driver, command, *trust, *arguments],
            what=what,
            env={"TMPDIR": str(self._cache), "BUILDAH_ISOLATION": "chroot"},
            log=log,
        )

    def _policy(self) -> Path:
        policy = self._cache / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        return policy

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _name(image: str, digest: str) -> str:
    """By which buildah and container runtimes know an image of one digest."""
    return f"localhost/mmrlhf/{image}:{digest[:16]}"


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
        "--output", help="docker-archive:PATH; without it, the folder that is kept is named"
    )
    parser.add_argument("--revision", help="for its label; without it, the commit checked out")
    options = parser.parse_args(arguments)
    kind, _, target = (options.output or "docker-archive:").partition(":")
    if kind != "docker-archive" or (options.output and not target):
        parser.error(f"--output must be docker-archive:PATH, not {options.output}")
    started = time.monotonic()
    try:
        built = build(options.image, base=options.base, revision=options.revision or revision())
        if target:
            write_archive(built, Path(target))
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = Path(target) if target else built.layout
    seconds = time.monotonic() - started
    print(f"{built.name}  {built.size / 1e6:.0f} MB  {seconds:.0f} s  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
