"""Debian's programs for building images, and a base image of Debian's own packages.

The base serves where no registry can be reached, as in the tests: it is bootstrapped from the
packages that apt finds, and like `python:3.11-slim-bookworm` holds little but Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from images.commands import run
from images.errors import PrerequisiteError

__all__ = ["PACKAGES", "PROGRAMS", "SUITE", "bootstrap", "install_programs"]

SUITE: Final = "bookworm"
PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")
"""What the base holds besides Debian's minimal system."""

PROGRAMS: Final = {
    "buildah": ("buildah", "runc"),
    "debootstrap": ("debootstrap",),
    "skopeo": ("skopeo",),
}
"""Programs that the build uses, and the packages that have them."""

_ARCHIVE: Final = "http://deb.debian.org/debian"
_TRACES: Final = (
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/apt/sources.list",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/log/*",
)
"""What a bootstrap copies from its machine, or leaves behind."""

_DOCUMENTS: Final = (
    "usr/share/doc/*/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
)


def install_programs() -> None:
    """Install the programs that are missing.

    Raises:
        PrerequisiteError: There is no apt-get, or this is not root.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if not missing:
        return
    packages = [package for name in missing for package in PROGRAMS[name]]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PrerequisiteError(
            f"images need {' and '.join(missing)}; as root on Debian:"
            f" apt-get install {' '.join(packages)}"
        )
    print(f"Debian packages: installing {' '.join(packages)}", flush=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    lock = ("-o", "DPkg::Lock::Timeout=300")
    run(["apt-get", "--quiet", *lock, "update"], what="read the lists of packages", env=quiet)
    run(
        ["apt-get", "--quiet", *lock, "install", "--yes", "--no-install-recommends", "--no-remove",
         *packages],
        what=f"install {' '.join(packages)}",
        env=quiet,
    )  # fmt: skip


def bootstrap(folder: Path, *, log: Path) -> None:
    """Make the root file system of the base in a new folder.

    Raises:
        PrerequisiteError: This is not root.
        BuildError: A package cannot be had.
    """
    if os.geteuid() != 0:
        raise PrerequisiteError("only root can bootstrap a Debian system")
    run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE,
         str(folder), _mirror()],
        what="bootstrap a Debian system",
        env={"PATH": _path()},
        log=log,
    )  # fmt: skip
    for pattern in (*_TRACES, *_DOCUMENTS):
        _remove(folder.glob(pattern))
    (folder / "etc/apt/sources.list").write_text(f"deb {_ARCHIVE} {SUITE} main\n")
    # An image whose clock is the machine's must not hold a name of it either.
    (folder / "etc/hostname").write_text("localhost\n")
    (folder / "etc/resolv.conf").touch()


def _mirror() -> str:
    """Where apt gets Debian's packages on this machine."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "Created-By: Packages", "--format", "$(ORIGIN) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    found = [row[1] for row in rows if row[:1] == ["Debian"] and "security" not in row[1]]
    return found[0] if found else _ARCHIVE


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # a linked folder may be listed twice


def _path() -> str:
    """Where root's programs are, even if the caller's PATH leaves them out."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
