"""Debian's packages: installing them, and unpacking one or the source of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.errors import PrerequisiteError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def install(packages: Sequence[str]) -> None:
    """Install packages; none is ever removed for it."""
    if not packages:
        return
    _require_apt()
    if os.geteuid() != 0:
        raise PrerequisiteError(
            f"these Debian packages are needed: {' '.join(packages)}. Install them as root."
        )
    print(f"Debian packages: installing {' '.join(packages)}", flush=True)
    lock = ("-o", "DPkg::Lock::Timeout=300")
    _apt("update", *lock, what="read the lists of packages")
    _apt(
        *("install", "--yes", "--no-install-recommends", "--no-remove", *lock, *packages),
        what=f"install {' '.join(packages)}",
    )


def unpack(package: str, folder: Path) -> Path:
    """Fetch a package and unpack it under `folder`, without what installing it would do.

    Returns:
        The unpacked tree.
    """
    _require_apt()
    fetch = ("-o", "APT::Sandbox::User=root", "download", package)
    try:
        _apt(*fetch, what=f"fetch {package}", cwd=folder)
    except PrerequisiteError:  # as on images without lists, or with ones that are out of date
        _apt("update", what="read the lists of packages")
        _apt(*fetch, what=f"fetch {package}", cwd=folder)
    (archive,) = folder.glob("*.deb")
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--extract", str(archive), str(tree)], check=True)
    return tree


def unpack_sources(packages: Sequence[str], folder: Path) -> list[Path]:
    """Fetch the newest sources of packages and unpack them under `folder`.

    The machine's own list of sources often names no source packages, so a temporary one is derived
    from it, and the machine's is left as it is.

    Returns:
        The unpacked tree of each package.
    """
    _require_apt()
    sources, lists = folder / "sources.list", folder / "lists"
    (lists / "partial").mkdir(parents=True)
    entries = _source_entries()
    if not entries:  # as on images that ship without lists
        _apt("update", what="read the lists of packages")
        entries = _source_entries()
    if not entries:
        raise PrerequisiteError(
            "apt knows no repository of Debian's on this machine: use Debian, or name a folder"
            " with Kubernetes' binaries in KUBEBUILDER_ASSETS"
        )
    sources.write_text("".join(f"{entry}\n" for entry in entries))
    options = [
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"),
        *("-o", f"Dir::State::lists={lists}"),
        *("-o", "Dir::Cache::srcpkgcache=", "-o", "Dir::Cache::pkgcache="),
        *("-o", "APT::Sandbox::User=root"),
    ]
    _apt(*options, "update", what="read the lists of source packages")
    return [_unpack(package, folder / package, options) for package in packages]


def _unpack(package: str, folder: Path, options: Sequence[str]) -> Path:
    folder.mkdir()
    _apt(*options, "source", "--only-source", package, what=f"fetch {package}", cwd=folder)
    trees = [path for path in folder.iterdir() if path.is_dir()]
    if len(trees) != 1:
        raise PrerequisiteError(f"the source package {package} did not unpack in {folder}")
    return trees[0]


def _source_entries() -> list[str]:
    fields = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "Created-By: Packages", "--format", fields],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    rows = [line.split() for line in listed.splitlines()]
    entries = {f"deb-src {signed}{' '.join(row[1:])}" for row in rows if row[0] == "Debian"}
    # Of equal versions the first listed is fetched, and security repositories let old files go.
    return sorted(entries, key=lambda entry: ("-security" in entry, entry))


def _require_apt() -> None:
    if shutil.which("apt-get") is None:
        raise PrerequisiteError(
            "this machine has no apt-get: install the programs by hand, and name a folder with"
            " Kubernetes' binaries in KUBEBUILDER_ASSETS"
        )


def _apt(*arguments: str, what: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.splitlines()[-15:])
        raise PrerequisiteError(f"apt-get could not {what}:\n    {tail}")
