"""Builds Kubernetes from Debian's source package, once, into the cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.cluster import debian, layout
from tests.cluster.errors import BuildError

VERSION = "1.20.2"
"""The version in Debian 12 (bookworm), the last one that carried all the components."""

PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)

_TOOLS = {
    "/usr/lib/go/bin/go": "golang-go",  # not any newer one, which 1.20 may not build with
    "jq": "jq",
    "rsync": "rsync",
    "dpkg-source": "dpkg-dev",
    "make": "make",
}

# Kubernetes 1.20 carries a release of this library that reads memory it does not own when built
# with Go 1.18 or later: the API server then crashes on custom resources. Debian has a newer one.
_REFLECT = "golang-github-modern-go-reflect2"
_VENDORED_REFLECT = "vendor/github.com/modern-go/reflect2"


def folder() -> Path:
    """Where the programs are once built."""
    return layout.cache() / "kubernetes" / VERSION


def is_cached() -> bool:
    return folder().is_dir()


def build() -> Path:
    """Build the programs unless they are cached; a second caller waits for the first.

    Everything happens in a temporary folder that is renamed when whole.
    """
    parent = folder().parent
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / f"{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_cached():
            with tempfile.TemporaryDirectory(dir=parent, prefix="build-") as scratch:
                _build(Path(scratch))
    return folder()


def _build(scratch: Path) -> None:
    started = time.monotonic()
    debian.install(sorted({pkg for tool, pkg in _TOOLS.items() if shutil.which(tool) is None}))
    print(f"Kubernetes {VERSION}: fetching Debian's source package", flush=True)
    tree, reflect = debian.unpack_sources(("kubernetes", _REFLECT), scratch)
    if not tree.name.endswith(VERSION):
        raise BuildError(
            f"this machine's Debian has {tree.name}, not {VERSION}: use Debian 12 (bookworm), or"
            f" name a folder with {', '.join(PROGRAMS)} in KUBEBUILDER_ASSETS"
        )
    shutil.rmtree(tree / _VENDORED_REFLECT)
    shutil.copytree(reflect, tree / _VENDORED_REFLECT, ignore=shutil.ignore_patterns("*_test*"))
    log = folder().parent / "build.log"
    print(f"Kubernetes {VERSION}: building, 5 to 15 minutes (log: {log})", flush=True)
    _make(tree, scratch, log)
    whole = scratch / "whole"
    whole.mkdir()
    for name in PROGRAMS:
        shutil.move(tree / "_output/bin" / name, whole / name)
    whole.rename(folder())
    log.unlink()
    minutes = (time.monotonic() - started) / 60
    print(f"Kubernetes {VERSION}: built in {minutes:.1f} minutes, in {folder()}", flush=True)


def _make(tree: Path, scratch: Path, log: Path) -> None:
    gopath = scratch / "go"
    (gopath / "src/k8s.io").mkdir(parents=True)
    (gopath / "src/k8s.io/kubernetes").symlink_to(tree)
    # The source package has no git history to ask for the version.
    version = scratch / "version"
    major, minor, _ = VERSION.split(".")
    version.write_text(
        f"KUBE_GIT_COMMIT=''\nKUBE_GIT_TREE_STATE='archive'\nKUBE_GIT_VERSION='v{VERSION}'\n"
        f"KUBE_GIT_MAJOR='{major}'\nKUBE_GIT_MINOR='{minor}'\n"
    )
    environment = {
        "PATH": f"/usr/lib/go/bin:{os.environ['PATH']}",
        "HOME": str(scratch),
        "LC_ALL": "C.UTF-8",
        "GOPATH": str(gopath),
        "GOCACHE": str(scratch / "gocache"),
        "GOFLAGS": "-mod=vendor",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "KUBE_GIT_VERSION_FILE": str(version),
    }
    what = " ".join(f"cmd/{name}" for name in PROGRAMS)
    with log.open("w") as output:
        done = subprocess.run(
            ["nice", "-n", "10", "make", f"WHAT={what}"],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        tail = "\n    ".join(log.read_text().splitlines()[-15:])
        raise BuildError(f"Kubernetes did not build; the end of {log}:\n    {tail}")
