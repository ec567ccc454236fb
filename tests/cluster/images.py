"""Container images without a registry: two tiny ones made here, and loading any archive.

Both consist of Debian's static busybox. `TEST` has a shell, wget, nslookup, nc and the like.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import program
from tests.cluster.errors import ClusterError
from tests.cluster.namespace import Namespace

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
"""As the cluster's own processes see it."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image made of busybox."""

    name: str
    entrypoint: Sequence[str]

    @property
    def short_name(self) -> str:
        return self.name.rpartition("/")[2].partition(":")[0]


PAUSE = Image("mmrlhf.test/pause:1", ("/bin/busybox", "sleep", "2147483647"))
"""What holds a pod's namespaces open."""

TEST = Image("mmrlhf.test/busybox:1", ("/bin/sh", "-c"))
"""What the cluster's own tests run; a container's `args` are one shell script."""


def build(image: Image, archive: Path, *, busybox: Path) -> None:
    """Write the image as an archive, as `docker save` does."""
    layer = _layer(busybox)
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image.name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "layer.tar", layer)
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def load(archive: Path, namespace: Namespace) -> None:
    """Load an OCI or docker archive into the containerd of a cluster."""
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}")
    ctr = [str(program("ctr")), "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]
    # By file descriptor: the archive may lie where the node has a private folder.
    with archive.open("rb") as content:
        done = subprocess.run(
            namespace.daemon_command([*ctr, "images", "import", "-"]),
            stdin=content,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ClusterError(f"containerd cannot load {archive}: {done.stderr.strip()}")


def _layer(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        for applet in sorted({*applets.stdout.split()} - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
